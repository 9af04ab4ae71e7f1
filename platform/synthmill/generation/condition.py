"""Conditions on rows: `income=>50K` and `age>=30`, parsed, checked against a codec, and applied to tables."""

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.batch import Allowed, Batch, Condition
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import flat, from_words, is_temporal, is_text, narrowed, to_int64, valid_rows
from synthmill.data.forms.base import Form
from synthmill.data.profile import ColumnProfile
from synthmill.data.written import form_of
from synthmill.errors import ConditionError, did_you_mean
from synthmill.generation.clauses import FIELD, OPERATORS, Clause, Given, clauses_of, quoted
from synthmill.generation.ranges import allowed_by
from synthmill.models.base import GenerativeModel, Latent

_COMPARE: dict[str, tuple[Any, Callable[[Any, Any], bool]]] = {
    "!=": (pc.not_equal, operator.ne),
    "<=": (pc.less_equal, operator.le),
    ">=": (pc.greater_equal, operator.ge),
    "=": (pc.equal, operator.eq),
    "<": (pc.less, operator.lt),
    ">": (pc.greater, operator.gt),
}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Where:
    """Rows that satisfy every clause; without clauses all rows. A missing value satisfies no comparison, not
    even `!=`."""

    clauses: tuple[Clause, ...] = ()

    @classmethod
    def parse(cls, conditions: Iterable[Given]) -> "Where":
        """From texts like `age>=30`, clauses, or objects; ConditionError for one that can't be read."""
        return cls(tuple(clause for condition in conditions for clause in clauses_of(condition)))

    def __str__(self) -> str:
        return " and ".join(map(str, self.clauses))

    def check(self, codec: Codec) -> None:
        """Refuse what the codec's rows can never satisfy.

        Raises:
            ConditionError: an unknown column, a value that is no number or date, not among a column's levels
            or outside its bounds.
        """
        for clause in self.clauses:
            if clause.column not in codec.schema.names:
                raise ConditionError(
                    f"no column named {clause.column!r}{_meant(clause, codec.schema.names)}", field=FIELD
                )
            if clause.column not in (readable := codec.condition_columns()):
                there = f"; use {' or '.join(map(repr, readable))}" if readable else ""
                raise ConditionError(f"{clause}: {clause.column!r} {codec.incomparable}{there}", field=FIELD)
            for member in clause.members:
                _check(member, codec)

    def mask(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """True for the rows that satisfy every clause, bool (N,)."""
        keep = np.ones(table.num_rows, dtype=bool)
        for clause in self.clauses:
            keep &= (
                _compare(flat(table[clause.column]), clause, form_of(table.schema.field(clause.column)))
                .fill_null(False)
                .to_numpy(zero_copy_only=False)
            )
        return keep

    def split(self, codec: Codec, model: GenerativeModel) -> tuple[Condition | None, "Where"]:
        """(what the model generates for, what rows are still rejected for).

        A model gets every equality that a single code stands for, as far as it takes conditions: one class or
        one column's category, or any of them; and one that takes ranges all comparisons of one column more,
        of the column that they leave least of. Its rows have these values by construction.
        """
        if model.conditions == "none":
            return None, self
        native: Condition | None = None
        residual: list[Clause] = []
        for clause in self.clauses:
            known = codec.condition(clause.column, clause.value) if clause.op == "=" else None
            # A second equality, too, if the model takes several: one about the same span would replace the
            # first.
            takes = known is not None and (
                native is None
                or (
                    model.conditions == "any"
                    and known.label is None
                    and not set(native.codes) & set(known.codes)
                )
            )
            if known is None or not takes:
                residual.append(clause)
            else:
                native = known if native is None else native.merge(known)
        rest = Where(tuple(residual))
        if native is not None and native.label is None and model.conditions == "any":
            native, rest = _taken(native, self.clauses, rest, codec, model)
        return _limited(native, rest, codec) if model.takes_ranges else (native, rest)


def _taken(
    native: Condition, clauses: tuple[Clause, ...], residual: Where, codec: Codec, model: GenerativeModel
) -> tuple[Condition | None, Where]:
    """The condition without what the model can't be told together; its clauses join the residual."""
    takes = model.takes(native.codes)
    left = [clause for clause in clauses if clause in residual.clauses]
    for clause in clauses:
        known = codec.condition(clause.column, clause.value) if clause not in left else None
        # Both digits of a column, or neither.
        if known is not None and not set(known.codes) <= takes:
            left.append(clause)
            native = Condition({span: code for span, code in native.codes.items() if span not in known.codes})
    return native if native.codes else None, Where(tuple(left))


def _limited(native: Condition | None, rest: Where, codec: Codec) -> tuple[Condition | None, Where]:
    """The condition with one column more, of which the remaining comparisons allow the least. One only: what
    is drawn for a first limited column would have to know what a second one allows."""

    def mask(clause: Clause, batch: Batch) -> npt.NDArray[np.bool_]:
        return Where((clause,)).mask(codec.condition_table(batch))

    native = native or Condition()
    best: tuple[float, str, int, Allowed] | None = None
    for column in dict.fromkeys(clause.column for clause in rest.clauses):
        found = allowed_by([clause for clause in rest.clauses if clause.column == column], codec, mask)
        if found is not None and found[0] not in native.codes:
            share = float(found[1].weight.mean())
            best = min(best or (2.0, column, *found), (share, column, *found), key=lambda one: one[0])
    if best is None:
        return (native if native.codes else None), rest
    _, column, span, allowed = best
    left = tuple(clause for clause in rest.clauses if clause.column != column)
    return native.merge(Condition(allowed={span: allowed})), Where(left)


def _meant(clause: Clause, names: list[str]) -> str:
    """A hint: a column whose name contains the operator at which the text was split, or a similar name."""
    written = f"{clause.column}{clause.op}{clause.value}".replace(" ", "")
    odd = [name for name in names if any(op in name for op in OPERATORS)]
    split = next((name for name in odd if written.startswith(name.replace(" ", ""))), None)
    if split is None:
        return did_you_mean(clause.column, names)
    return f"; put a name that contains an operator in backticks: {quoted(split)}"


def parse_latents(texts: Iterable[str], known: tuple[Latent, ...]) -> dict[str, float]:
    """Latent codes from texts like `c1=0.5`.

    Raises:
        ConditionError: not NAME=NUMBER, or a name that the model does not know.
    """
    codes: dict[str, float] = {}
    for text in texts:
        name, mark, value = (part.strip() for part in text.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not mark or not math.isfinite(number):
            raise ConditionError(f"{text!r} sets no code; write NAME=NUMBER", field="--latent")
        latent = next((latent for latent in known if latent.name == name), None)
        names = [latent.name for latent in known]
        if latent is None:
            there = f"there is {', '.join(names)}" if names else "this model has none"
            raise ConditionError(
                f"no latent code named {name!r}{did_you_mean(name, names)}; {there}", field="--latent"
            )
        if not latent.low <= number <= latent.high or (latent.integer and not number.is_integer()):
            what = "a whole number" if latent.integer else "a number"
            raise ConditionError(f"{name} is {what} from {latent.low:g} to {latent.high:g}", field="--latent")
        codes[name] = number
    return codes


def _check(clause: Clause, codec: Codec) -> None:
    field = codec.typed_schema.field(clause.column)
    kind, form = field.type, form_of(field)
    profile = codec.column_info(clause.column)
    if profile is not None and profile.kind == "identifier":
        raise ConditionError(
            f"{clause}: {clause.column!r} is an identifier, new for each row; use another column",
            field=FIELD,
        )
    levels = codec.levels(clause.column)
    if (is_text(kind) or pa.types.is_boolean(kind)) and clause.op not in ("=", "!="):
        what = "text" if is_text(kind) else "true or false"
        raise ConditionError(
            f"{clause}: {clause.column!r} contains {what}, which has no order; use = or !=", field=FIELD
        )
    if is_text(kind):
        known = {level.strip() for level in levels or ()}
        if levels is not None and clause.value not in known:
            raise ConditionError(
                f"{clause}: no generated row has that value of"
                f" {clause.column!r}{did_you_mean(clause.value, known)}",
                field=FIELD,
            )
    value = _operand(kind, clause, form)
    ordered = not is_text(kind) and not is_temporal(kind)
    if levels is not None and ordered and not any(_meets(level, clause, value, kind) for level in levels):
        there = ", ".join(_as_written(level, kind) for level in levels[:20]) or "none"
        raise ConditionError(
            f"{clause}: no value of {clause.column!r} satisfies it; there is: {there}", field=FIELD
        )
    if levels is None and profile is not None and profile.minimum is not None and ordered:
        _check_bounds(clause, profile, value, kind)


def _meets(level: str, clause: Clause, value: Any, kind: pa.DataType) -> bool:
    operand = _WORDS[level] if isinstance(value, bool) else _number(kind, level)
    return bool(_COMPARE[clause.op][1](operand, value))


def _as_written(level: str, kind: pa.DataType) -> str:
    return str(narrowed(float(level), kind)) if pa.types.is_floating(kind) else level


def _check_bounds(clause: Clause, profile: ColumnProfile, value: Any, kind: pa.DataType) -> None:
    assert profile.minimum is not None
    assert profile.maximum is not None
    low, high = min([profile.minimum, *profile.points]), max([profile.maximum, *profile.points])
    if not pa.types.is_integer(kind):
        low, high = (_number(kind, str(bound / 10**profile.scale)) for bound in (low, high))
    impossible = {
        "=": value < low or value > high,
        "<": value <= low,
        "<=": value < low,
        ">": value >= high,
        ">=": value > high,
        "!=": False,
    }
    if impossible[clause.op]:
        raise ConditionError(
            f"{clause}: generated values of {clause.column!r} lie between {_short(low)} and {_short(high)}",
            field=FIELD,
        )


def _short(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _compare(array: pa.Array, clause: Clause, form: Form | None) -> pa.Array:
    """Booleans (N,), null where the array is null."""
    if clause.op == "in":
        parts = [_compare(array, member, form) for member in clause.members]
        return functools.reduce(pc.or_, parts)
    kind = array.type
    operand = _operand(kind, clause, form)
    if is_text(kind):
        array = pc.utf8_trim_whitespace(array)
    elif pa.types.is_decimal(kind):
        # Arrow's cast to floats is off by a bit in a third of them; one division is not.
        array = pa.array(to_int64(array) / 10**kind.scale, mask=~valid_rows(array))
    elif isinstance(operand, float):
        array = array.cast(pa.float64(), safe=False)
    elif pa.types.is_uint64(kind):
        operand = pa.scalar(operand, kind)
    elif is_temporal(kind):
        array = array.cast(operand.type, safe=False)
    return _COMPARE[clause.op][0](array, operand)


def _operand(kind: pa.DataType, clause: Clause, form: Form | None) -> Any:
    """The value in the column's terms: text, bool, int, float or an Arrow time scalar. It may be written in
    the
    column's form: `$1,000` and 1000 are alike."""
    text = clause.value
    try:
        written = form.parse(pa.array([text]))[0] if form is not None else None
        if written is not None and written.is_valid:
            return written if is_temporal(kind) else written.as_py()
        if is_text(kind):
            return text
        if pa.types.is_boolean(kind):
            return _WORDS[text.lower()]
        if is_temporal(kind):
            return _time(kind, text)
        number = _number(kind, text)
        # Nothing equals NaN, and no row would ever be accepted.
        if math.isnan(number):
            raise ValueError(text)
        return number
    except (ValueError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConditionError(
            f"{clause}: {text!r} is no {_noun(kind)}, which {clause.column!r} contains", field=FIELD
        ) from None


def _number(kind: pa.DataType, text: str) -> int | float:
    """What the text of an operand or of a level stands for in a column: an integer that its 64 bits hold, or
    a float of its width."""
    if pa.types.is_integer(kind) and text.lstrip("+-").isdigit():
        low, high = (0, 2**64) if pa.types.is_uint64(kind) else (-(2**63), 2**63)
        return int(text) if low <= int(text) < high else float(text)
    return float(narrowed(float(text), kind) if pa.types.is_floating(kind) else text)


def _time(kind: pa.DataType, text: str) -> pa.Scalar:
    if pa.types.is_time(kind):
        return from_words(pa.array([text]), pa.time64("ns"))[0]
    if pa.types.is_duration(kind):
        return from_words(pa.array([text]), kind)[0]
    zone = getattr(kind, "tz", None)
    # Microseconds reach from year 1 to 9999, nanoseconds from 1678 to 2261: only where they are written.
    unit = "ns" if getattr(kind, "unit", "") == "ns" and re.search(r"\.\d{7}", text) else "us"
    try:
        return pa.scalar(text).cast(pa.timestamp(unit, zone))
    except pa.ArrowInvalid:
        if zone is None:
            raise
        # Arrow reads no time without a zone into a column that has one: it is taken as UTC.
        return (
            pa.scalar(text)
            .cast(pa.timestamp(unit))
            .cast(pa.timestamp(unit, "UTC"))
            .cast(pa.timestamp(unit, zone))
        )


def _noun(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_time(kind):
        return "time of day (write 08:30 or 08:30:15.5)"
    if pa.types.is_duration(kind):
        return f"whole number of {kind.unit}"
    return "date or time (write 2024-01-31 or 2024-01-31T12:00:00)" if is_temporal(kind) else "number"
