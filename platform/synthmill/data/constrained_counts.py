"""Counts of a scanned source under constraints, and the codec fitted on what was counted."""

import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.codecs.base import Codec, codec_class
from synthmill.data.codecs.constrained import ConstrainedCodec, fitted_plan, inner_config, learnt_table
from synthmill.data.columns import Int64, flat, is_text
from synthmill.data.constraints.fixed_combinations import FixedCombinations
from synthmill.data.constraints.unique import Unique
from synthmill.data.rebuilding import Broken
from synthmill.data.resolution import Resolution
from synthmill.data.scan.block import Block
from synthmill.data.scan.counts import Counts
from synthmill.data.schema import Rules


class ConstrainedCounts:
    """Counts of the learnt columns of a source that is read in blocks, and of the rows that break a
    constraint."""

    def __init__(self, sample: pa.Table, config: DataConfig, rules: Rules, resolution: Resolution) -> None:
        self.plan = fitted_plan(sample, config, rules)
        table, self.rules = learnt_table(self.plan, sample, rules)
        self.inner = Counts(table, inner_config(config, self.plan), self.rules, resolution)
        self._broken = Broken(
            [one for one in self.plan.constraints if not isinstance(one, Unique | FixedCombinations)]
        )

    def add(self, block: Block, at: Int64) -> None:
        """The train rows of a block, which stand `at` these places in it, text dictionary-encoded."""
        plain = pa.table(
            [
                flat(column).cast(kind)
                for column, kind in zip(block.table.columns, self.plan.schema.types, strict=True)
            ],
            schema=self.plan.schema,
        )
        self._broken.add(plain.take(pa.array(at)), block.first_row + at)
        table, _ = self.plan.learnt(plain)
        columns = [column.dictionary_encode() if is_text(column.type) else column for column in table.columns]
        self.inner.add(Block(pa.table(columns, names=table.column_names), block.first_row), at)

    def merge(self, other: "ConstrainedCounts") -> None:
        """As `Counts.merge`."""
        self.inner.merge(other.inner)
        self._broken.merge(other._broken)

    def covers(self, sample: pa.Table) -> bool:
        """Whether what was counted suffices."""
        return self.inner.covers(self.plan.learnt(sample)[0])

    def refuse_broken(self) -> None:
        """Raises ConstraintsError where a row breaks a constraint."""
        self._broken.refuse()


def counts_for(
    encoding: str, sample: pa.Table, config: DataConfig, rules: Rules
) -> Counts | ConstrainedCounts:
    """What counts the train rows of a scanned source."""
    resolution = codec_class(encoding).resolution
    kind = ConstrainedCounts if config.constraints else Counts
    return kind(sample, config, rules, resolution)


def fit_counted_codec(
    encoding: str, sample: pa.Table, counts: Counts | ConstrainedCounts, config: DataConfig, rules: Rules
) -> Codec:
    """As `fit_codec`, of what `counts_for` counted.

    Raises:
        DataError: as `Codec.fit_scanned`, and for rows that break a constraint.
    """
    cls = codec_class(encoding)
    if isinstance(counts, Counts):
        return cls.fit_scanned(sample, counts, config, rules)
    counts.refuse_broken()
    table, _ = counts.plan.learnt(sample)
    inner = cls.fit_scanned(table, counts.inner, inner_config(config, counts.plan), counts.rules)
    return ConstrainedCodec.of(inner, counts.plan, sample, config, rules, cls.resolution)
