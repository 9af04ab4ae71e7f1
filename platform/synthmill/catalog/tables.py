"""Datasets of several tables: a folder a table, one manifest."""

from dataclasses import replace

import pyarrow as pa

from synthmill.catalog.dataset import part_path, read_entry
from synthmill.catalog.manifest import FileEntry, decode_schema
from synthmill.catalog.several import is_several
from synthmill.catalog.store import Version
from synthmill.errors import NotFoundError, did_you_mean


def table_part(table: str, index: int) -> str:
    """The file of a table's part."""
    return f"{table}/{part_path(index)}"


def table_names(version: Version) -> list[str]:
    """The tables of a dataset, parents first; NotFoundError where it holds one table alone."""
    if not is_several(version):
        raise NotFoundError(f"{version.ref} holds one table", field="table")
    # JSON sorts the names of `tables`.
    return list(version.manifest.details["order"])


def table_entries(version: Version, table: str) -> list[FileEntry]:
    """The parts of a table, in order.

    Raises:
        NotFoundError: no such table; names the closest.
    """
    names = table_names(version)
    if table not in names:
        raise NotFoundError(
            f"{version.ref} has no table {table!r}{did_you_mean(table, names)}", field="table"
        )
    return [entry for entry in version.manifest.files if entry.path.startswith(f"{table}/")]


def one_table(version: Version, table: str) -> Version:
    """A table of a dataset, as the version of one table that its files would make; for readers of such.

    Raises:
        NotFoundError: no such table; names the closest.
    """
    entries = table_entries(version, table)
    facts = version.manifest.details["tables"][table]
    manifest = version.manifest.model_copy(
        update={
            "files": tuple(entries),
            "rows": facts["rows"],
            "arrow_schema": facts["arrow_schema"],
            "details": {},
        }
    )
    return replace(version, manifest=manifest)


def read_table(version: Version, table: str) -> pa.Table:
    """All rows of a table; every part is checked against the manifest.

    Raises:
        IntegrityError: a part was changed; names it. NotFoundError: no such table.
    """
    entries = table_entries(version, table)
    schema = decode_schema(version.manifest.details["tables"][table]["arrow_schema"])
    parts = [read_entry(version.folder, entry, schema) for entry in entries]
    return pa.concat_tables(parts) if parts else schema.empty_table()
