"""A worker's rows of a batch in parts, whose gradients are added up before the optimizer moves: a batch may
then be larger than memory.

Every term of a loss is a mean over rows, so the parts' means, each times its share of the global batch, add
up to the whole batch's to rounding. Rows and noise are those that the whole batch has; only dropout, which
torch draws pass by pass, drops other units.
"""

from dataclasses import dataclass

import torch

from synthmill.config import TrainingConfig
from synthmill.errors import RecipeError
from synthmill.models.base import GenerativeModel
from synthmill.training.parallel import local_rows
from synthmill.training.rng import StepRng

FIELD = "training.micro_batch_rows"


@dataclass(frozen=True)
class Part:
    """Rows of the global batch that are computed at once."""

    rows: slice
    share: float
    """Of the global batch."""
    rng: StepRng
    """Draws the numbers of these rows."""


def parts_of(
    model: GenerativeModel, config: TrainingConfig, device: torch.device, batch_rows: int, local: slice
) -> tuple[Part, ...]:
    """The parts of a worker's rows `local` of a batch; one, if the recipe asks for no more.

    Raises:
        RecipeError: a loss that needs the whole batch at once, groups larger than a part, or CUDA graphs.
    """
    most, rows, group = config.micro_batch_rows, local.stop - local.start, model.row_group
    number = 1
    if most is not None and most < rows:
        check_micro(model, config)
        number = -(-(rows // group) // (most // group))
    # As even as they go, like the shares of workers: one small rest would cost as much as a whole pass.
    inside = (local_rows(rows, group, index, number) for index in range(number))
    places = [slice(local.start + part.start, local.start + part.stop) for part in inside]
    return tuple(
        Part(place, (place.stop - place.start) / batch_rows, StepRng(device, config.seed, batch_rows, place))
        for place in places
    )


def check_micro(model: GenerativeModel, config: TrainingConfig) -> None:
    """Refuse what parts of a batch would compute otherwise than the whole; nothing to say without parts.

    Raises:
        RecipeError: names `training.micro_batch_rows`, the reason and the fix.
    """
    most = config.micro_batch_rows
    if most is None or not model.stages() or most >= config.global_batch_rows:
        return
    if (reason := model.needs_whole_batch) is not None:
        raise RecipeError(
            f"can't be used with {reason}, which reads the whole batch at once; leave it out, or use a"
            " smaller training.global_batch_rows",
            field=FIELD,
        )
    if most < model.row_group:
        raise RecipeError(
            f"{most} rows are fewer than the {model.row_group} that the model judges together; use at least"
            f" {model.row_group}",
            field=FIELD,
        )
    if config.cuda_graphs:
        # A replayed graph overwrites gradients where these must be added.
        raise RecipeError("can't be used with training.cuda_graphs; leave one of them out", field=FIELD)
