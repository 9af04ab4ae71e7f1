"""What a source's schema says beyond plain types, kept from the file to the published dataset: categories
with their order and unused levels, the data frame's index, column roles, extension types, nullability,
metadata.

Models learn plain columns (`data.columns.plain_type`). The rest travels as metadata of the table's schema
until a codec is fitted, which keeps it as a `Form`: how decoded rows are written. A source that says nothing
more has the plain form, and its datasets the bytes that they always had.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import plain_column, plain_type

_KEY = b"synthmill.origin"
_LEVELS, _UNUSED = b"synthmill.levels", b"synthmill.unused"
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__$")
_PANDAS, _HUGGING_FACE = b"pandas", b"huggingface"

Levels = list[Any]


def joined(tables: Sequence[pa.Table]) -> pa.Schema:
    """The origin of a table made of these: the first one's schema, with the levels of all."""
    schema = tables[0].schema
    said = {}
    for position, one in enumerate(schema):
        if not pa.types.is_dictionary(one.type):
            continue
        columns = [table.column(position) for table in tables]
        levels = list(dict.fromkeys(level for column in columns for level in _declared(column)))
        found = {value for column in columns for value in pc.unique(plain_column(column)).to_pylist()}
        said[one.name] = levels, [level for level in levels if level not in found]
    return described(schema, said)


def described(schema: pa.Schema, known: Mapping[str, tuple[Levels, Levels]]) -> pa.Schema:
    """The schema, whose columns of categories say which levels are `known`, and which of them do not
    occur."""
    fields = []
    for one in schema:
        if not pa.types.is_dictionary(one.type):
            fields.append(one)
            continue
        levels, unused = known[one.name]
        try:
            said = {_LEVELS: json.dumps(levels).encode(), _UNUSED: json.dumps(unused).encode()}
        except TypeError:
            # Dates and the like as categories: their values suffice.
            fields.append(one.with_type(plain_type(one.type)))
            continue
        fields.append(one.with_metadata({**(one.metadata or {}), **said}))
    return pa.schema(fields, metadata=schema.metadata)


def numbered(schema: pa.Schema, column: str, names: Sequence[str], features: dict[str, Any]) -> pa.Schema:
    """The origin of a table whose column of names is published as their numbers, as Hugging Face's
    `ClassLabel` has it; `features` are those of the other columns."""
    levels = json.dumps(list(names)).encode()
    field = pa.field(column, pa.int64(), metadata={_LEVELS: levels, _UNUSED: levels})
    described = {"info": {"features": {**features, column: {"names": list(names), "_type": "ClassLabel"}}}}
    fields = [field if one.name == column else one for one in schema]
    return pa.schema(fields, metadata={_HUGGING_FACE: json.dumps(described).encode()})


def attach(table: pa.Table, origin: pa.Schema) -> pa.Table:
    """The table, with its origin where that says more than the plain types do."""
    if not _says_more(origin):
        return table.replace_schema_metadata(None)
    return table.replace_schema_metadata({_KEY: origin.serialize().to_pybytes()})


def origin_of(schema: pa.Schema) -> pa.Schema | None:
    """What `attach` put there."""
    said = (schema.metadata or {}).get(_KEY)
    return None if said is None else pa.ipc.read_schema(pa.py_buffer(said))


def without_index(table: pa.Table, name: str) -> tuple[pa.Table, tuple[str, ...]]:
    """The table without a data frame's index that has no name, and a note; an index with a name is a column
    like any other, and an index again when the dataset is read."""
    unnamed = [column for column in table.column_names if _UNNAMED_INDEX.match(column)]
    if not unnamed or (table.schema.metadata or {}).get(_PANDAS) is None:
        return table, ()
    note = f"{name}: the data frame's index has no name and is left out; reset_index() makes it a column"
    return table.drop_columns(unnamed), (note,)


