"""Learning rates over a stage: constant, cosine or linear decay, each after an optional linear warm-up."""

import math
from typing import Literal

Schedule = Literal["constant", "cosine", "linear"]


def factor(schedule: Schedule, warmup_steps: int, step: int, total_steps: int) -> float:
    """What the learning rate is multiplied by at `step` (0, 1, ...) of a stage of `total_steps`; in (0,
    1]."""
    if step < warmup_steps:
        # Above 0 from the first step: a step at rate 0 would be wasted.
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    if schedule == "linear":
        return max(0.0, 1.0 - done)
    return 1.0
