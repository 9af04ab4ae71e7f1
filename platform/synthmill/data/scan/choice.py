"""Whether a source is loaded or scanned: what `data.stream` says, or what the machine has memory for."""

import os
from pathlib import Path

from synthmill.catalog.store import Store
from synthmill.config import DataConfig
from synthmill.data.formats.base import WholeError
from synthmill.data.readers.base import scan_source, weigh_source
from synthmill.data.scan.scan import Scan
from synthmill.errors import DataError

SHARE = 0.5
"""Of the machine's memory that a loaded source may take: workers and the object store have the rest."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def scan_if_large(config: DataConfig, *, store: Store | None = None) -> Scan | None:
    """The source to be scanned; None: it is to be loaded.

    Raises:
        DataError: the source can only be read whole, and `data.stream` is `always`, or it is too large to be
            loaded and that is not `never`.
    """
    if config.stream == "never":
        return None
    try:
        scan = scan_source(config, store=store)
    except WholeError as why:
        if config.stream == "always":
            raise DataError(
                f"the source can't be read in blocks: {why}; save it as Parquet or CSV, or leave this out",
                field="data.stream",
            ) from None
        bytes_ = weigh_source(config, store=store)
        if bytes_ is not None and bytes_ > most_bytes():
            raise too_large(f"{config.source} would take about {gib(bytes_)}", f": {why}") from None
        return None
    except DataError:
        if config.stream == "always":
            raise
        # Whoever loads it says what is wrong with it.
        return None
    is_large = scan.weight_bytes > most_bytes()
    return scan if is_large or config.stream == "always" else None


def too_large(what: str, why: str = "") -> DataError:
    """The error for a source that would fill the memory; `what` says how much it takes."""
    return DataError(
        f"{what} in memory, more than the {gib(most_bytes())} that a source may take here, and can't be read"
        f" in blocks{why}; convert it to Parquet, or set data.stream: never to load it all the same",
        field="data.source",
    )


def gib(bytes_: float) -> str:
    """As people read it."""
    return f"{bytes_ / 2**30:,.1f} GiB"


def most_bytes() -> float:
    """What a loaded source may take of this machine's memory."""
    return SHARE * memory_bytes()


def memory_bytes() -> int:
    """Of this machine, or of the container that the process is in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in _LIMITS:
        try:
            said = Path(limit).read_text().strip()
        except OSError:
            continue
        total = min(total, int(said)) if said.isdigit() else total
    return total