@dataclass(frozen=True)
class Form:
    """How decoded rows are written."""

    schema: pa.Schema
    levels: dict[str, Levels] = field(default_factory=dict)
    """Of columns that are written as dictionaries, in order."""
    is_described: bool = False
    """Whether the schema's metadata is that of a source, for its columns alone."""

    @classmethod
    def of_codec(
        cls, plain: pa.Schema, origin: pa.Schema | None, learnt: Callable[[str], list[str] | None]
    ) -> "Form":
        """The form of decoded columns. `learnt` gives the levels that a codec may write, as text; None: it
        has no list of them.

        Of the source's levels those stay that are learnt, and those that no row had: a level of a few rows,
        which the codec folds, must not come back as a name in the schema.
        """
        if origin is None:
            return cls(plain)
        fields, levels = [], {}
        for one in plain:
            said = origin.field(one.name) if one.name in origin.names else one
            metadata = {
                key: value for key, value in (said.metadata or {}).items() if key not in (_LEVELS, _UNUSED)
            }
            kind = one.type
            if _is_numbered(said):
                levels[one.name], kind = json.loads(metadata_of(said)[_LEVELS]), said.type
            elif plain_type(said.type) != one.type:
                # A schema file made another type of it.
                pass
            elif pa.types.is_dictionary(said.type):
                kept = _kept(said, learnt(one.name))
                if kept is not None:
                    levels[one.name], kind = kept, _dictionary(said.type, one.type, len(kept))
            elif isinstance(said.type, pa.BaseExtensionType):
                kind = said.type
            fields.append(pa.field(one.name, kind, nullable=said.nullable, metadata=metadata or None))
        return cls(_described(fields, origin.metadata or {}, levels), levels, is_described=True)

    def is_plain(self, schema: pa.Schema) -> bool:
        """Whether it says no more than the decoded columns do."""
        return bool(self.schema.equals(schema, check_metadata=True))

    def select(self, names: Sequence[str]) -> "Form":
        """The form of some of the columns."""
        fields = [self.schema.field(name) for name in names]
        if not self.is_described:
            return Form(pa.schema(fields, metadata=self.schema.metadata))
        levels = {name: self.levels[name] for name in names if name in self.levels}
        return Form(_described(fields, self.schema.metadata or {}, levels), levels, is_described=True)

    def write(self, table: pa.Table) -> pa.Table:
        """Decoded rows (N, columns of the form) as they are published."""
        columns = [_as_written(table[one.name], one.type, self.levels.get(one.name)) for one in self.schema]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def read(self, table: pa.Table) -> pa.Table:
        """Published rows as they were decoded: the inverse of `write`, of any of the columns."""
        columns = []
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name in self.levels and pa.types.is_integer(column.type):
                # A number that names none is missing, as Hugging Face's -1 is.
                known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(self.levels[name])))
                numbers = pc.if_else(known, column, pa.scalar(None, column.type)).cast(pa.int64())
                column = pa.chunked_array([pa.array(self.levels[name]).take(numbers.combine_chunks())])
            columns.append(plain_column(column))
        return pa.table(columns, names=table.column_names)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "arrow_schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "levels": self.levels,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Form":
        """What `to_json` gave."""
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(data["arrow_schema"])))
        return cls(schema, dict(data["levels"]), is_described=True)


def _declared(column: pa.ChunkedArray) -> Levels:
    """The levels of a column's dictionaries, or its values where it has none."""
    if not pa.types.is_dictionary(column.type):
        return [value for value in pc.unique(column).to_pylist() if value is not None]
    return [level for chunk in column.chunks for level in chunk.dictionary.to_pylist() if level is not None]


def _says_more(origin: pa.Schema) -> bool:
    metadata = origin.metadata or {}
    return bool(_PANDAS in metadata or _HUGGING_FACE in metadata) or any(
        pa.types.is_dictionary(one.type)
        or isinstance(one.type, pa.BaseExtensionType)
        or not one.nullable
        or one.metadata
        for one in origin
    )


def metadata_of(said: pa.Field) -> dict[bytes, bytes]:
    """Of a field; empty where it has none."""
    return dict(said.metadata or {})


