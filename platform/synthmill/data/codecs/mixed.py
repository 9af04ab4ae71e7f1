"""The `mixed` encoding of a table: fitted on training rows, it maps a table to codes and positions, and
samples back to a table."""

import base64
import functools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.config import DataConfig
from synthmill.data.batch import Batch, Condition
from synthmill.data.by_column import (
    ColumnCodec,
    Slot,
    columns_of,
    layout_of,
    places_of_columns,
    slots_of,
)
from synthmill.data.categorical import CategoryCodec
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import Int64, Rows, UInt64, flat, is_text, plain_type
from synthmill.data.fixed import ConstantCodec, IdentifierCodec
from synthmill.data.inspection import Inspection, inspect_profile
from synthmill.data.layout import MixedLayout
from synthmill.data.noise import noise_of
from synthmill.data.notes import check_target, notes_of, target_notes
from synthmill.data.numeric import NumericCodec
from synthmill.data.origin import Form, origin_of
from synthmill.data.people import NEIGHBOURS, people_of
from synthmill.data.places import Places
from synthmill.data.profile import ColumnProfile, TableProfile, profile_table
from synthmill.data.records import Columns
from synthmill.data.scan.counted import (
    check_counted_target,
    counted_notes,
    counted_target_notes,
    fit_counted,
)
from synthmill.data.scan.counts import Counts
from synthmill.data.schema import NO_RULES, Rules
from synthmill.data.summary import summarise
from synthmill.data.views import View, from_view, to_view, view_of, viewed_type
from synthmill.data.written import form_of, forms_of, read_texts, write_texts, written_schema
from synthmill.errors import DataError, IntegrityError

FORMAT = "synthmill.codec.tabular/1"
ID_CHUNK_ROWS = 1 << 20


