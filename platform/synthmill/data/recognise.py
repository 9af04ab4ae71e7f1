"""What a column of text holds: numbers, dates and the like in some form, categories, or something that a
person
must decide."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data import cells
from synthmill.data.columns import Bool, Int64
from synthmill.data.forms import _dates, angle, digits, duration, number
from synthmill.data.forms._missing import is_missing_word
from synthmill.data.forms.base import Ask, Form, Found, Hint, Values, to_bool
from synthmill.data.forms.moment import MomentForm
from synthmill.data.forms.number import NumberForm
from synthmill.data.forms.several import SeveralForm

Finder = Callable[[Values, Hint], Found | Ask | None]
FINDERS: tuple[Finder, ...] = (digits.find, number.find, _dates.find, duration.find, angle.find)
"""Tried in this order, the most rows win: a code of digits would pass for a number, a number for a date."""
PROBE_ROWS = 2000
PROBE_SHARE = 0.25
"""The share of different texts in a sample that must read as something before all are looked at."""
NEAR = 0.8
"""The share of rows that read as one type from which the others are faults."""
MAX_FORMS = 8
MIN_SPELLING_SHARE = 0.01
MIN_ROWS = 5
FEW_LEVELS = 20
SHOWN = 3
_STATED: dict[str, tuple[Finder, ...]] = {
    "integer": (number.find, digits.find),
    "numeric": (number.find, angle.find, digits.find),
    "date": (_dates.find,),
    "datetime": (_dates.find, duration.find),
}
_NOUNS = {"number": "numbers", "date": "dates", "time of day": "times of day"}


@dataclass(frozen=True)
class Reading:
    """What became of a column of text."""

    column: pa.ChunkedArray
    """Typed, or text as it was."""
    form: Form | None = None
    """How typed values are written; None: text, or values that need none."""
    notes: tuple[str, ...] = ()
    fault: str | None = None
    """Why a person must decide: begins with the column, ends with the fix."""


def recognise(
    name: str,
    column: pa.ChunkedArray,
    hint: Hint,
    *,
    typed_source: bool = False,
    null_values: tuple[str, ...] = (),
) -> Reading:
    """Read a column of text (N,).

    A `typed_source` such as Parquet says that the column is text: what is read in it is always written back
    as text. In a CSV everything is text, and plain numbers and dates simply have their type. `null_values`
    are heeded like the usual words for a missing value: where the rest is typed.
    """
    if not _promising(column, hint, null_values):
        return Reading(column)
    coded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    codes: Int64 = np.asarray(coded.indices.fill_null(-1), dtype=np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(coded.dictionary))
    values = Values(coded.dictionary, counts)
    missing = is_missing_word(values.texts) | to_bool(
        pc.is_in(values.texts, value_set=pa.array(null_values, pa.string()))
    )
    rest = values.where(~missing)
    if not len(rest.texts):
        return Reading(column)
    fit = _fit(rest, hint)
    plain = _plain(rest, hint) if not typed_source else np.zeros(len(rest.texts), dtype=bool)
    if plain.all():
        fit = _Fit([], plain, read=plain, respelled=~plain)
    at = _Column(name, codes, values)
    stated = hint.kind in _STATED or hint.datetime_format is not None
    if not fit.read.all():
        return _partly(column, at, fit, plain, rest, missing, stated=stated, kind=hint.kind)
    if fit.forms and not stated and _is_categories(rest):
        # Few levels, each frequent: they come out word for word as categories.
        return Reading(_nulled(coded, missing), notes=at.missing_notes(missing))
    if typed_source and not stated and _are_whole(fit.forms):
        fix = "state `kind: integer` in a schema file to learn them as numbers"
        return Reading(column, notes=(f"column {name!r}: whole numbers stored as text are text; {fix}",))
    form = _joined(fit.forms, rest)
    bare = form is None or (form.plain and not typed_source)
    notes = at.notes(missing, fit.respelled, rest, fit.forms)
    return Reading(_typed(coded, missing, fit.forms), None if bare else form, notes)


def _partly(
    column: pa.ChunkedArray,
    at: "_Column",
    fit: "_Fit",
    plain: Bool,
    rest: Values,
    missing: Bool,
    *,
    stated: bool,
    kind: str | None,
) -> Reading:
    """A column that no forms read whole: text, or a fault where nearly all of it reads as one type."""
    if fit.ask is not None:
        return Reading(column, fault=f"column {at.name!r}: {fit.ask.question} for it in a schema file")
    best = plain if rest.share(plain) > rest.share(fit.read) else fit.read
    near = rest.share(best) >= NEAR
    if stated or (near and not _is_code(rest, best) and not _is_categories(rest)):
        odd = np.zeros(len(at.values.texts), dtype=bool)
        odd[np.flatnonzero(~missing)[~best]] = True
        what = f"stated to be {kind}" if stated else _noun(rest, best, fit.forms)
        return Reading(column, fault=at.fault(odd, what, stated=stated))
    units = None if near or _repeats(rest) else _units(rest, fit.read, fit.forms)
    if units is not None:
        fix = f"{_SPLIT_UNITS}, or state {{columns: {{{at.name}: {{kind: categorical}}}}}}"
        return Reading(column, fault=f"column {at.name!r} holds {units}; {fix}")
    return Reading(column, notes=at.part_notes(rest, best, fit.forms))


@dataclass(frozen=True)
class _Fit:
    """Forms that together read a column's texts, the one of most rows first."""

    forms: list[Form]
    exact: Bool
    """The texts that a form writes just so."""
    read: Bool
    respelled: Bool
    """Those that are read, and would be written otherwise."""
    ask: Ask | None = None
    """A question that stood in the way."""


