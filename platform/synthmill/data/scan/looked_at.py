"""A side that is only compared, never learnt: loaded, or a keyed sample of it where it is too large to be."""

from typing import Any

from synthmill.catalog.store import Store
from synthmill.config import DataConfig
from synthmill.data.readers.base import Source, read_source
from synthmill.data.scan.choice import scan_if_large
from synthmill.data.scan.division import Sorter


def read_side(config: DataConfig, *, store: Store | None = None) -> Source:
    """The source of a side; of one that is read in blocks the sample on which its types were decided, with a
    note that says so.

    Raises:
        DataError: as `read_source`.
    """
    scan = scan_if_large(config, store=store)
    if scan is None:
        return read_source(config, store=store)
    # Every cell is held against the types; which side its row would be on nobody asks.
    _: Sorter[Any] = scan.settle(lambda terms: Sorter(terms, config))
    note = (
        f"{scan.uri} is read in blocks: figures are of {scan.sample.num_rows:,} of its {scan.num_rows:,}"
        " rows, drawn by a hash of the row's number; copies and identifiers of the other rows are not seen"
    )
    return Source(scan.sample, scan.sha256, scan.uri, scan.rules, (note, *scan.notes))
