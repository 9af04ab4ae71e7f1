"""Parts of a streamed source, scanned by Ray tasks: each reads its rows where they can be read alone, or is
given them, and this process merges what they find. The result is the same however many there are."""

import contextlib
import copy
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from synthmill.data.scan.found import C, Found
from synthmill.data.scan.raw import PART_BYTES, PART_ROWS, Cut, Raw
from synthmill.errors import SynthmillError
from synthmill.runtime import cluster
from synthmill.runtime.progress import Progress
from synthmill.runtime.rates import ScanPace
from synthmill.runtime.tasks import line_of

RETRIES = 3
HASH_STEPS = 8
"""MiB that are hashed between two looks at what tasks have done."""
_Rows = Cut | tuple[int, list[pa.Table]]


class ScanRunner:
    """Goes over a source pass by pass (`data.scan.found.Runner`), with as many tasks at a time as CPUs are
    free, or `most`; without any, in this process."""

    def __init__(self, most: int | None = None) -> None:
        self._most, self._passes = most, 0

    def __call__(self, found: Found[C], raw: Raw) -> None:
        self._passes += 1
        again = f" again ({self._passes})" if self._passes > 1 else ""
        unit = "bytes" if raw.num_rows is None else "rows"
        with Progress(f"scanning {unit}{again}", raw.num_rows or raw.num_bytes) as bar:
            pace, most = ScanPace(bar, raw), self._most
            if most is None:
                most = cluster.free_room({"CPU": 1})
            if most:
                _scan_in_tasks(found, raw, most, pace)
                return
            for block in raw.blocks():
                found.add(block, found.rows)
                pace.update(found.rows)


def _scan_in_tasks(found: Found[C], raw: Raw, most: int, pace: ScanPace) -> None:
    cuts = raw.cuts(PART_ROWS)
    # What tasks begin with: nothing was added to it so far.
    empty = ray.put((cluster.environment(), found))
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_scan_part)
    # Where tasks read the rows, the bytes are still hashed in order, while this process waits for them.
    hashing = iter(()) if cuts is None else raw.hashing()
    running: deque[Any] = deque()
    try:
        for rows in _given(raw) if cuts is None else cuts:
            # One more than run waits with its rows, so that no task waits for this process.
            if len(running) > most:
                found.merge(_first_of(running, hashing))
                pace.update(found.rows, most)
            running.append(task.remote(empty, rows, found.sample.least, found.counts))
        while running:
            found.merge(_first_of(running, hashing))
            pace.update(found.rows, most)
        for _ in hashing:
            pass
    finally:
        for call in running:
            with contextlib.suppress(RayError):
                ray.cancel(call)


def _first_of(running: deque[Any], hashing: Iterator[None]) -> Any:
    """What was found in the first part that is not merged yet: of several faults the first rows' is told, as
    if one process had come to it."""
    call, is_hashed = running.popleft(), False
    while not is_hashed and not ray.wait([call], timeout=0)[0]:
        is_hashed = not list(itertools.islice(hashing, HASH_STEPS))
    try:
        found = ray.get(call)
    except RayTaskError:
        # A fault of ours, not a lost process: it would come again.
        raise
    except RayError as fault:
        raise SynthmillError(
            f"a task that scans the source was lost {RETRIES + 1} times ({line_of(fault)}); the same command"
            " begins anew"
        ) from fault
    if isinstance(found, Exception):
        raise found
    # What Ray hands out can't be written to, and stays in its memory as long as it is used.
    return copy.deepcopy(found)


def _given(raw: Raw) -> Iterator[_Rows]:
    """The rows of each part, of a source that only one process can read, in order."""
    blocks: list[pa.Table] = []
    first_row = size = 0
    for block in raw.blocks():
        blocks.append(block)
        size += block.nbytes
        if size >= PART_BYTES:
            yield first_row, blocks
            first_row += sum(block.num_rows for block in blocks)
            blocks, size = [], 0
    if blocks:
        yield first_row, blocks


def _scan_part(
    empty: tuple[Mapping[str, str], Found[C]], rows: _Rows, least: np.uint64, counts: bool
) -> Found[C] | SynthmillError:
    environment, found = empty
    cluster.adopt(environment)
    found = copy.deepcopy(found)
    found.sample.pass_over(least)
    found.counts = counts
    try:
        if isinstance(rows, Cut):
            found.add_cut(rows)
        else:
            row, blocks = rows
            for block in blocks:
                found.add(block, row)
                row += block.num_rows
    except SynthmillError as fault:
        # Returned, as Ray would wrap it.
        return fault
    return found
