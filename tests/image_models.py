"""Training image models on small images, for their tests."""

from typing import Any

import torch

from encoded import Records, settings
from image_cases import as_shown, halves, layout
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import GenerativeModel, build
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from synthmill.training.rng import StepRng


def trained(
    name: str, config: dict[str, Any], *, steps: int, rows: int = 64, seed: int = 0
) -> tuple[GenerativeModel, Records]:
    """The published model (its averaged weights) after so many steps on `halves`, in eval mode, and what was
    recorded."""
    torch.manual_seed(seed)
    records = Records()
    training = settings(global_batch_rows=rows, max_epochs=100_000, max_steps=steps, seed=seed)
    outcome = train(build(name, config, layout()), halves(), training, parallel=Single(), reporter=records)
    published = build(name, config, layout())
    published.load_state_dict(outcome.state_dict)
    return published.eval(), records


def sampled(
    model: GenerativeModel, rows: int = 256, *, condition: Condition | None = None, seed: int = 1
) -> Batch:
    with torch.inference_mode():
        return model.sample(rows, condition=condition, generator=torch.Generator().manual_seed(seed))


def fidelity(model: GenerativeModel) -> float:
    """Share of images that show the half their class asks for: 1 in `halves`, 1/2 for a model that ignores
    the class."""
    batch = sampled(model)
    return float((as_shown(batch) == batch["label"]).float().mean())


def variety(model: GenerativeModel) -> float:
    """Mean standard deviation of a pixel over samples of class 0, on a scale where `halves` has about
    0.26."""
    return float(sampled(model, condition=Condition(label=0))["pixels"].std(0).mean())


def last(records: Records, name: str) -> float:
    """The last recorded value of a loss term."""
    return float(next(record[name] for record in reversed(records.records) if name in record))


def step_rng(rows: int, phase: str = "test") -> StepRng:
    """Noise for a batch of so many rows."""
    return StepRng(torch.device("cpu"), 0, rows, slice(0, rows)).at(0, phase, 0)
