"""The `training:` section of a recipe: how to train."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from synthmill.frozen import Count, FrozenModel, ends, is_none, tunable


def _patience(value: Any) -> Any:
    if value is None or value == "never":
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("input should be an integer greater than or equal to 1, never or null")


Patience = Annotated[
    int | Literal["never"] | None,
    BeforeValidator(_patience),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "never"}, {"type": "null"}]}),
]
"""Null is what recipes from before say, and `auto` would change their fingerprints."""


class TrainingConfig(FrozenModel):
    """How to train."""

    seed: int = 0
    """Initial weights, noise and row order follow from it."""
    max_epochs: int = Field(300, ge=1)
    """Passes over the training rows."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after so many optimizer steps, if sooner."""
    max_seconds: float | None = Field(None, gt=0)
    """Stop after so many seconds of training, if sooner."""
    global_batch_rows: int = tunable(500, choices=(250, 500, 1000), ge=2)
    """Rows in one step over all workers; reduced, with a line saying so, when there are fewer training rows.
    Where a recipe states no number, models of tables reduce 500 to a tenth of fewer than 5,000 rows, 50 at
    least."""
    batch_as_stated: Literal[True] | None = Field(None, exclude_if=is_none)
    """That `global_batch_rows` was stated, though it is the default; recipes which state 500 get it by
    themselves."""
    micro_batch_rows: int | None = Field(None, ge=1, exclude_if=is_none)
    """Rows that a worker computes at once; gradients are added up over the parts of its share of a batch, so
    that a batch may be larger than memory. Null: the whole share. Not for models with BatchNorm."""
    workers: Count = 1
    """Training processes; gradients are averaged over them, so the result does not depend on their number.
    `2..8`: as many as there is room for; the run goes on with the others when one is lost, and takes in new
    ones."""
    resize_seconds: float | None = Field(None, gt=0, exclude_if=is_none)
    """Time that a run with a range of workers trains at least before it takes in more; null: 60."""
    threads: int | None = Field(None, ge=1)
    """Torch threads a worker; null: one, or as many as the CPUs it was given where that is seen to be at
    least 1.3 times as fast. Another number changes the last bits of the weights; the history records it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward passes; auto: bf16 where the processor has it and is seen to be at least 1.3
    times as fast with it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    channels_last: bool | None = None
    """Whether weights of convolutions lie in memory with their channels last; null: on GPUs."""
    compile: bool = False
    """Compile each phase's loss with `torch.compile`; a phase that takes gradients of gradients runs as
    written. Worth it for long runs only; on CPUs it needs a C++ compiler."""
    cuda_graphs: bool = False
    """On GPUs, replay each phase's forward and backward pass as a CUDA graph; a phase whose loss changes with
    progress runs as written. Off until it has been seen to train the same on a GPU."""
    resume: Literal["never", "always", "if-possible"] = "if-possible"
    """Whether to go on from the last checkpoint of the same recipe."""
    ema_half_life_steps: float | None = Field(None, gt=0, exclude_if=is_none)
    """Steps after which weights count half in the published average; null: 693 (a decay of 0.999)."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Time between checkpoints."""
    check_every_steps: int | None = Field(None, ge=1)
    """Steps between quality checks; null: spaced so that those after the first cost at most 5% of the time,
    by what they compute and not by a clock. A short run may have one, at its end; of `autoregressive` at
    least three."""
    patience_checks: Patience = None
    """Stop after so many quality checks without improvement beyond noise; null: 8, or, of a model whose
    learning rate falls until the end, 5 that were surely worse; `never`: train to the end."""
    max_failures: int = Field(3, ge=0)
    """Lost workers after which the run gives up."""

    @property
    def least_workers(self) -> int:
        """The fewest that the run goes on with."""
        return ends(self.workers)[0]

    @property
    def most_workers(self) -> int:
        """The most that it has at a time."""
        return ends(self.workers)[1]
