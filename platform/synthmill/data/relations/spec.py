"""What sampling needs to know of each table beside its model: columns, keys, relations. JSON, and no row."""

import base64
from typing import Literal

import pyarrow as pa
from pydantic import Field

from synthmill.config import FrozenModel
from synthmill.data.relations.context import ContextColumn
from synthmill.data.relations.graph import Role
from synthmill.data.relations.keys import KeyPart

FORMAT = "synthmill.families/1"
NAMED, NONE = "named", "none"
"""Cells of a column that says whether a row names a row of a further parent."""


class RelationSpec(FrozenModel):
    """A foreign key, and how its cells are found."""

    columns: tuple[str, ...]
    parent: str
    role: Role
    contexts: tuple[ContextColumn, ...] = ()
    """Columns of the parent (of tables above it too, for an owner) that the child's model has."""
    count: str = ""
    """The parent's column of how many children a row has."""
    most: int | None = None
    """The most children that a row can have, where the key says so."""
    flag: str | None = None
    """The child's column of whether a row names a parent; None: each does."""
    level: str | None = None
    """Of a relation to the table itself: the column of how many rows are above one."""
    within_owner: bool = False
    """Of a relation to the table itself: whether both rows have one owner."""
    itself: bool = False
    """Of a relation to the table itself: whether rows at the top name themselves instead of none."""


class TableSpec(FrozenModel):
    """One table."""

    name: str
    columns: tuple[str, ...]
    """As they are published."""
    key_schema: str
    """Base64 of the Arrow schema of the columns that are made: of the key and of foreign keys."""
    key: tuple[str, ...]
    parts: tuple[KeyPart, ...] = ()
    """Of the key's columns that no foreign key fills."""
    unique_parent: int | None = None
    """Place of the relation whose row comes once an owner, where foreign keys are all of the key."""
    relations: tuple[RelationSpec, ...] = ()
    own: tuple[str, ...] = ()
    """Columns that the model learns and that are published."""
    counts: tuple[str, ...] = ()
    """Columns of numbers of children, which are not."""
    rows: int = Field(ge=0)
    """Of the source."""
    free_rows: int = 0
    """Rows of the source that name no owner."""

    @property
    def owner(self) -> RelationSpec | None:
        return next((one for one in self.relations if one.role == "owner"), None)

    @property
    def schema_of_keys(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.key_schema)))


class FamiliesSpec(FrozenModel):
    """`tables.json`: all tables, parents first."""

    format: Literal["synthmill.families/1"] = "synthmill.families/1"
    tables: tuple[TableSpec, ...]

    def table(self, name: str) -> TableSpec:
        return next(one for one in self.tables if one.name == name)

    @property
    def roots(self) -> list[str]:
        """Tables whose rows hang on no other's."""
        return [one.name for one in self.tables if one.owner is None]

    def root_of(self, name: str) -> str:
        """The table at the top of a table's families."""
        owner = self.table(name).owner
        return name if owner is None else self.root_of(owner.parent)

    def family(self, root: str) -> list[TableSpec]:
        """The tables whose rows hang on one, itself first."""
        return [one for one in self.tables if self.root_of(one.name) == root]

    def chosen(self) -> list[str]:
        """Tables of which rows are chosen for others, from all of their rows."""
        return [
            one.name
            for one in self.tables
            if any(
                r.parent == one.name and r.role == "chosen" for table in self.tables for r in table.relations
            )
        ]


def packed_schema(schema: pa.Schema) -> str:
    """An Arrow schema as text."""
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()