def _is_numbered(said: pa.Field) -> bool:
    return pa.types.is_integer(said.type) and _LEVELS in metadata_of(said)


def _kept(said: pa.Field, learnt: list[str] | None) -> Levels | None:
    if learnt is None:
        return None
    declared, unused = json.loads(said.metadata[_LEVELS]), set(json.loads(said.metadata[_UNUSED]))
    known = set(learnt)
    return [level for level in declared if str(level) in known or level in unused]


def _dictionary(said: pa.DataType, value: pa.DataType, count: int) -> pa.DataType:
    """The source's type of dictionary, wide enough for what may come."""
    index = said.index_type if count < 2 ** (said.index_type.bit_width - 1) else pa.int32()
    return pa.dictionary(index, value, said.ordered)


def _as_written(column: pa.ChunkedArray, kind: pa.DataType, levels: Levels | None) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if pa.types.is_dictionary(kind):
        return pa.chunked_array([_coded(column.combine_chunks(), kind, levels or [])], kind)
    if levels is not None and pa.types.is_integer(kind):
        numbers = pc.index_in(column.combine_chunks(), value_set=pa.array(levels, column.type))
        return pa.chunked_array([numbers.cast(kind)], kind)
    if isinstance(kind, pa.BaseExtensionType):
        storage = from_plain(column.combine_chunks(), kind)
        return pa.chunked_array([pa.ExtensionArray.from_storage(kind, storage)], kind)
    return column.cast(kind)


def _coded(array: pa.Array, kind: pa.DataType, levels: Levels) -> pa.Array:
    plain = array.cast(kind.value_type)
    dictionary = pa.array(levels, kind.value_type)
    # Real rows that are mixed in may have levels that the model did not learn.
    other = pc.unique(plain).drop_null()
    other = other.filter(pc.invert(pc.is_in(other, value_set=dictionary)))
    dictionary = pa.concat_arrays([dictionary, other])
    codes = pc.index_in(plain, value_set=dictionary).cast(kind.index_type)
    return pa.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)


def from_plain(array: pa.Array, kind: pa.BaseExtensionType) -> pa.Array:
    """Storage of an extension type from values of its plain type (`data.columns.plain_type`)."""
    if kind.extension_name == "arrow.uuid":
        texts = array.to_pylist()
        return pa.array(
            [None if text is None else bytes.fromhex(text.replace("-", "")) for text in texts],
            kind.storage_type,
        )
    return array.cast(kind.storage_type)


def _described(fields: list[pa.Field], metadata: dict[bytes, bytes], levels: dict[str, Levels]) -> pa.Schema:
    """The fields with the metadata of data frames and Hugging Face for them alone."""
    names = [one.name for one in fields]
    kept = {}
    if _PANDAS in metadata:
        kept[_PANDAS] = _pandas(json.loads(metadata[_PANDAS]), names, levels)
    if _HUGGING_FACE in metadata:
        kept[_HUGGING_FACE] = _hugging_face(json.loads(metadata[_HUGGING_FACE]), names)
    described = {key: json.dumps(value).encode() for key, value in kept.items()}
    return pa.schema(fields, metadata=described or None)


def _pandas(said: dict[str, Any], names: list[str], levels: dict[str, Levels]) -> dict[str, Any]:
    """Without columns that are not there, the row count of a range index, and `attrs`, which may say anything
    about the source."""
    columns = []
    for column in said.get("columns", []):
        name = column.get("field_name") or column.get("name")
        if name not in names:
            continue
        if name in levels and isinstance(column.get("metadata"), dict):
            column = {**column, "metadata": {**column["metadata"], "num_categories": len(levels[name])}}
        columns.append(column)
    index = [one for one in said.get("index_columns", []) if isinstance(one, str) and one in names]
    kept = {key: value for key, value in said.items() if key != "attributes"}
    return {**kept, "columns": columns, "index_columns": index}


def _hugging_face(said: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The features alone: descriptions, sizes and splits are those of the source."""
    features = (said.get("info") or {}).get("features") or {}
    return {"info": {"features": {name: features[name] for name in names if name in features}}}