class MixedCodec(Codec):
    """A fitted codec of one table."""

    layout: MixedLayout
    profile: TableProfile
    format: ClassVar[str] = FORMAT

    def __init__(
        self,
        profile: TableProfile,
        columns: list[ColumnCodec],
        *,
        typed_schema: pa.Schema | None = None,
        views: Mapping[str, View] | None = None,
        notes: tuple[str, ...] = (),
        form: dict[str, Any] | None = None,
    ) -> None:
        self.profile = profile
        self.views = dict(views or {})
        self.notes = notes
        self._typed_schema = typed_schema or pa.schema(
            [pa.field(column.profile.name, column.kind) for column in columns]
        )
        self.schema = written_schema(self._typed_schema)
        self._columns = columns
        self._form = Form(self.schema) if form is None else Form.from_json(form)
        self.layout = layout_of(columns, profile.rows)
        self._slots = slots_of(columns, self.layout)
        self._identifiers = {
            column.profile.name: column for column in columns if isinstance(column, IdentifierCodec)
        }

    @classmethod
    def fit(
        cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES, people: Int64 | None = None
    ) -> Self:
        """Fit on training rows; `people` (N,) are whose they are, None: as `data.split.group` says.

        Raises:
            DataError: fewer than 5 rows, free text, no category frequent enough, or nothing but constants and
            identifiers.
        """
        _check_rows(train.num_rows)
        people = people_of(train, config.split.group) if people is None else people
        found = {name: view_of(flat(train[name])) for name in train.column_names}
        views = {name: view for name, view in found.items() if view is not None}
        arrays = {name: to_view(flat(train[name]), views.get(name)) for name in train.column_names}
        check_target(arrays, config, people)
        profile = profile_table(pa.table(arrays), rules, config, cls.resolution, people)
        columns = [
            _CODECS[column.kind].fit(column, arrays[column.name], people, cls.resolution)
            for column in profile.columns
        ]
        notes = notes_of(profile, arrays, rules)
        notes += target_notes(arrays, config, people)
        return cls._of(train.schema, profile, columns, views, notes)

    @classmethod
    def fit_scanned(cls, sample: pa.Table, counts: Counts, config: DataConfig, rules: Rules) -> Self:
        """As `fit`: kinds, categories, points, bounds and shares follow from all training rows, the curves
        between points from the sample."""
        _check_rows(counts.rows)
        facts = counts.facts(sample)
        check_counted_target(facts, sample.schema, config)
        profile = counts.profile(sample, facts)
        people = counts.people_in(sample)
        views = counts.views
        columns: list[ColumnCodec] = []
        for column in profile.columns:
            array = to_view(flat(sample[column.name]), views.get(column.name))
            found, codec = facts.get(column.name), _CODECS[column.kind]
            columns.append(fit_counted(column, array, people, found, codec, cls.resolution))
        notes = counted_notes(profile, facts, rules)
        notes += counted_target_notes(facts, sample.schema, config)
        return cls._of(sample.schema, profile, columns, views, notes)

    @classmethod
    def _of(
        cls,
        schema: pa.Schema,
        profile: TableProfile,
        columns: list[ColumnCodec],
        views: Mapping[str, View],
        notes: tuple[str, ...],
    ) -> Self:
        if not any(column.spans for column in columns):
            raise DataError(
                "every column is constant or an identifier; there is nothing to learn", field="data.source"
            )
        fields = [pa.field(field.name, plain_type(field.type), metadata=field.metadata) for field in schema]
        codec = cls(profile, columns, typed_schema=pa.schema(fields), views=views, notes=notes)
        codec._form = Form.of_codec(codec.schema, origin_of(schema), codec.written)
        return codec

    @property
    def typed_schema(self) -> pa.Schema:
        return self._typed_schema

    @property
    def form(self) -> Form:
        """As the source's columns were: categories, index, extension types."""
        return self._form

    def written(self, name: str) -> list[str] | None:
        """The texts that the column can hold; None for numbers on a curve, times, text in a form and
        identifiers that are made anew."""
        column = next(column for column in self._columns if column.profile.name == name)
        template = column.profile.template
        is_new = isinstance(column, IdentifierCodec) and (template is None or template.style != "uuid")
        return None if is_new or form_of(self._typed_schema.field(name)) else column.levels()

    def record_layout(self) -> MixedLayout:
        return self.layout

    def encode(self, table: pa.Table) -> Batch:
        """`codes` int64 (N, discrete spans) and `values` float32 (N, numeric spans) of a table with the
        codec's columns."""
        rows = table.num_rows
        # Filled column by column: stacking them would hold all rows twice.
        code_ND = np.empty((rows, len(self.layout.discrete)), np.int64)
        value_NC = np.empty((rows, len(self.layout.numeric)), np.float32)
        for column, slot in zip(self._columns, self._slots, strict=True):
            column_codes, positions = column.encode(self._as_learnt(table, column))
            for span, codes in zip(range(slot.codes.start, slot.codes.stop), column_codes, strict=False):
                code_ND[:, span] = codes
            if slot.value is not None:
                value_NC[:, slot.value] = positions
        return Batch(codes=torch.from_numpy(code_ND), values=torch.from_numpy(value_NC))

    def encode_column(self, name: str, array: pa.Array) -> list[Int64]:
        """The codes of one column's cells, int64 (N,) for each of its spans, of which a constant has none."""
        column = next(column for column in self._columns if column.profile.name == name)
        return column.encode(self._as_learnt(pa.table({name: array}), column))[0][: len(column.spans)]

    def places(self, sample: pa.Table) -> dict[int, Places]:
        return places_of_columns(self._slotted(sample))

    def columns(self, table: pa.Table, placed: Collection[int] = ()) -> Columns:
        return columns_of(table.num_rows, self._slotted(table), placed)

    def _slotted(self, table: pa.Table) -> Iterator[tuple[ColumnCodec, Slot, pa.Array]]:
        """The columns that have codes, where these stand, and their cells."""
        for column, slot in zip(self._columns, self._slots, strict=True):
            if slot.codes.start < slot.codes.stop:
                yield column, slot, self._as_learnt(table, column)

    def _as_learnt(self, table: pa.Table, column: ColumnCodec) -> pa.Array:
        """A column of a table in the type that its codec was fitted on; categories may stay a dictionary."""
        name = column.profile.name
        array, kind = table[name], self.typed_schema.field(name).type
        if isinstance(column, CategoryCodec) and array.num_chunks == 1:
            texts = pa.types.is_dictionary(array.type) and is_text(array.type.value_type)
            if texts and is_text(kind):
                return array.chunk(0)
        array = flat(array)
        return to_view(array if array.type == kind else array.cast(kind), self.views.get(name))

    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        """Rows of the source's columns, order and types, written as it writes them; `first_row` is the global
        number of the first, from which identifiers are made. All other cells follow from the row's own codes,
        values and noise."""
        numbers = np.arange(first_row, first_row + batch.num_rows, dtype=np.uint64)
        table, rows = self.decode_numbered(batch, numbers)
        if not forms_of(self.typed_schema):
            return table
        return write_texts(table, rows.noise(np.arange(batch.num_rows)))

    def condition_table(self, batch: Batch) -> pa.Table:
        """The rows as `typed_schema` says: numbers and dates that can be compared, whatever their form."""
        return self.decode_numbered(batch, np.arange(batch.num_rows, dtype=np.uint64))[0]

    def read(self, table: pa.Table) -> pa.Table:
        """Typed columns of rows that are written as `schema` says."""
        return read_texts(table, self.typed_schema)

    def decode_numbered(self, batch: Batch, numbers: UInt64) -> tuple[pa.Table, Rows]:
        """Rows as `typed_schema` says; identifiers are made of `numbers` (N,)."""
        codes, values = batch["codes"].cpu().numpy(), batch["values"].cpu().numpy()
        assert codes.shape[1] == len(self.layout.discrete), (
            f"{codes.shape} codes for {len(self.layout.discrete)} spans"
        )
        assert values.shape[1] == len(self.layout.numeric), (
            f"{values.shape} values for {len(self.layout.numeric)} spans"
        )
        rows = Rows(numbers, noise_of(batch, codes, values))
        arrays = []
        for column, slot in zip(self._columns, self._slots, strict=True):
            name = column.profile.name
            array = column.decode(
                codes[:, slot.codes], None if slot.value is None else values[:, slot.value], rows
            )
            arrays.append(from_view(array, self.views.get(name), self.typed_schema.field(name).type))
        return pa.table(arrays, schema=self.typed_schema), rows

    def beside(self, real: pa.Table) -> Self:
        return self.beside_all(lambda name: [flat(real[name])])

    def beside_all(self, identifiers: Callable[[str], Iterable[pa.Array]]) -> Self:
        if not self._identifiers:
            return self
        columns: list[ColumnCodec] = []
        for column in self._columns:
            name = column.profile.name
            if isinstance(column, IdentifierCodec):
                view = self.views.get(name)
                parts = functools.partial(_viewed, functools.partial(identifiers, name), view)
                column = column.beside(parts)
            columns.append(column)
        profile = self.profile.model_copy(update={"columns": tuple(column.profile for column in columns)})
        codec = type(self)(
            profile, columns, typed_schema=self.typed_schema, views=self.views, notes=self.notes
        )
        codec._form = self._form
        return codec

    def first_free_id(self, real: pa.Table, rows: int) -> int:
        """The row number from which `rows` identifiers in a row are none of those in `real`: 0, or a power of
        ten, or one in the widest gap between integers.

        Raises:
            DataError: the column's type has no room for so many beside the real ones.
        """
        taken = {
            name: pc.unique(to_view(flat(real[name]), self.views.get(name))).drop_null()
            for name in self._identifiers
        }
        starts = (
            [0, *(10**power for power in range(len(str(max(rows, real.num_rows))), 16))] if taken else [0]
        )
        starts += [codec.widest_gap(taken[name]) for name, codec in self._identifiers.items()]
        free = [
            start
            for start in starts
            if start + rows <= min((room for _, room in self.id_rooms()), default=start + rows)
        ]
        found = next((start for start in free if not self._ids_in(taken, start, rows)), None)
        if found is None:
            names, fix = (
                ", ".join(map(repr, taken)),
                "ask for fewer rows, give the column a wider type in the source, or drop it",
            )
            raise DataError(
                f"no {rows:,} identifiers in a row are free beside the real {names}; {fix} in a schema file",
                field="--rows",
            )
        return found

    def id_rooms(self) -> list[tuple[str, int]]:
        """For each column of identifiers, how many its type has room for; column names first."""
        return [(name, codec.room) for name, codec in self._identifiers.items()]

    def _ids_in(self, taken: dict[str, pa.Array], start: int, rows: int) -> bool:
        """Whether one of the identifiers of the rows `start .. start + rows` is among those taken, by
        column."""
        no_codes = np.zeros((0, 0), np.int64)
        for name, codec in self._identifiers.items():
            for first in range(start, start + rows, ID_CHUNK_ROWS):
                numbers = np.arange(first, min(first + ID_CHUNK_ROWS, start + rows), dtype=np.uint64)
                made = codec.decode(no_codes, None, Rows(numbers, lambda index: index.astype(np.uint64)))
                if pc.any(pc.is_in(made, value_set=taken[name])).as_py():
                    return True
        return False

    def condition(self, column: str, value: str) -> Condition | None:
        found = self.code_of(column, value)
        return None if found is None else Condition(codes=dict([found]))

    def column_info(self, column: str) -> ColumnProfile | None:
        """Bounds and points are in the column's own numbers."""
        info = self.profile.column(column)
        if self.views.get(column) != "unsigned" or info.minimum is None or info.maximum is None:
            return info
        middle = 1 << 63
        return info.model_copy(
            update={
                "minimum": info.minimum + middle,
                "maximum": info.maximum + middle,
                "points": tuple(point + middle for point in info.points),
            }
        )

    def inspect(self, source: str) -> Inspection:
        return inspect_profile(self.profile, self.typed_schema, self.views, source, self.notes)

    def summary(self, train: pa.Table, group: str | None) -> dict[str, Any] | None:
        return summarise(train, self.profile, people_of(train, group))

    def summary_counted(self, sample: pa.Table, counts: Counts) -> dict[str, Any] | None:
        return counts.summary(sample, self.profile, counts.facts(sample))

    def code_of(self, column: str, value: str) -> tuple[int, int] | None:
        """(discrete span index, code) that exactly the rows with `column` = `value` have; None if there is no
        such single code."""
        at = 0
        for codec in self._columns:
            if codec.profile.name == column:
                code = codec.code_of(value) if len(codec.spans) == 1 else None
                return None if code is None else (at, code)
            at += len(codec.spans)
        return None

    def levels(self, column: str) -> list[str] | None:
        """The values of a column that has a code for each, as text; None for a curve, dates, identifiers, or
        an unknown column."""
        return next((codec.levels() for codec in self._columns if codec.profile.name == column), None)

    def count_levels(self, column: str, array: pa.Array) -> list[int]:
        """How often each of `levels(column)` stands in the column of a source."""
        return next(codec.count_levels(array) for codec in self._columns if codec.profile.name == column)

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Plain JSON data and named tensors; no training row is in either."""
        config = {
            "format": self.format,
            "profile": self.profile.model_dump(mode="json"),
            "columns": [
                {**column.to_json(), **({"view": self.views[name]} if name in self.views else {})}
                for column, name in zip(self._columns, self.profile.names, strict=True)
            ],
            "arrow_schema": base64.b64encode(self.typed_schema.serialize().to_pybytes()).decode(),
        }
        if not self._form.is_plain(self.schema):
            config["form"] = self._form.to_json()
        tensors = {
            f"{i}.{key}": value
            for i, column in enumerate(self._columns)
            for key, value in column.tensors().items()
        }
        return config, tensors

    @classmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The codec that `to_files` wrote.

        Raises:
            IntegrityError: a format this version does not know.
        """
        if config.get("format") != cls.format:
            raise IntegrityError(
                f"codec.json has format {config.get('format')!r}; this version reads {cls.format!r}"
            )
        profile = TableProfile.model_validate_json(json.dumps(config["profile"]))
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(config["arrow_schema"])))
        columns = []
        for i, (column, field, own) in enumerate(
            zip(profile.columns, schema, config["columns"], strict=True)
        ):
            parts = {
                key.partition(".")[2]: value
                for key, value in tensors.items()
                if key.partition(".")[0] == str(i)
            }
            kind = viewed_type(field.type, own.get("view"))
            columns.append(_CODECS[column.kind].restore(column, kind, own, parts))
        views = {
            name: own["view"]
            for name, own in zip(profile.names, config["columns"], strict=True)
            if "view" in own
        }
        return cls(profile, columns, typed_schema=schema, views=views, form=config.get("form"))


def _check_rows(rows: int) -> None:
    if rows < NEIGHBOURS:
        fix = "give more, or lower the shares of validation and holdout"
        raise DataError(
            f"{rows} training rows are too few to learn from without copying one; {fix}", field="data.source"
        )


def _viewed(parts: Callable[[], Iterable[pa.Array]], view: View | None) -> Iterator[pa.Array]:
    return (to_view(flat(part), view) for part in parts())


_CODECS: dict[str, Any] = {
    "numeric": NumericCodec,
    "integer": NumericCodec,
    "boolean": NumericCodec,
    "datetime": NumericCodec,
    "date": NumericCodec,
    "categorical": CategoryCodec,
    "identifier": IdentifierCodec,
    "constant": ConstantCodec,
}
