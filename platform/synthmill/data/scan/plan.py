"""How the columns of a source are read, decided on some of its rows and applied to all: what
`data.cells` and `data.conform` find in the sample, cell by cell, and which cells of other rows do not fit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data import cells
from synthmill.data.columns import Bool, Int64, flat, is_text, plain_table, to_int64, valid_rows
from synthmill.data.conform import Conformed, as_stated, conform, stated
from synthmill.data.files import type_cells
from synthmill.data.formats.base import Parsed
from synthmill.data.forms._missing import is_missing_word
from synthmill.data.forms.base import to_bool
from synthmill.data.recognise import Reading
from synthmill.data.schema import ColumnRule, Rules, text_columns
from synthmill.data.written import form_of

_DECIMAL_DIGITS = 18
_USUAL_NUMBER = r"^-?(?:0|[1-9]\d*)(?:\.\d+)?$"


@dataclass(frozen=True)
class ColumnPlan:
    """How one column is read."""

    name: str
    field: pa.Field
    """As it is learnt."""
    cell_type: pa.DataType
    """Of text cells, once typed; of other columns, their own."""
    is_cell: bool
    is_known: bool
    """Whether the rows that decided had a value."""
    reading: Reading
    is_read: bool
    """Whether the values become others once their type is known."""
    rule: ColumnRule
    trim: bool
    null_values: tuple[str, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """What the typed values follow from: equal for plans that read alike."""
        parser = None if self.reading.parser is None else _without_shares(self.reading.parser.to_json())
        form = form_of(self.field)
        return (
            *(self.name, self.field.type, self.cell_type, self.is_cell, self.is_known, self.is_read),
            json.dumps(parser, sort_keys=True),
            json.dumps(None if form is None else _without_shares(form.to_json()), sort_keys=True),
        )

    def apply(self, column: pa.ChunkedArray) -> tuple[pa.Array, Bool | None]:
        """The column of a block as it is learnt, text dictionary-encoded, and the cells that do not fit,
        which are null; None: all fit."""
        if not self._reads_texts(column.type):
            array = flat(column)
            values, odd = self._of_values(array)
            if not self.is_known and (found := _says_something(array, ())).any():
                odd = found
            return values, odd
        coded = _encoded(column)
        texts = coded.dictionary.cast(pa.string())
        values, odd = self._of_texts(texts)
        at = coded.indices
        rows = None
        if odd.any():
            rows = to_bool(pa.array(odd).take(at))
            rows = rows if rows.any() else None
        if is_text(values.type):
            return pa.DictionaryArray.from_arrays(*_without_null(at, values)), rows
        return values.take(at), rows

    def _reads_texts(self, kind: pa.DataType) -> bool:
        return is_text(kind) or (pa.types.is_dictionary(kind) and is_text(kind.value_type))

    def _of_texts(self, texts: pa.Array) -> tuple[pa.Array, Bool]:
        """Typed values of different texts (N,), and those that do not fit."""
        odd = np.zeros(len(texts), dtype=bool)
        if self.is_cell:
            nulls = pa.array(sorted(set(self.null_values)), pa.string())
            texts = flat(cells.clean(pa.chunked_array([texts]), self.trim, nulls))
            if not is_text(self.cell_type):
                texts, odd = typed_cells(texts, self.cell_type, keep_offsets=True)
        if not self.is_known:
            odd = odd | _says_something(texts, self.null_values)
        if not self.is_read:
            return texts, odd
        if not is_text(texts.type):
            values, more = self._of_values(texts)
            return values, odd if more is None else odd | more
        values, more = self._read(texts)
        return values, odd | more

    def _read(self, texts: pa.Array) -> tuple[pa.Array, Bool]:
        """Texts as the forms, or the plain type, of the column have them."""
        if self.rule.kind == "boolean":
            found = _one_by_one(texts, self.rule, self.field.type)
            return found, to_bool(texts.is_valid()) & ~to_bool(found.is_valid()) & ~is_missing_word(texts)
        known = pc.is_in(texts, value_set=pa.array(self.null_values, pa.string()))
        missing = is_missing_word(texts) | to_bool(known)
        rest = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), texts)
        if is_text(self.field.type):
            return rest, np.zeros(len(texts), dtype=bool)
        if self.reading.parser is not None:
            values = self.reading.parser.parse(rest)
            odd = to_bool(rest.is_valid()) & ~to_bool(values.is_valid())
        else:
            values, odd = typed_cells(rest, self.reading.read_type or self.field.type, keep_offsets=False)
        values = as_stated(values, self.rule)
        return values if values.type == self.field.type else values.cast(self.field.type), odd

    def _of_values(self, array: pa.Array) -> tuple[pa.Array, Bool | None]:
        """Values of a type that the source states, (N,)."""
        valid = valid_rows(array)
        if pa.types.is_decimal(array.type) and array.type.precision > _DECIMAL_DIGITS:
            try:
                to_int64(array)
            except OverflowError:
                least = pa.scalar(10 ** (_DECIMAL_DIGITS - array.type.scale), array.type)
                odd = to_bool(pc.greater_equal(pc.abs(array), least))
                return pc.if_else(pa.array(odd), pa.scalar(None, array.type), array), odd
        if not self.is_read:
            return array, None
        parser = self.reading.parser
        if parser is not None:
            coded = array.dictionary_encode()
            values = parser.parse(coded.dictionary.cast(pa.string())).take(coded.indices)
        else:
            try:
                values = flat(stated(pa.chunked_array([array]), self.rule))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
                values = _one_by_one(array, self.rule, self.field.type)
        values = values if values.type == self.field.type else values.cast(self.field.type)
        odd = valid & ~valid_rows(values)
        return values, odd if odd.any() else None


@dataclass(frozen=True)
class Plan:
    """How a source is read."""

    columns: tuple[ColumnPlan, ...]
    conformed: Conformed
    """The rows that decided, typed."""

    @property
    def schema(self) -> pa.Schema:
        """As the typed table would have it, without what the files say beyond plain types."""
        return pa.schema([column.field for column in self.columns])

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for plans that read alike."""
        return tuple(column.key for column in self.columns)


