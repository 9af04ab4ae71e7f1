"""The real train rows that are published beside generated ones: a table in memory, or block by block where
training read the source so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.catalog.store import Store
from synthmill.config import parse_model
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import flat
from synthmill.data.readers.base import scan_source
from synthmill.data.scan.division import Sorter
from synthmill.data.scan.scan import Scan
from synthmill.data.split import Split, check_same_counts, check_same_source
from synthmill.data.written import as_learnt, write_texts
from synthmill.generation.generator import Generator
from synthmill.runtime.source import recorded_data, rules_of, source_tables, was_scanned


@dataclass(frozen=True)
class RealRows:
    """Train rows, as the model learnt them."""

    source_sha256: str
    num_rows: int
    blocks: Callable[[], Iterator[pa.Table]]
    """All rows in the order of the source, as often as it is called."""
    known: pa.Table
    """All rows where they are in memory, and none where they are not."""

    def first_free_id(self, codec: Codec, rows: int) -> int:
        """The row number from which so many identifiers in a row are none of those here."""
        # Of a source that is read in blocks no new one is a real one, whichever row it is made for.
        return codec.first_free_id(self.known, rows)

    def count_levels(self, codec: Codec, column: str) -> list[int]:
        """How many rows have each level of a column of categories."""
        counts = (codec.count_levels(column, flat(block[column])) for block in self.blocks())
        return [sum(each) for each in zip(*counts, strict=True)]

    def parts(self, part_rows: int) -> Iterator[pa.Table]:
        """All rows, so many at a time, as the source writes them."""
        held: list[pa.Table] = []
        size = 0
        for block in self.blocks():
            rows = write_texts(block)
            while rows.num_rows:
                some = rows.slice(0, part_rows - size)
                rows = rows.slice(some.num_rows)
                held.append(some)
                size += some.num_rows
                if size == part_rows:
                    yield pa.concat_tables(held).combine_chunks()
                    held, size = [], 0
        if held:
            yield pa.concat_tables(held).combine_chunks()


def real_rows(store: Store, generator: Generator) -> RealRows:
    """The rows that a model was trained on.

    Raises:
        DataError: the source can't be read, or is not the one that was trained on.
    """
    config: dict[str, Any] = dict(generator.config)
    if not was_scanned(config):
        tables = source_tables(store, generator)
        train = tables.train
        return RealRows(tables.split.source_sha256, train.num_rows, lambda: iter([train]), train)
    data, split = recorded_data(config), parse_model(Split, config["split"])
    scan: Scan = scan_source(data, store=store, rules=rules_of(store, config))
    sorter: Sorter[Any] = scan.settle(lambda terms: Sorter(terms, data))
    check_same_source(scan.uri, scan.sha256, split)
    divided = sorter.divided(scan)
    check_same_counts(scan.uri, divided.split.counts, split)
    schema = generator.codec.typed_schema

    def blocks() -> Iterator[pa.Table]:
        return (as_learnt(block, schema) for block in divided.tables())

    known = as_learnt(scan.schema.empty_table(), schema)
    return RealRows(split.source_sha256, split.counts["train"], blocks, known)
