"""The train rows of a scanned source, counted: enough to profile every column as if all rows were there."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.columns import (
    Int64,
    Numbers,
    UInt64,
    flat,
    from_float64,
    from_int64,
    is_supported,
    is_temporal,
    plain_type,
    valid_rows,
)
from synthmill.data.facts import NumberFacts, TextFacts, numbers
from synthmill.data.mixing import mix
from synthmill.data.people import MOST_ROWS, NEIGHBOURS, people_of
from synthmill.data.profile import (
    ColumnProfile,
    TableProfile,
    gathered,
    keeps_rare,
    profile_identifier,
    profile_number,
    profile_text,
    reads_as_text,
    with_group,
)
from synthmill.data.resolution import COARSE, Resolution
from synthmill.data.scan.content import Hasher, is_coded, whole
from synthmill.data.scan.counting import NumberCounter, Span, number_counter, present
from synthmill.data.scan.counting_texts import TextCounter
from synthmill.data.scan.tally import Different
from synthmill.data.schema import KEY_KINDS, ColumnRule, Rules
from synthmill.data.summary import MOST_LEVELS, level_bars, share_of, summarise
from synthmill.data.views import View, to_view, view_of

if TYPE_CHECKING:
    # Reading a block imports pandas, which processes that write rows do without.
    from synthmill.data.scan.block import Block

SHOWING_ROWS = 65_536
Facts = TextFacts | NumberFacts


class Counts:
    """Counts block by block; `sample` are rows that show which counter suits which column, `resolution` says
    which numbers can be points."""

    def __init__(
        self, sample: pa.Table, config: DataConfig, rules: Rules, resolution: Resolution = COARSE
    ) -> None:
        self._config, self._rules, self._resolution = config, rules, resolution
        rows = sample
        # As many as it takes to tell what a column is like.
        sample = sample.take(pa.array(np.arange(0, sample.num_rows, -(-sample.num_rows // SHOWING_ROWS))))
        self.rows = 0
        self._missing = dict.fromkeys(sample.column_names, 0)
        self._groups, self._hasher = Different(), Hasher()
        self._found: tuple[pa.Table, dict[str, Facts]] | None = None
        self.views: dict[str, View] = {}
        self._texts: dict[str, TextCounter] = {}
        self._numbers: dict[str, NumberCounter] = {}
        # Bounds and knots are of five people, however few rows a category needs.
        need = max(NEIGHBOURS, config.min_category_rows)
        for name in sample.column_names:
            rule = rules.get(name, ColumnRule())
            array = flat(sample[name])
            if not is_supported(array.type) or rule.kind == "identifier" or rule.kind in KEY_KINDS:
                continue
            if (view := view_of(array)) is not None:
                self.views[name] = view
            array = to_view(array, view)
            if reads_as_text(array.type, rule):
                texts = to_view(flat(rows[name]), view)
                self._texts[name] = TextCounter(array.type, need, texts)
            else:
                self._numbers[name] = number_counter(
                    name, array.type, rule, array, need, resolution.point_share
                )

    def add(self, block: "Block", at: Int64) -> None:
        """The train rows of a block, which stand `at` these places in it, ascending (N,)."""
        self._found = None
        self.rows += len(at)
        table = block.table
        people = self._people(table, block.first_row, at)
        for name in table.column_names:
            array = whole(table[name])
            nulls = array.null_count and len(at) - int(np.count_nonzero(valid_rows(array).take(at)))
            self._missing[name] += nulls
            array = array if is_coded(array) else to_view(flat(array), self.views.get(name))
            if name in self._texts:
                self._texts[name].add(array, at, block.first_row, people)
            elif name in self._numbers:
                # Columns are not filtered: to take rows from plain numbers costs a third of that.
                values, there = present(array, at)
                whose = people if people is None or there is None else people[there]
                span = Span(block.first_row, block.first_row + table.num_rows, len(at) - len(values))
                self._numbers[name] = self._numbers[name].add(values, span, whose)

    def merge(self, other: "Counts") -> None:
        """Count the rows of other counts, which began alike, too: what follows is the same however the rows
        were divided between them, and in whatever order they are merged. `other` is not to be used again."""
        self._found = None
        self.rows += other.rows
        self._groups.take_in(other._groups)
        for name, missing in other._missing.items():
            self._missing[name] += missing
        for name, texts in other._texts.items():
            self._texts[name].take_in(texts)
        for name, counter in other._numbers.items():
            self._numbers[name] = self._numbers[name].merged(counter)

    def covers(self, sample: pa.Table) -> bool:
        """Whether what was counted suffices, as the keyed sample shows."""

        def texts(name: str) -> pa.Array:
            return to_view(flat(sample[name]), self.views.get(name))

        return all(
            counter.covers(self._numbers_in(sample, name)) for name, counter in self._numbers.items()
        ) and all(counter.covers(texts(name)) for name, counter in self._texts.items())

    @property
    def is_grouped(self) -> bool:
        """Whether rows are of people with several rows each, as `people_of` has it."""
        return self._config.split.group is not None and self._groups.count * MOST_ROWS > self.rows

    def people_in(self, sample: pa.Table) -> Int64 | None:
        """Whose the rows of a sample are (N,)."""
        group = self._config.split.group
        if not self.is_grouped or group is None:
            return None
        people = people_of(sample, group)
        return np.arange(sample.num_rows) if people is None else people

    def facts(self, sample: pa.Table) -> dict[str, Facts]:
        """Of each column that is counted; `sample` are train rows."""
        if self._found is None or self._found[0] is not sample:
            self._found = sample, self._facts(sample)
        return self._found[1]

    def _facts(self, sample: pa.Table) -> dict[str, Facts]:
        grouped = self.is_grouped
        found: dict[str, Facts] = {
            name: counter.facts(is_grouped=grouped) for name, counter in self._texts.items()
        }
        for name, counter in self._numbers.items():
            least = self._min_rows(name)
            found[name] = counter.facts(self._numbers_in(sample, name), least, is_grouped=grouped)
        return found

    def profile(self, sample: pa.Table, facts: Mapping[str, Facts]) -> TableProfile:
        """The profile of all train rows; `sample` are some of them.

        Raises:
            DataError: as `profile_table`.
        """
        rules, group = self._rules, self._config.split.group
        if group is not None:
            kind = plain_type(sample.schema.field(group).type)
            rules = with_group(rules, group, kind, self._groups.count, self.rows)

        def one(name: str) -> ColumnProfile:
            return self._column(name, sample, facts.get(name), rules.get(name, ColumnRule()))

        return TableProfile(rows=self.rows, columns=gathered(sample.column_names, one))

    def summary(self, sample: pa.Table, profile: TableProfile, facts: Mapping[str, Facts]) -> dict[str, Any]:
        """As `summarise` of all train rows; the bars of curves are those of the sample."""
        bars = {column.name: self._bars(column, facts.get(column.name)) for column in profile.columns}
        # What was counted needs no look at the sample.
        rest = tuple(column for column in profile.columns if bars[column.name] is None)
        told = summarise(sample, profile.model_copy(update={"columns": rest}), self.people_in(sample))
        columns = {}
        for column in profile.columns:
            name, known = column.name, facts.get(column.name)
            away = known.missing if isinstance(known, NumberFacts) else self._missing[name]
            if isinstance(known, NumberFacts) and pa.types.is_floating(known.kind):
                away += known.sentinel_rows
            shown = told["columns"].get(name, {"kind": column.kind})
            columns[name] = {**shown, "missing": share_of(away, self.rows), **(bars[name] or {})}
        return {**told, "rows": self.rows, "columns": columns}

    def _bars(self, column: ColumnProfile, known: Facts | None) -> dict[str, Any] | None:
        """The bars of a column that was counted value by value; None: a sample shows them."""
        if known is None or column.kind in ("identifier", "constant") or column.name in self.views:
            return None
        if isinstance(known, TextFacts):
            texts, uncounted = known.values.to_pylist(), known.uncounted
            return level_bars(texts, known.counts, known.shared, rows=self.rows, uncounted=uncounted)
        if not _are_few(known):
            return None
        return level_bars(_texts_of(known), known.counts, known.shared, rows=self.rows)

    def _column(self, name: str, sample: pa.Table, facts: Facts | None, rule: ColumnRule) -> ColumnProfile:
        array, missing = to_view(flat(sample[name]), self.views.get(name)), self._missing[name]
        if missing == self.rows and rule.categories is None:
            return ColumnProfile(
                name=name, kind="constant", arrow_type=str(array.type), missing_rows=self.rows
            )
        if facts is None or rule.kind == "identifier" or rule.kind in KEY_KINDS:
            return profile_identifier(name, array.type, array, missing, rule)
        if isinstance(facts, NumberFacts):
            keep = keeps_rare(name, self._config)
            least = self._min_rows(name)
            return profile_number(name, facts, rule, least, keep=keep, resolution=self._resolution)
        found = profile_text(name, facts, rule, self._min_rows(name))
        if found.kind == "identifier" and facts.uncounted:
            # Those that were counted are not the usual ones.
            return profile_identifier(name, array.type, array, missing, rule)
        return found

    def _min_rows(self, name: str) -> int:
        return 1 if keeps_rare(name, self._config) else self._config.min_category_rows

    def _numbers_in(self, sample: pa.Table, name: str) -> Numbers:
        values, valid = numbers(to_view(flat(sample[name]), self.views.get(name)))
        return values[valid]

    def _people(self, table: pa.Table, first_row: int, at: Int64) -> UInt64 | None:
        group = self._config.split.group
        if group is None:
            return None
        words = mix(self._hasher.words(table[group]), 11).take(at)
        valid = valid_rows(flat(table[group])).take(at)
        self._groups.add(words[valid])
        # A row without a group is a person of its own.
        return words if valid.all() else np.where(valid, words, mix((at + first_row).astype(np.uint64), 13))


def _are_few(facts: NumberFacts) -> bool:
    """Numbers that are shown one by one."""
    few = facts.is_whole and 0 < len(facts.distinct) <= MOST_LEVELS and not is_temporal(facts.kind)
    return few and (facts.shared.min() >= NEIGHBOURS or pa.types.is_boolean(facts.kind))


def _texts_of(facts: NumberFacts) -> list[str]:
    floating = pa.types.is_floating(facts.kind)
    values = (from_float64 if floating else from_int64)(facts.distinct, None, facts.kind)
    texts: list[str] = values.cast(pa.string()).to_pylist()
    return texts


def rare_classes_of(facts: Facts, kind: pa.DataType, min_rows: int, most: int) -> tuple[int, int]:
    """How many values of a target too few rows share, and their rows; (0, 0) for a curve."""
    if isinstance(facts, NumberFacts):
        whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        if pa.types.is_floating(kind):
            whole = bool((facts.distinct == np.round(facts.distinct)).all())
        if not whole or not facts.is_whole or len(facts.distinct) > most:
            return 0, 0
    rare = facts.shared < min_rows
    uncounted = facts.uncounted if isinstance(facts, TextFacts) else 0
    return int(rare.sum()) + bool(uncounted), int(facts.counts[rare].sum()) + uncounted


def counts_of_levels(facts: TextFacts, levels: tuple[str, ...]) -> Int64:
    """Rows of each level (levels,)."""
    at = pc.index_in(pa.array(levels, pa.string()), value_set=facts.values)
    known = valid_rows(at)
    found = np.zeros(len(levels), dtype=np.int64)
    found[known] = facts.counts[at.drop_null().to_numpy()]
    return found