def make_plan(
    table: pa.Table, cell_names: frozenset[str], config: DataConfig, rules: Rules, rows: Int64 | None
) -> Plan:
    """The plan that rows of a source (N,), as written, lead to; `rows` are their numbers.

    Raises:
        DataError: a rule for an unknown column, or every column dropped.
    """
    table = plain_table(table)
    typed = type_cells(
        Parsed(table=table, cells=cell_names & set(table.column_names)),
        config,
        keep_text=text_columns(rules),
    )
    made = conform(plain_table(typed), rules, config.null_values, rows)
    columns = []
    for field in made.table.schema:
        reading = made.readings[field.name]
        columns.append(
            ColumnPlan(
                name=field.name,
                field=field,
                cell_type=typed.schema.field(field.name).type,
                is_cell=field.name in cell_names,
                is_known=_says_anything(flat(made.table[field.name]), config.null_values),
                reading=reading,
                is_read=field.name not in made.unread,
                rule=rules.get(field.name, ColumnRule()),
                trim=config.trim,
                null_values=config.null_values,
            )
        )
    return Plan(tuple(columns), made)


def typed_cells(texts: pa.Array, kind: pa.DataType, *, keep_offsets: bool) -> tuple[pa.Array, Bool]:
    """Texts (N,) in a plain type, null where they are not written in it, and which those are."""
    none = np.zeros(len(texts), dtype=bool)
    if (quick := _quickly_typed(texts, kind)) is not None:
        return quick, none
    found = flat(cells.plain_typed(pa.chunked_array([texts]), keep_offsets=keep_offsets))
    if found.type == kind or found.null_count == len(found):
        return (found if found.type == kind else pa.nulls(len(texts), kind)), none
    if _widens(found.type, kind):
        return (texts if pa.types.is_floating(kind) else found).cast(kind), none
    # One by one: rows that do not fit are few, and stop the job or change the plan.
    values = pa.array([_typed_cell(text, kind, keep_offsets) for text in texts.to_pylist()], kind)
    return values, to_bool(texts.is_valid()) & ~to_bool(values.is_valid())


def _quickly_typed(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Numbers that are all written in the usual way, which one look tells; None: look closer."""
    try:
        if kind == pa.int64():
            found = texts.cast(kind)
            # What is written back alike has no leading zero and no plus.
            return found if found.cast(pa.string()).equals(texts) else None
        if kind == pa.float64() and pc.all(pc.match_substring_regex(texts, _USUAL_NUMBER)).as_py():
            return texts.cast(kind)
    except pa.ArrowInvalid:
        return None
    return None


def _typed_cell(text: str | None, kind: pa.DataType, keep_offsets: bool) -> Any:
    if text is None:
        return None
    found = flat(cells.plain_typed(pa.chunked_array([pa.array([text])]), keep_offsets=keep_offsets))
    if found.type == kind:
        return found[0].as_py()
    if pa.types.is_floating(kind) and cells.plain_mask(pa.array([text]), "number")[0]:
        return float(text)
    return found.cast(kind)[0].as_py() if _widens(found.type, kind) else None


def _widens(found: pa.DataType, kind: pa.DataType) -> bool:
    """Whether some cells have a type that a column of another type has room for."""
    if pa.types.is_floating(kind):
        return bool(pa.types.is_integer(found))
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(found):
        units = ("ms", "us", "ns")
        return found.tz == kind.tz and units.index(found.unit) <= units.index(kind.unit)
    return False


def _one_by_one(array: pa.Array, rule: ColumnRule, kind: pa.DataType) -> pa.Array:
    coded = array.dictionary_encode()
    values = []
    for at in range(len(coded.dictionary)):
        try:
            values.append(flat(stated(pa.chunked_array([coded.dictionary.slice(at, 1)]), rule))[0].as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            values.append(None)
    return pa.array(values, kind).take(coded.indices)


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()


def _without_null(indices: pa.Array, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The same dictionary with nulls among the indices instead of the values."""
    if values.null_count == 0:
        return indices, values
    place = np.cumsum(to_bool(values.is_valid())) - 1
    new = pa.array(place, pa.int32(), mask=to_bool(values.is_null())).take(indices)
    return new, values.drop_null()


def _says_something(array: pa.Array, null_values: tuple[str, ...]) -> Bool:
    """Which values (N,) a type can be told by: none that is missing, or stands for that."""
    if pa.types.is_floating(array.type):
        return to_bool(pc.is_finite(array))
    valid = valid_rows(array)
    if is_text(array.type):
        known = pc.is_in(array, value_set=pa.array(null_values, pa.string()).cast(array.type))
        return valid & ~is_missing_word(array.cast(pa.string())) & ~to_bool(known)
    return valid


def _says_anything(array: pa.Array, null_values: tuple[str, ...]) -> bool:
    # The first thousand nearly always tell.
    return any(_says_something(part, null_values).any() for part in (array[:1_000], array))


def _without_shares(form: Mapping[str, Any]) -> dict[str, Any]:
    """What reading depends on: how often each of several forms is written does not change it."""
    return {key: value for key, value in form.items() if key != "shares"}
