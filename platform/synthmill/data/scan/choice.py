"""Whether a source is loaded or scanned: what `data.stream` says, or what the machine has memory for."""

import os
from pathlib import Path

from synthmill.catalog.store import Store
from synthmill.config import DataConfig
from synthmill.data.formats.base import WholeError
from synthmill.data.readers.base import scan_source
from synthmill.data.scan.scan import Scan
from synthmill.errors import DataError

SHARE = 0.5
"""Of the machine's memory that a loaded source may take: workers and the object store have the rest."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def scan_if_large(config: DataConfig, *, store: Store | None = None) -> Scan | None:
    """The source to be scanned; None: it is to be loaded.

    Raises:
        DataError: `data.stream: always`, and the source can only be read whole.
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
        return None
    except DataError:
        if config.stream == "always":
            raise
        # Whoever loads it says what is wrong with it.
        return None
    is_large = scan.weight_bytes > SHARE * memory_bytes()
    return scan if is_large or config.stream == "always" else None


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