@dataclass(frozen=True)
class _Column:
    """A column for its notes and faults."""

    name: str
    codes: Int64
    values: Values

    def shown(self, which: Bool) -> str:
        """A few texts with the first row of each, rows counted from 1."""
        rows = np.flatnonzero(np.isin(self.codes, np.flatnonzero(which)))
        _, first = np.unique(self.codes[rows], return_index=True)
        some = rows[np.sort(first)[:SHOWN]]
        texts = [
            f"{_short(self.values.texts[int(self.codes[row])].as_py())} (row {row + 1:,})" for row in some
        ]
        more = len(rows) - len(some)
        return ", ".join(texts) + (f" and {more:,} more" if more > 0 else "")

    def fault(self, odd: Bool, what: str, *, stated: bool) -> str:
        words = self.values.texts.filter(pa.array(odd)).to_pylist()[:SHOWN]
        nulls = ", ".join(f'"{word}"' for word in words)
        kind = "categorical" if _repeats(self.values) else "drop"
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

    def missing_notes(self, missing: Bool) -> tuple[str, ...]:
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

    def notes(self, missing: Bool, respelled: Bool, rest: Values, forms: list[Form]) -> tuple[str, ...]:
        notes = list(self.missing_notes(missing))
        if len(forms) > 1:
            notes.append(
                f"column {self.name!r} is written in {len(forms)} ways"
                f" ({', '.join(form.example for form in forms)}); each is drawn as often as in the source"
            )
        if respelled.any():
            rows = int(rest.counts[respelled].sum())
            notes.append(
                f"column {self.name!r}: {rows:,} cells are written otherwise than {forms[0].example!r}"
            )
        zones = {getattr(form, "zone", None) is None for form in forms}
        if len(zones) > 1 and all(form.group == "date" for form in forms):
            notes.append(f"column {self.name!r}: times without a zone are taken for UTC")
        return tuple(notes)

    def part_notes(self, rest: Values, best: Bool, forms: list[Form]) -> tuple[str, ...]:
        share = rest.share(best)
        if share < 0.5 or _is_categories(rest):
            return ()
        what = _noun(rest, best, forms)
        return (f"column {self.name!r} is learnt as text, though {share:.0%} of its cells read as {what}",)


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:29] + "\u2026")


