"""How a column is written travels with it: in the metadata of its Arrow field, from the reader to the codec,
and
with the codec's schema into the artifact.

    source's text --read_texts--> typed table, forms in its schema --write_texts--> text again
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64, flat, is_text
from synthmill.data.forms.base import Form, form_from_json

KEY = b"synthmill.form"


def with_form(field: pa.Field, form: Form, written: pa.DataType) -> pa.Field:
    """The typed field with the form, and the Arrow type, in which its values are written."""
    told = json.dumps({"written": str(written), **form.to_json()}, ensure_ascii=True)
    return field.with_metadata({**(field.metadata or {}), KEY: told.encode()})


def form_of(field: pa.Field) -> Form | None:
    """The form that a field carries; None where its values are written as they are."""
    told = (field.metadata or {}).get(KEY)
    if told is None:
        return None
    data: dict[str, Any] = json.loads(told)
    data.pop("written")
    return form_from_json(data)


def written_type(field: pa.Field) -> pa.DataType:
    """The type in which a field is written: its own, or that of its form's texts."""
    told = (field.metadata or {}).get(KEY)
    return field.type if told is None else pa.type_for_alias(json.loads(told)["written"])


def written_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `write_texts`."""
    fields = [
        pa.field(field.name, written_type(field), metadata=_rest(field.metadata))
        if KEY in (field.metadata or {})
        else field
        for field in schema
    ]
    return pa.schema(fields, metadata=schema.metadata)


def forms_of(schema: pa.Schema) -> dict[str, Form]:
    """The forms of the columns that have one."""
    found = {field.name: form_of(field) for field in schema}
    return {name: form for name, form in found.items() if form is not None}


def write_texts(table: pa.Table, noise: UInt64 | None = None) -> pa.Table:
    """The table with every column written as its source writes it; the same table where none has a form.

    `noise`, 64 bits a row, decides between several spellings of a column.
    """
    forms = forms_of(table.schema)
    if not forms:
        return table
    schema = written_schema(table.schema)
    columns = [
        forms[name].write(flat(table[name]), noise).cast(schema.field(name).type)
        if name in forms
        else table[name]
        for name in table.column_names
    ]
    return pa.table(columns, schema=schema)


def read_texts(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Columns that `schema` carries a form for, typed as it says; a text not in that form is missing.

    Columns that are typed already, and those that `schema` does not know, stay as they are.
    """
    forms: Mapping[str, Form] = forms_of(schema)
    columns, fields = [], []
    for field in table.schema:
        column = table[field.name]
        if field.name in forms and column.type == written_type(schema.field(field.name)):
            field = schema.field(field.name)
            coded = flat(column).cast(pa.string()).dictionary_encode()
            values = forms[field.name].parse(coded.dictionary).cast(field.type)
            column = values.take(coded.indices)
        columns.append(column)
        fields.append(field)
    return pa.table(columns, schema=pa.schema(fields, metadata=table.schema.metadata))


def is_form_kept(table: pa.Table, schema: pa.Schema) -> dict[str, int]:
    """For each column with a form, how many of its texts are not written in it."""
    odd = {}
    for name, form in forms_of(schema).items():
        if name in table.column_names and is_text(flat(table[name]).type):
            values = flat(table[name]).cast(pa.string()).drop_null()
            odd[name] = int(pc.sum(form.parse(values).is_null()).as_py() or 0)
    return odd


def _rest(metadata: Mapping[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    rest = {key: value for key, value in (metadata or {}).items() if key != KEY}
    return rest or None


def as_learnt(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the types that `schema` has for its columns: what a model of an earlier version learnt
    as text
    is text again."""
    columns, fields = [], []
    for field in table.schema:
        known = schema.field(field.name) if field.name in schema.names else field
        column, kind = table[field.name], flat(table[field.name]).type
        if kind != known.type:
            form = form_of(field)
            texts = form is not None and is_text(known.type)
            column = form.write(flat(column)) if form is not None and texts else flat(column).cast(known.type)
        columns.append(column)
        fields.append(pa.field(field.name, column.type, metadata=known.metadata))
    return pa.table(columns, schema=pa.schema(fields, metadata=table.schema.metadata))
