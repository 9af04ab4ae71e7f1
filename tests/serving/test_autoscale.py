from types import SimpleNamespace

import pytest

from synthmill.serving.autoscale import QueuedRows


def wanted(
    rows: dict[str, float | None],
    requests: float = 0.0,
    low: int = 1,
    high: int = 10,
    busy: tuple[float, ...] = (),
    now: int = 1,
) -> int:
    context = SimpleNamespace(
        aggregated_metrics={
            "queued_rows": rows,
            "busy": {str(number): share for number, share in enumerate(busy)},
        },
        total_num_requests=requests,
        current_num_replicas=now,
        capacity_adjusted_min_replicas=low,
        capacity_adjusted_max_replicas=high,
        policy_state={"kept": 1},
    )
    count, state = QueuedRows(target_rows=1000, target_requests=10)(context)
    assert state == {"kept": 1}
    return count


@pytest.mark.parametrize(
    ("rows", "requests", "expected"),
    [
        ({}, 0, 1),
        ({"a": 0.0}, 0, 1),
        ({"a": 1000.0}, 1, 1),
        ({"a": 1001.0}, 1, 2),
        ({"a": 2500.0, "b": 500.0, "c": None}, 1, 3),
        ({"a": 10.0}, 35, 4),
        ({"a": 1e9}, 0, 10),
    ],
)
def test_replicas_follow_rows_and_requests_that_wait(
    rows: dict[str, float | None], requests: float, expected: int
):
    assert wanted(rows, requests) == expected


@pytest.mark.parametrize(
    ("now", "busy", "expected"),
    [(2, (0.6, 0.6), 2), (2, (0.3, 0.3), 1), (3, (0.4, 0.4, 0.4), 2), (1, (0.99,), 1), (2, (1.5, 1.2), 2)],
)
def test_a_replica_is_kept_while_the_others_could_not_take_its_work(
    now: int, busy: tuple[float, ...], expected: int
):
    assert wanted({"a": 10.0}, 2, busy=busy, now=now) == expected


def test_bounds_hold():
    assert wanted({}, low=2) == 2
    assert wanted({"a": 1e9}, high=3) == 3


def test_before_the_first_report_the_minimum_stays():
    context = SimpleNamespace(
        aggregated_metrics=None,
        total_num_requests=0,
        current_num_replicas=0,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=5,
        policy_state=None,
    )
    assert QueuedRows()(context) == (1, {})
