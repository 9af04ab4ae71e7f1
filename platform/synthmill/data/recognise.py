"""What a column of text holds: numbers, dates and the like in some form, categories, or something that a
person
must decide."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data import cells
from synthmill.data.column_texts import ColumnTexts, noun, short
from synthmill.data.columns import Bool, Int64, flat
from synthmill.data.fitting import (
    MAX_FORMS,
    MIN_ROWS,
    STATED,
    Fit,
    fit_forms,
    is_categories,
    joined,
    plain_texts,
    repeats,
)
from synthmill.data.forms import number, script
from synthmill.data.forms._missing import is_missing_word
from synthmill.data.forms.base import Form, Found, Hint, Values, to_bool
from synthmill.data.forms.number import NumberForm
from synthmill.data.forms.script import ScriptForm

PROBE_ROWS = 2000
PROBE_SHARE = 0.25
"""The share of different texts in a sample that must read as something before all are looked at."""
NEAR = 0.8
"""The share of rows that read as one type from which the others are faults."""


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
    parser: Form | None = None
    """What reads the texts, also where typed values need no form."""
    read_type: pa.DataType | None = None
    """The type that the texts were read in, before a rule made another of it."""


def recognise(
    name: str,
    column: pa.ChunkedArray,
    hint: Hint,
    *,
    typed_source: bool = False,
    null_values: tuple[str, ...] = (),
    rows: Int64 | None = None,
) -> Reading:
    """Read a column of text (N,), whose cells stand in `rows` of the source (N,); None: in all of them.

    A `typed_source` such as Parquet says that the column is text: what is read in it is always written back
    as text. In a CSV everything is text, and plain numbers and dates simply have their type. `null_values`
    are heeded like the usual words for a missing value: where the rest is typed.
    """
    if not _is_stated(hint):
        if hint.kind is not None:
            return Reading(column)
        sample = _sample(column, null_values)
        if not _promising(sample, hint):
            return _as_text(name, column, sample)
    coded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    zero = script.zero_of(coded.dictionary)
    if zero is not None:
        return _foreign(name, column, hint, zero, null_values, rows)
    texts = ColumnTexts.of(name, coded, null_values, rows)
    return _read(column, coded, texts, hint, typed_source=typed_source)


def _read(
    column: pa.ChunkedArray,
    coded: pa.Array,
    texts: ColumnTexts,
    hint: Hint,
    *,
    typed_source: bool,
    foreign: bool = False,
) -> Reading:
    """A column of text, dictionary-encoded, as the forms or the plain type of its cells say."""
    rest, stated = texts.rest, _is_stated(hint)
    if not len(rest.texts):
        return Reading(column)
    plain = np.zeros(len(rest.texts), dtype=bool) if typed_source else plain_texts(rest, hint)
    if not stated and not typed_source and len(rest.texts) == 1 and not plain.all():
        # One value for all is repeated word for word, whatever it means.
        return Reading(_nulled(coded, texts.missing), notes=texts.missing_notes())
    fit = Fit([], plain, read=plain, respelled=~plain) if plain.all() else fit_forms(rest, hint)
    if not fit.read.all():
        return _partly(column, texts, fit, plain, stated=stated, kind=hint.kind)
    if fit.forms and not stated and is_categories(rest):
        # Few levels, each frequent: they come out word for word as categories.
        return Reading(_nulled(coded, texts.missing), notes=texts.missing_notes())
    if typed_source and not foreign and not stated and _are_whole(fit.forms):
        fix = "state `kind: integer` in a schema file to learn them as numbers"
        note = f"column {texts.name!r}: whole numbers stored as text are text; {fix}"
        return Reading(column, notes=(note,))
    form = joined(fit.forms, rest)
    bare = form is None or (form.plain and not typed_source)
    notes = texts.notes(fit.respelled, fit.forms)
    return Reading(_typed(coded, texts.missing, fit.forms), None if bare else form, notes, parser=form)


def _foreign(
    name: str,
    column: pa.ChunkedArray,
    hint: Hint,
    zero: str,
    null_values: tuple[str, ...],
    rows: Int64 | None,
) -> Reading:
    """A column whose digits are of another script: read as if they were ASCII, and written back."""
    marks = script.marks_of(column)
    ascii_column = pa.chunked_array([script.ascii_digits(flat(column), marks)])
    coded = ascii_column.combine_chunks().dictionary_encode()
    texts = ColumnTexts.of(name, coded, null_values, rows)
    # As of a typed source, so that what is read has a form in any case.
    reading = _read(ascii_column, coded, texts, hint, typed_source=True, foreign=True)
    if reading.form is None:
        return Reading(column, notes=reading.notes, fault=reading.fault)
    form = ScriptForm(zero=zero, marks=marks, inner=reading.form.to_json())
    return Reading(reading.column, form, reading.notes, reading.fault, form)


def _partly(
    column: pa.ChunkedArray, at: ColumnTexts, fit: Fit, plain: Bool, *, stated: bool, kind: str | None
) -> Reading:
    """A column that no forms read whole: text, or a fault where nearly all of it reads as one type."""
    rest = at.rest
    if fit.ask is not None and (stated or not is_categories(rest)):
        return Reading(column, fault=f"column {at.name!r}: {fit.ask.question} for it in a schema file")
    best = plain if rest.share(plain) > rest.share(fit.read) else fit.read
    near = rest.share(best) >= NEAR
    if stated or (near and not _is_code(rest, best) and not is_categories(rest)):
        odd = np.zeros(len(at.values.texts), dtype=bool)
        odd[np.flatnonzero(~at.missing)[~best]] = True
        what = f"stated to be {kind}" if stated else noun(rest, best, fit.forms)
        return Reading(column, fault=at.fault(odd, what, stated=stated))
    units = None if near or repeats(rest) else _units(rest, fit.read, fit.forms)
    if units is not None:
        fix = f"{_SPLIT_UNITS}, or leave it out: {{columns: {{{at.name}: {{kind: drop}}}}}}"
        return Reading(column, fault=f"column {at.name!r} holds {units}; {fix}")
    return Reading(column, notes=at.part_notes(best, fit.forms))


def _is_stated(hint: Hint) -> bool:
    return hint.kind in STATED or hint.datetime_format is not None


def _sample(column: pa.ChunkedArray, null_values: tuple[str, ...]) -> pa.Array:
    """The different texts of some rows, but for words for a missing value."""
    size = min(len(column), PROBE_ROWS)
    sample = column.take(pa.array(np.linspace(0, len(column) - 1, size).astype(np.int64))) if size else column
    texts = pc.unique(sample.cast(pa.string())).drop_null()
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    known = pc.is_in(texts, value_set=pa.array(null_values, pa.string()))
    return texts.filter(pa.array(~is_missing_word(texts) & ~to_bool(known)))


def _promising(texts: pa.Array, hint: Hint) -> bool:
    """Whether a sample holds anything but text: most columns of text are told by it."""
    # Whatever is not text has a digit, but for true and false; to read the sample costs more than to look.
    texts_with = pc.or_(
        pc.match_substring_regex(texts, r"\pN"), pc.match_substring_regex(texts, cells.BOOLEAN)
    )
    if not len(texts) or pc.mean(texts_with).as_py() < PROBE_SHARE:
        return False
    # Codes are told from keys by values that occur twice, which a sample need not show.
    values = Values(script.ascii_digits(texts), np.full(len(texts), 2, dtype=np.int64))
    fit = fit_forms(values, hint)
    plain = max(values.share(fit.read), values.share(plain_texts(values, hint)))
    return plain >= PROBE_SHARE or fit.ask is not None


_NUMBER = r"[+-]?(?:0|[1-9]\d{0,5})"
_PAIR = (
    # Two or three numbers: with brackets or a mark that says so they may be whole, else one has decimals.
    rf"^(?:(?:\w+ ?)?[(\[]{_NUMBER}(?:\.\d+)?(?:(?:[,;] ?| ){_NUMBER}(?:\.\d+)?){{1,2}}[)\]]"
    rf"|{_NUMBER}(?:\.\d+)?(?: ?[;/x\x{{d7}}|] ?{_NUMBER}(?:\.\d+)?){{1,2}}"
    rf"|{_NUMBER}\.\d+(?:,? ?{_NUMBER}(?:\.\d+)){{1,2}})$"
)


def _as_text(name: str, column: pa.ChunkedArray, sample: pa.Array) -> Reading:
    """A column of text; a fault where its cells hold two numbers, such as latitude and longitude."""
    if len(sample) and pc.all(pc.match_substring_regex(sample, cells.BARE_EXPONENT)).as_py():
        fix = "state `kind: numeric` in a schema file if they are numbers"
        return Reading(column, notes=(f"column {name!r}: texts such as 1E5 are taken for codes; {fix}",))
    if not len(sample) or pc.mean(pc.match_substring_regex(sample, _PAIR)).as_py() < NEAR:
        return Reading(column)
    if len(pc.unique(column)) * MIN_ROWS <= len(column):
        return Reading(column)
    return Reading(
        column,
        fault=(
            f"column {name!r} holds several numbers in a cell, such as {short(sample[0].as_py())}; give each"
            f" a column of its own, or leave it out: {{columns: {{{name}: {{kind: drop}}}}}}"
        ),
    )


_SPLIT_UNITS = "give the unit a column of its own, or write all in one"


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


def _are_whole(forms: list[Form]) -> bool:
    """Whether all is whole numbers without any mark, which may as well be codes."""
    return len(forms) == 1 and isinstance(forms[0], NumberForm) and forms[0].plain and not forms[0].decimals


def _typed(coded: pa.Array, missing: Bool, forms: list[Form]) -> pa.ChunkedArray:
    """The whole column as its forms, or its plain type, read it."""
    if not forms:
        column = pa.chunked_array([_nulled(coded, missing).combine_chunks()])
        return cells.plain_typed(column)
    form = joined(forms, None)
    assert form is not None
    texts = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), coded.dictionary)
    return pa.chunked_array([form.parse(texts).take(coded.indices)])


def _nulled(coded: pa.Array, missing: Bool) -> pa.ChunkedArray:
    texts = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), coded.dictionary)
    return pa.chunked_array([texts.take(coded.indices)])


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
    lettered = to_bool(pc.match_substring_regex(odd, r"^(\d+[ -]?\pL{1,3}|\pL{1,3}[ -]?\d+|\d+[eE]\d+)$"))
    return (len(lengths) == 1 and len(values.texts) > 50) or (
        values.share(~best) > 0.02 and bool(lettered.mean() > 0.5)
    )
