"""How long a run is, what each step does, and when quality is checked: decided before the first step, from
counts alone.

Nothing here reads a clock, so that two runs of one recipe do the same.
"""

from dataclasses import dataclass

from synthmill.config import TrainingConfig
from synthmill.models.base import Stage

MOST_CHECKS = 25
CHECK_SHARE = 0.05
STEPS_PER_SAMPLED_BATCH = 1.0
"""What sampling, decoding and scoring as many rows as a batch has costs, in training steps."""
STEPS_PER_CHECK = 10
"""What a check costs besides."""


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

    def at(self, step: int) -> StageSpan:
        """The stage that `step` belongs to."""
        return next(span for span in self.stages if step < span.last)


def make_plan(
    config: TrainingConfig, stages: tuple[Stage, ...], rows: int, row_group: int, check_rows: int
) -> Plan:
    """`rows` training rows, at least `row_group`; `check_rows` rows sampled a quality check."""
    # Whole groups of rows: a critic that judges several at once must get all of a group.
    batch_rows = max(row_group, min(config.global_batch_rows, rows) // row_group * row_group)
    steps_per_epoch = max(1, rows // batch_rows)
    most_epochs = stages[0].most_epochs if len(stages) == 1 else None
    total_steps = min(config.max_epochs, most_epochs or config.max_epochs) * steps_per_epoch
    if config.max_steps is not None:
        total_steps = min(total_steps, config.max_steps)
    check_cost_steps = (
        STEPS_PER_CHECK + STEPS_PER_SAMPLED_BATCH * (check_rows + 0.2 * min(rows, 20_000)) / batch_rows
    )
    # In steps, not seconds: the same checks on every machine, so that the same weights are chosen.
    spaced = max(-(-total_steps // MOST_CHECKS), int(check_cost_steps / CHECK_SHARE))
    if most_epochs is not None:
        # Its learning rate has fallen at the end, and not before: earlier weights are worse, but could be
        # within noise of the last ones, and would then be published.
        spaced = max(spaced, total_steps)
    return Plan(
        batch_rows=batch_rows,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        stages=_spans(stages, total_steps),
        check_every_steps=config.check_every_steps or spaced,
        log_every_steps=max(1, min(steps_per_epoch, 100)),
    )


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
