"""How many replicas: enough for the rows that wait, and for the requests that wait; none is stopped whose
work the others could not take.

Where replicas keep up, next to nothing waits, however busy they are: by what waits alone, one of two at 60%
each would be stopped, and started again when the other is swamped.

Ray Serve sends this file to its controller by value, so it imports nothing of this package.
"""

import math
from typing import Any

QUEUED_ROWS, BUSY = "queued_rows", "busy"
TARGET_BUSY = 0.7
"""Share of its processor that a replica may use after another one was stopped."""


class QueuedRows:
    """The policy. `target_rows` and `target_requests` are what one replica should have waiting or in work."""

    def __init__(self, target_rows: float = 4096.0, target_requests: float = 32.0) -> None:
        self.target_rows = target_rows
        self.target_requests = target_requests

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """Replicas wanted; Ray Serve applies its bounds and delays to it."""
        by_rows = math.ceil(_sum(context, QUEUED_ROWS) / self.target_rows)
        by_requests = math.ceil(context.total_num_requests / self.target_requests)
        # Never more than there are now: a busy replica alone is no reason to start another.
        busy = min(context.current_num_replicas, math.ceil(_sum(context, BUSY) / TARGET_BUSY))
        low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        return max(low, min(high, max(by_rows, by_requests, busy))), dict(context.policy_state or {})


def _sum(context: Any, name: str) -> float:
    """Over replicas, of what they last reported."""
    reported = (context.aggregated_metrics or {}).get(name, {})
    return float(sum(value for value in reported.values() if value is not None))
