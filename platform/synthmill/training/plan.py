"""How long a run is, what each step does, and when quality is checked: decided before the first step, from
counts alone.

Nothing here reads a clock, so that two runs of one recipe do the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

from synthmill.config import TrainingConfig
from synthmill.models.base import Stage

MOST_CHECKS = 25
CHECKS_OF_ENDING, LEAST_CHECKS_OF_ENDING = 8, 3
"""Checks of a model that knows when to end, as many as their share allows; fewer could miss that it has
learnt rows by heart."""
CHECK_SHARE = 0.05
"""Of the steps, that checks cost at most. The first one is not counted: what it fits, the weights that are
published need whenever they are checked."""
PATIENCE_CHECKS = 8
"""Checks without a gain after which nothing more is to be expected; docs/log.md has the figures."""
PATIENCE_WORSE_CHECKS = 5
"""Checks in a row that were surely worse than the best: a falling learning rate may yet bring a gain."""


@dataclass(frozen=True)
class StageSpan:
    """The steps [first, last) of one stage."""

    stage: Stage
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """The run in steps."""

    batch_rows: int
    steps_per_epoch: int
    total_steps: int
    stages: tuple[StageSpan, ...]
    check_every_steps: int
    log_every_steps: int
    patience_checks: int | None
    """After which the run ends; None: never."""
    falls: bool
    """Whether patience counts checks that were worse, instead of those without a gain."""
    ends_well: bool
    """Whether the last of the checks that may be the best is published, instead of the first."""

    def at(self, step: int) -> StageSpan:
        """The stage that `step` belongs to."""
        return next(span for span in self.stages if step < span.last)


def make_plan(
    config: TrainingConfig,
    stages: tuple[Stage, ...],
    rows: int,
    row_group: int,
    check_steps: Callable[[int], float] = lambda batch_rows: 0.0,
) -> Plan:
    """`rows` training rows, at least `row_group`; `check_steps` gives what a check costs in steps of so many
    rows."""
    wanted = config.global_batch_rows
    if wanted == TrainingConfig.model_fields["global_batch_rows"].default and not config.batch_as_stated:
        # A number that was stated is meant as it is written.
        wanted = min(wanted, *(stage.most_batch_rows or wanted for stage in stages))
    # Whole groups of rows: a critic that judges several at once must get all of a group.
    batch_rows = max(row_group, min(wanted, rows) // row_group * row_group)
    steps_per_epoch = max(1, rows // batch_rows)
    most_epochs = stages[0].most_epochs if len(stages) == 1 else None
    total_steps = min(config.max_epochs, most_epochs or config.max_epochs) * steps_per_epoch
    if config.max_steps is not None:
        total_steps = min(total_steps, config.max_steps)
    # In steps, not seconds: the same checks on every machine, so that the same weights are chosen.
    cheap = max(1, int(check_steps(batch_rows) / CHECK_SHARE))
    if most_epochs is None:
        spaced = max(cheap, -(-total_steps // MOST_CHECKS))
    else:
        most = -(-total_steps // LEAST_CHECKS_OF_ENDING)
        spaced = min(max(cheap, -(-total_steps // CHECKS_OF_ENDING)), most)
    # What changes until the end of the stage, its learning rate above all, gains most at its end.
    falls = any(phase.optimizer.schedule != "constant" or phase.reads_progress for phase in stages[-1].phases)
    return Plan(
        batch_rows=batch_rows,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        stages=_spans(stages, total_steps),
        check_every_steps=config.check_every_steps or spaced,
        log_every_steps=max(1, min(steps_per_epoch, 100)),
        patience_checks=_patience(config, falls=falls),
        falls=falls and config.patience_checks is None,
        # Its learning rate has fallen at the end, and not before: what a check can't tell apart is better
        # then, as a classifier can tell.
        ends_well=most_epochs is not None,
    )


def _patience(config: TrainingConfig, *, falls: bool) -> int | None:
    if config.patience_checks == "never":
        return None
    return config.patience_checks or (PATIENCE_WORSE_CHECKS if falls else PATIENCE_CHECKS)


def _spans(stages: tuple[Stage, ...], total_steps: int) -> tuple[StageSpan, ...]:
    whole = sum(stage.share for stage in stages)
    spans: list[StageSpan] = []
    done, first = 0.0, 0
    for stage in stages:
        done += stage.share
        # Rounding must not leave a step at the end without a stage.
        last = total_steps if stage is stages[-1] else round(total_steps * done / whole)
        spans.append(StageSpan(stage, first, last))
        first = last
    return tuple(spans)