def _promising(column: pa.ChunkedArray, hint: Hint, null_values: tuple[str, ...]) -> bool:
    """Whether a sample holds anything but text: most columns of text are told by it."""
    if hint.kind in _STATED or hint.datetime_format is not None:
        return True
    if hint.kind not in (None, "boolean"):
        # Every other kind that can be stated is text.
        return False
    size = min(len(column), PROBE_ROWS)
    sample = column.take(pa.array(np.linspace(0, len(column) - 1, size).astype(np.int64))) if size else column
    texts = pc.unique(sample.cast(pa.string())).drop_null()
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    known = pc.is_in(texts, value_set=pa.array(null_values, pa.string()))
    texts = texts.filter(pa.array(~is_missing_word(texts) & ~to_bool(known)))
    # Whatever is not text has a digit, but for true and false; to read the sample costs more than to look.
    texts_with = pc.or_(
        pc.match_substring_regex(texts, r"\d"), pc.match_substring_regex(texts, cells.BOOLEAN)
    )
    if not len(texts) or pc.mean(texts_with).as_py() < PROBE_SHARE:
        return False
    # Codes are told from keys by values that occur twice, which a sample need not show.
    values = Values(texts, np.full(len(texts), 2, dtype=np.int64))
    fit = _fit(values, hint)
    plain = max(values.share(fit.read), values.share(_plain(values, hint)))
    return plain >= PROBE_SHARE or fit.ask is not None


def _fit(values: Values, hint: Hint) -> _Fit:
    """Greedily: the form of most rows, then that of most of the others, while they mean the same."""
    forms: list[Form] = []
    read = np.zeros(len(values.texts), dtype=bool)
    exact = read.copy()
    asked = None
    finders = _STATED.get(hint.kind or "", FINDERS) if hint.datetime_format is None else (_dates.find,)
    for _ in range(MAX_FORMS):
        left = np.flatnonzero(~exact)
        part = values.where(~exact)
        found = [finder(part, hint) for finder in finders] if len(left) else []
        asked = asked or (next((one for one in found if isinstance(one, Ask)), None) if not forms else None)
        fitting = [one for one in found if isinstance(one, Found) and one.fits.any()]
        fitting = [one for one in fitting if not forms or one.form.group == forms[0].group]
        if not fitting:
            break
        best = max(fitting, key=lambda one: part.share(one.fits))
        rows = part.counts[best.fits].sum()
        if forms and rows < max(MIN_ROWS, MIN_SPELLING_SHARE * values.rows):
            break
        texts = part.texts.filter(pa.array(best.fits))
        same = to_bool(pc.equal(best.form.write(best.form.parse(texts)), texts))
        at = left[best.fits]
        read[at] = True
        if not same.any() or best.form in forms:
            forms += [] if forms else [best.form]
            break
        forms.append(best.form)
        exact[at[same]] = True
    for form in forms[:1] if not exact.all() else []:
        read |= to_bool(form.parse(values.texts).is_valid())
    return _Fit(forms, exact, read, read & ~exact, None if read.all() else asked)


_SPLIT_UNITS = "give the unit a column of its own, or write all in one"


def _repeats(values: Values) -> bool:
    """Whether texts occur so often that they are categories."""
    return values.rows >= MIN_ROWS * len(values.texts)


def _units(values: Values, read: Bool, forms: list[Form]) -> str | None:
    """The units of a column that holds numbers in several, with an example row each; None where it does
    not."""
    if not forms or not isinstance(forms[0], NumberForm):
        return None
    found, left = [forms[0].group], ~read
    while left.any() and len(found) < MAX_FORMS:
        other = number.find(values.where(left), Hint())
        if not isinstance(other, Found):
            break
        found.append(other.form.group)
        left[np.flatnonzero(left)[other.fits]] = False
    if values.share(~left) < NEAR or len(set(found)) < 2:
        return None
    return " and ".join(dict.fromkeys(word.replace("number", "numbers", 1) for word in found))


