"""How many replicas: enough for the rows that wait, and for the requests that wait.

Ray Serve sends this file to its controller by value, so it imports nothing of this package.
"""

import math
from typing import Any

QUEUED_ROWS = "queued_rows"


class QueuedRows:
    """The policy. `target_rows` and `target_requests` are what one replica should have waiting or in work."""

    def __init__(self, target_rows: float = 4096.0, target_requests: float = 32.0) -> None:
        self.target_rows = target_rows
        self.target_requests = target_requests

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """Replicas wanted; Ray Serve applies its bounds and delays to it."""
        per_replica = (context.aggregated_metrics or {}).get(QUEUED_ROWS, {})
        rows = sum(value for value in per_replica.values() if value is not None)
        by_rows = math.ceil(rows / self.target_rows)
        by_requests = math.ceil(context.total_num_requests / self.target_requests)
        low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        return max(low, min(high, max(by_rows, by_requests))), dict(context.policy_state or {})
