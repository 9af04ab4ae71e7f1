"""What the profile of a scanned column of texts follows from, counted over its train rows block by block."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Int64, UInt64, valid_rows
from synthmill.data.facts import TextFacts
from synthmill.data.scan.content import is_coded, text_hashes
from synthmill.data.scan.counting import CANDIDATE_ROWS
from synthmill.data.scan.tally import Sharers, TextTally


class TextCounter:
    """Counts the train rows of a column whose values are taken for texts."""

    def __init__(self, kind: pa.DataType, need: int, sample: pa.Array) -> None:
        """`sample` (N,) shows which texts are frequent."""
        self._kind, self._frequent = kind, _repeated(sample)
        self._tally, self._sharers = TextTally(self._frequent), Sharers(need)
        self._missing = 0
        self._first: tuple[int, pa.Array] | None = None
        """The first row with a value, and that one."""
        self._texts = pa.array([], pa.string())
        """A dictionary that several blocks share, and the rows of each of its texts that the tally was not
        told of."""
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, array: pa.Array, at: Int64, first_row: int, people: UInt64 | None) -> None:
        """Values of a block, text dictionary-encoded, the places in it that count (N,), the number of its
        first row, and hashes of whose those are (N,)."""
        coded = array if is_coded(array) else array.cast(pa.string()).dictionary_encode()
        if coded.null_count:
            there = valid_rows(coded).take(at)
            self._missing += len(at) - int(np.count_nonzero(there))
            at, people = at[there], None if people is None else people[there]
        if not len(at):
            return
        if not is_coded(array):
            self._see(first_row + int(at[0]), array[int(at[0]) : int(at[0]) + 1])
        codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False).take(at)
        if not self._texts.equals(coded.dictionary):
            self._tell()
            self._texts = coded.dictionary
            self._counts = np.zeros(len(self._texts), dtype=np.int64)
        self._counts += np.bincount(codes, minlength=len(self._texts))
        if people is not None:
            self._sharers.add(text_hashes(coded.dictionary)[codes], people)

    def take_in(self, other: "TextCounter") -> None:
        """Count the rows of another that began alike, too."""
        self._tell()
        other._tell()
        self._tally.take_in(other._tally)
        self._sharers.take_in(other._sharers)
        self._missing += other._missing
        if other._first is not None:
            self._see(*other._first)

    def covers(self, sample: pa.Array) -> bool:
        """Whether what is frequent in a sample was counted."""
        if not self._tally.uncounted:
            return True
        frequent = _repeated(sample, CANDIDATE_ROWS)
        return bool(pc.all(pc.is_in(frequent, value_set=self._frequent), min_count=0).as_py())

    def _see(self, row: int, value: pa.Array) -> None:
        if self._first is None or row < self._first[0]:
            self._first = row, value

    def _tell(self) -> None:
        """Tell the tally what was counted of a dictionary."""
        some = np.flatnonzero(self._counts)
        self._tally.add(self._texts.take(pa.array(some)), self._counts[some])
        self._counts = np.zeros(len(self._counts), dtype=np.int64)

    def facts(self, *, is_grouped: bool) -> TextFacts:
        """People count where `is_grouped`."""
        self._tell()
        tally = self._tally
        tally.merge()
        return TextFacts(
            kind=self._kind,
            values=tally.texts,
            counts=tally.counts,
            shared=self._sharers.of(tally.hashes) if is_grouped else tally.counts,
            missing=self._missing,
            first=pa.nulls(1, self._kind) if self._first is None else self._first[1],
            is_grouped=is_grouped,
            uncounted=tally.uncounted,
        )


def _repeated(sample: pa.Array, rows: int = 2) -> pa.Array:
    """The texts that so many rows of a sample (N,) have."""
    coded = sample.cast(pa.string()).drop_null().dictionary_encode()
    counts = np.bincount(coded.indices.to_numpy(zero_copy_only=False), minlength=len(coded.dictionary))
    return coded.dictionary.take(pa.array(np.flatnonzero(counts >= rows)))
