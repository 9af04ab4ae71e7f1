"""Work as Ray tasks, and results out of Ray with our own errors intact."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from synthmill.errors import SynthmillError
from synthmill.metrics.base import MapTasks
from synthmill.runtime import cluster


def get(calls: list[Any]) -> list[Any]:
    """Results of Ray calls; an error that a worker raised on purpose comes out as itself, without Ray's
    wrapping."""
    try:
        return list(ray.get(calls))
    except RayTaskError as fault:
        if isinstance(fault.cause, SynthmillError):
            raise fault.cause from None
        raise


def line_of(fault: BaseException) -> str:
    """The first line of what an exception says."""
    text = str(fault).strip()
    return text.splitlines()[0] if text else type(fault).__name__


def last_line(fault: BaseException) -> str:
    """What went wrong in a training worker, without its stack: the last line of the innermost report."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"training workers failed: {lines[-1] if lines else type(fault).__name__}"


def map_on_ray(workers: int | None) -> MapTasks:
    """A `map_tasks` for evaluation: every item a Ray task of one CPU, at most `workers` at once, results in
    order."""

    def run(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        # Once in the object store, instead of once with each task: it carries the evidence.
        if not cluster.room({"CPU": 1}):
            cluster.require(workers=min(workers or 1, len(items) or 1), start_with=1, field="--workers")
        env, shared = cluster.environment(), ray.put(function)
        task = ray.remote(num_cpus=1, max_retries=3)(_apply)
        waiting = list(enumerate(items))
        running: dict[Any, int] = {}
        results: list[Any] = [None] * len(waiting)
        while waiting or running:
            # `--workers` bounds how many run at a time; Ray has no such limit. The cluster may have grown.
            limit = workers or cluster.total_cpus()
            while waiting and len(running) < limit:
                at, item = waiting.pop(0)
                running[task.remote(env, shared, item)] = at
            ready, _ = ray.wait(list(running), num_returns=1)
            results[running.pop(ready[0])] = get(ready)[0]
        return results

    return run


def _apply(env: Mapping[str, str], function: Callable[[Any], Any], item: Any) -> Any:
    cluster.adopt(env)
    return function(item)
