"""The texts of a column as notes and faults tell of them."""

import functools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data import cells
from synthmill.data.columns import Bool, Int64
from synthmill.data.fitting import is_categories, offsets, repeats
from synthmill.data.forms._missing import is_missing_word
from synthmill.data.forms.base import Form, Values, to_bool

SHOWN = 3
_NOUNS = {"number": "numbers", "date": "dates", "time of day": "times of day"}


@dataclass(frozen=True)
class ColumnTexts:
    """A column for its notes and faults."""

    name: str
    codes: Int64
    """Of the text of each row, -1 where null (N,)."""
    values: Values
    missing: Bool
    """Which texts stand for a missing value."""
    rows: Int64 | None = None
    """Numbers of the rows in the source, from 0 (N,); None: these are all of them."""

    @classmethod
    def of(
        cls, name: str, coded: pa.Array, null_values: tuple[str, ...], rows: Int64 | None = None
    ) -> "ColumnTexts":
        """Of a dictionary-encoded column."""
        codes: Int64 = np.asarray(coded.indices.fill_null(-1), dtype=np.int64)
        counts = np.bincount(codes[codes >= 0], minlength=len(coded.dictionary))
        known = pc.is_in(coded.dictionary, value_set=pa.array(null_values, pa.string()))
        missing = is_missing_word(coded.dictionary) | to_bool(known)
        return cls(name, codes, Values(coded.dictionary, counts), missing, rows)

    @functools.cached_property
    def rest(self) -> Values:
        """The texts that are values."""
        return self.values.where(~self.missing)

    def shown(self, which: Bool) -> str:
        """A few texts with the first row of each, rows counted from 1."""
        rows = np.flatnonzero(np.isin(self.codes, np.flatnonzero(which)))
        _, first = np.unique(self.codes[rows], return_index=True)
        some = rows[np.sort(first)[:SHOWN]]
        at = some if self.rows is None else self.rows[some]
        texts = [
            f"{short(self.values.texts[int(self.codes[row])].as_py())} (row {number + 1:,})"
            for row, number in zip(some, at, strict=True)
        ]
        more = len(rows) - len(some)
        return ", ".join(texts) + (f" and {more:,} more" if more > 0 else "")

    def fault(self, odd: Bool, what: str, *, stated: bool) -> str:
        words = self.values.texts.filter(pa.array(odd)).to_pylist()[:SHOWN]
        nulls = ", ".join(f'"{word}"' for word in words)
        kind = "categorical" if repeats(self.values) else "drop"
        other = (
            "correct the schema file" if stated else f"state {{columns: {{{self.name}: {{kind: {kind}}}}}}}"
        )
        verb = "is" if stated else "holds"
        holds = "but holds" if stated else "but also"
        return (
            f"column {self.name!r} {verb} {what}, {holds} {self.shown(odd)}; correct them, take them"
            f" for missing"
            f" (add {nulls} to `data.null_values`), or {other}"
        )

    def missing_notes(self) -> tuple[str, ...]:
        """What was taken for missing."""
        missing = self.missing
        if not missing.any():
            return ()
        words = [
            f"{text!r} ({rows:,} rows)"
            for text, rows in zip(
                self.values.texts.filter(pa.array(missing)).to_pylist(),
                self.values.counts[missing].tolist(),
                strict=True,
            )
        ]
        return (f"column {self.name!r}: {', '.join(words[:5])} taken for missing",)

    def notes(self, respelled: Bool, forms: list[Form]) -> tuple[str, ...]:
        notes = list(self.missing_notes())
        if len(forms) > 1:
            notes.append(
                f"column {self.name!r} is written in {len(forms)} ways"
                f" ({', '.join(form.example for form in forms)}); each is drawn as often as in the source"
            )
        if respelled.any():
            rows = int(self.rest.counts[respelled].sum())
            notes.append(
                f"column {self.name!r}: {rows:,} cells are written otherwise than {forms[0].example!r}"
            )
        zones = {getattr(form, "zone", None) is None for form in forms}
        if len(zones) > 1 and all(form.group == "date" for form in forms):
            notes.append(f"column {self.name!r}: times without a zone are taken for UTC")
        several = [] if forms else offsets(self.rest.texts)
        if len(several) > 1:
            shown = ", ".join(several[:SHOWN])
            notes.append(f"column {self.name!r} has times of several offsets ({shown}): they come out in UTC")
        return tuple(notes)

    def part_notes(self, best: Bool, forms: list[Form]) -> tuple[str, ...]:
        rest = self.rest
        share = rest.share(best)
        if share < 0.5 or is_categories(rest):
            return ()
        what = noun(rest, best, forms)
        return (f"column {self.name!r} is learnt as text, though {share:.0%} of its cells read as {what}",)


def short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:29] + "\u2026")


def noun(values: Values, best: Bool, forms: list[Form]) -> str:
    if forms and to_bool(forms[0].parse(values.texts).is_valid())[best].any():
        return _NOUNS.get(forms[0].group, forms[0].group.replace("number", "numbers", 1))
    return cells.plain_noun(values.texts.filter(pa.array(best)))