def _plain(values: Values, hint: Hint) -> Bool:
    """The texts that are plain numbers, booleans or ISO dates and times: whichever most rows are."""
    if hint.datetime_format is not None:
        return np.zeros(len(values.texts), dtype=bool)
    kinds = cells.PLAIN if hint.kind is None else cells.PLAIN_OF.get(hint.kind, ())
    masks = [cells.plain_mask(values.texts, kind) for kind in kinds]
    day = MomentForm(pattern="%Y-%m-%d").parse(pc.utf8_slice_codeunits(values.texts, 0, 10))
    masks = [
        mask & to_bool(day.is_valid()) if kind in ("date", "datetime") else mask
        for kind, mask in zip(kinds, masks, strict=True)
    ]
    none = np.zeros(len(values.texts), dtype=bool)
    zoned = cells.zone_mask(values.texts)
    masks += [mask & zoned for mask in masks] + [mask & ~zoned for mask in masks]
    if zoned.any() and not zoned.all():
        # Times with and without a zone have no plain type in common.
        masks = [mask for mask in masks if not (mask & zoned).any() or not (mask & ~zoned).any()]
    return max([none, *masks], key=lambda mask: int(values.counts[mask].sum()))


def _are_whole(forms: list[Form]) -> bool:
    """Whether all is whole numbers without any mark, which may as well be codes."""
    return len(forms) == 1 and isinstance(forms[0], NumberForm) and forms[0].plain and not forms[0].decimals


def _typed(coded: pa.Array, missing: Bool, forms: list[Form]) -> pa.ChunkedArray:
    """The whole column as its forms, or its plain type, read it."""
    if not forms:
        column = pa.chunked_array([_nulled(coded, missing).combine_chunks()])
        return cells.plain_typed(column)
    form = _joined(forms, None)
    assert form is not None
    texts = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), coded.dictionary)
    return pa.chunked_array([form.parse(texts).take(coded.indices)])


def _nulled(coded: pa.Array, missing: Bool) -> pa.ChunkedArray:
    texts = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), coded.dictionary)
    return pa.chunked_array([texts.take(coded.indices)])


def _joined(forms: list[Form], values: Values | None) -> Form | None:
    """One form of them all, with the share of rows of each."""
    if len(forms) < 2:
        return forms[0] if forms else None
    shares = [1.0] * len(forms)
    if values is not None:
        left = np.ones(len(values.texts), dtype=bool)
        for at, form in enumerate(forms):
            same = left & to_bool(pc.equal(form.write(form.parse(values.texts)), values.texts))
            shares[at] = float(values.counts[same].sum())
            left &= ~same
    total = sum(shares)
    return SeveralForm(
        forms=tuple(form.to_json() for form in forms), shares=tuple(share / total for share in shares)
    )


def _is_categories(values: Values) -> bool:
    """Whether the texts are few and each is frequent."""
    return len(values.texts) <= FEW_LEVELS and bool((values.counts >= MIN_ROWS).all())


def _is_code(values: Values, best: Bool) -> bool:
    """Whether what does not read as a number shows that the others are codes: leading zeros, one length for
    all,
    or a letter beside digits in many rows."""
    numeric = values.texts.filter(pa.array(best))
    if not to_bool(pc.match_substring_regex(numeric, r"^\d+$")).all():
        return False
    odd = values.texts.filter(pa.array(~best))
    if to_bool(pc.match_substring_regex(odd, r"^0\d+$")).any():
        return True
    lengths = np.unique(np.asarray(pc.utf8_length(values.texts)))
    lettered = to_bool(pc.match_substring_regex(odd, r"^(\d+[ -]?\pL{1,3}|\pL{1,3}[ -]?\d+)$"))
    return (len(lengths) == 1 and len(values.texts) > 50) or (
        values.share(~best) > 0.02 and bool(lettered.mean() > 0.5)
    )


def _noun(values: Values, best: Bool, forms: list[Form]) -> str:
    if forms and to_bool(forms[0].parse(values.texts).is_valid())[best].any():
        return _NOUNS.get(forms[0].group, forms[0].group.replace("number", "numbers", 1))
    return cells.plain_noun(values.texts.filter(pa.array(best)))
