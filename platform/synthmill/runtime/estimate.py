"""What a job would take, before anything is started: a few real steps or one real part, computed here by one
process, and carried on to the whole.

Estimates, not promises: other machines, other processes and start-up come on top. Nothing is written, and no
cluster is asked for anything.
"""

import math
import os
import resource
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthmill.config import AUTO, Recipe, StorageConfig, dump
from synthmill.errors import SynthmillError
from synthmill.runtime.progress import say
from synthmill.runtime.rates import clock_time

if TYPE_CHECKING:
    from synthmill.runtime.augment import AugmentRequest
    from synthmill.storage.folder import Folder

PROBE_SECONDS = 2.0
PROBED_ROWS = 65_536
CHECKPOINTS = 3
"""Checkpoints that lie in a run's folder at once, at most: the latest two and the last good one."""


def dry_run_of_training(recipe: Recipe, store_uri: str) -> dict[str, Any] | None:
    """Print the resolved recipe and what it would take; None: no estimate, for a reason that is said.

    Raises:
        UserError: what is wrong with the recipe itself.
    """
    from synthmill.training.prepare import resolve

    recipe = resolve(recipe)
    is_open = recipe.model.name == AUTO
    if not is_open:
        _show(recipe)
    try:
        return estimate_train(recipe, store_uri)
    except SynthmillError as fault:
        # The recipe is what a dry run is for; without the source at hand there is just no estimate.
        if is_open:
            _show(recipe)
        say(f"no estimate: {fault}")
        return None


def _show(recipe: Recipe) -> None:
    import yaml

    say(yaml.safe_dump(dump(recipe), sort_keys=False).rstrip())


def estimate_train(recipe: Recipe, store_uri: str) -> dict[str, Any]:
    """Read the source of a resolved recipe, take a few steps, and say what the whole run would take; first
    what was chosen, where the recipe left that to the rows.

    Returns:
        `steps`, `step_seconds`, `seconds`, `memory_bytes` of the process that probed, `disk_bytes` of a run.

    Raises:
        UserError: what would stop the run itself.
    """
    from synthmill.catalog.store import Store
    from synthmill.runtime.prepare import LEAST_PARTS, read_rows
    from synthmill.training.probe import probe

    started = time.monotonic()
    rows = read_rows(recipe, Store(store_uri, recipe.storage))
    recipe = rows.settled(recipe)
    if rows.choice is not None:
        _show(recipe)
        say(rows.choice.why)
    read_seconds = time.monotonic() - started
    if rows.divided is not None and rows.divided.scan.weight_parts >= LEAST_PARTS:
        say(
            f"reading: one process took {read_seconds:.1f} s; in the job, free CPUs share the source's"
            f" {math.ceil(rows.divided.scan.weight_parts):,} parts"
        )
    probed = probe(recipe, rows, seconds=PROBE_SECONDS)
    limit = recipe.training.max_seconds
    seconds = read_seconds + (probed.seconds if limit is None else min(probed.seconds, limit))
    memory = _peak_bytes()
    disk = probed.state_bytes * CHECKPOINTS + probed.weight_bytes + probed.shard_bytes
    say(
        f"estimate from {probed.probed_steps} steps taken here by one process, and {read_seconds:.1f} s that"
        f" {rows.num_rows:,} rows took to read and encode; nothing was started or written"
    )
    if probed.steps:
        workers = recipe.training.most_workers
        more = f"; {workers} workers: at best {clock_time(probed.seconds / workers)}" if workers > 1 else ""
        say(
            f"time: about {clock_time(seconds)} for {probed.steps:,} steps of"
            f" {1000 * probed.step_seconds:.3g} ms ({probed.rows_per_second:,.0f} rows/s) and"
            f" {probed.checks} checks of {probed.check_seconds:.2g} s{more}"
        )
    else:
        say(f"time: about {clock_time(seconds)}; this model is fitted in closed form, without steps")
    say(f"memory: about {_size(memory)} for the driver, and as much for each worker")
    say(f"disk: about {_size(disk)} in the store while it runs, {_size(probed.weight_bytes)} afterwards")
    return {
        "steps": probed.steps,
        "step_seconds": round(probed.step_seconds, 6),
        "seconds": round(seconds, 3),
        "memory_bytes": memory,
        "disk_bytes": disk,
    }


def estimate_augment(
    request: "AugmentRequest", store_uri: str, *, storage: StorageConfig | None = None
) -> dict[str, Any]:
    """Generate and write one part into a scratch folder, and say what the whole dataset would take.

    Returns:
        `rows_per_second` of one worker, `workers`, `seconds`, `memory_bytes` a worker, `disk_bytes`, `files`.

    Raises:
        UserError: what would stop the job itself.
    """
    from synthmill.runtime.augment import planned
    from synthmill.runtime.output import written_bytes
    from synthmill.runtime.sequences import expected_rows

    work = planned(request, store_uri, storage)
    plan, generator = work.plan, work.generator
    rows = min(plan.rows, plan.shard_rows, PROBED_ROWS)
    before = _peak_bytes()
    # Loaded code and buffers of the first call are no part of a row's cost.
    written_bytes(generator, plan, request.output, min(rows, 1024))
    started = time.monotonic()
    size = written_bytes(generator, plan, request.output, rows)
    seconds = time.monotonic() - started
    # Of sequences about as many rows as they have on average.
    made = max(1, expected_rows(generator, rows))
    rate, each = made / max(seconds, 1e-6), size / made
    total = expected_rows(generator, plan.rows) + (work.real.num_rows if work.real else 0)
    # A cluster's size is known only once it is asked, which a dry run does not do.
    workers = min(request.workers or os.cpu_count() or 1, plan.num_shards)
    # What a part takes grows with its rows; the rest is code, weights and one batch.
    memory = before + (_peak_bytes() - before) * max(1, min(plan.rows, plan.shard_rows) // rows)
    result: dict[str, Any] = {
        "rows": total,
        "rows_per_second": round(rate, 1),
        "workers": workers,
        "seconds": round(total / (rate * workers), 3),
        "memory_bytes": memory,
        "disk_bytes": round(total * each),
        "files": plan.num_shards,
    }
    say(
        f"estimate from {rows:,} {generator.unit} generated here by one process in {seconds:.1f} s; nothing"
        " was started"
    )
    say(
        f"time: about {clock_time(result['seconds'])} with {workers} worker(s) of {rate:,.0f} rows/s, and the"
        " report on the rows"
    )
    say(f"memory: about {_size(memory)} a worker")
    say(
        f"disk: about {_size(result['disk_bytes'])} in {plan.num_shards:,} part(s), {each:.1f} bytes a row"
        f"{_free(work.store.root, result['disk_bytes'])}"
    )
    return result


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _free(folder: "Folder", needed: int) -> str:
    if folder.local_path is None:
        return ""
    place = next(
        (path for path in (folder.local_path, *folder.local_path.parents) if path.exists()), Path("/")
    )
    free = shutil.disk_usage(place).free
    return f"; {_size(free)} are free" + (", which is too little" if free < needed else "")


def _size(number: float) -> str:
    """1.2 GB for 1,200,000,000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f} bytes"
