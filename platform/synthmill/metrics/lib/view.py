"""One part of a table, seen through a plan: every encoding is computed once and shared."""

from functools import cached_property

import pyarrow as pa

from synthmill.metrics.lib.binning import Plan, bin_levels, bin_numbers
from synthmill.metrics.lib.columns import Floats, Hashes, Ints, floats, row_hashes, texts


class PartView:
    """Some consecutive rows and their encodings; `first_row` is the global number of the first."""

    def __init__(self, table: pa.Table, plan: Plan, first_row: int = 0) -> None:
        self.table = table
        self.plan = plan
        self.first_row = first_row
        self._floats: dict[str, Floats] = {}
        self._texts: dict[str, tuple[Ints, list[str]]] = {}
        self._codes: dict[str, Ints] = {}

    @property
    def num_rows(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.table.column_names)}

    def column(self, name: str) -> pa.ChunkedArray:
        """A column; by position, as looking a name up among 10,000 takes as long as reading the column."""
        return self.table.column(self._places[name])

    def floats(self, name: str) -> Floats:
        """A numeric column, NaN where missing."""
        if name not in self._floats:
            self._floats[name] = floats(self.column(name))
        return self._floats[name]

    def texts(self, name: str) -> tuple[Ints, list[str]]:
        """A column as codes into its own distinct values."""
        if name not in self._texts:
            self._texts[name] = texts(self.column(name))
        return self._texts[name]

    def codes(self, name: str) -> Ints:
        """The bins of a column, int64 (N,)."""
        if name not in self._codes:
            bins = self.plan.bins[name]
            if bins.column.role == "numeric":
                self._codes[name] = bin_numbers(bins, self.floats(name))
            else:
                self._codes[name] = bin_levels(bins, *self.texts(name))
        return self._codes[name]

    def coarse(self, name: str) -> Ints:
        """The bins of a column as pairs use them, int64 (N,)."""
        codes = self.codes(name)
        bins = self.plan.bins[name]
        # Numeric columns have the same bins in pairs; no need to look every row up.
        return codes if bins.coarse_size == bins.size else bins.coarse[codes]

    @cached_property
    def hashes(self) -> Hashes:
        """One hash a row over all columns but identifiers, uint64 (N,)."""
        return row_hashes(self.plan.columns, self.table)
