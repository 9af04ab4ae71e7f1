"""A dataset as an Iceberg table, by the package `pyiceberg` (the extra `iceberg`): one commit.

In a catalog (`catalog://NAME/NAMESPACE/TABLE`, as pyiceberg's own configuration names it) the commit is the
catalog's. Elsewhere the table stands alone, as Hadoop's do: its folder holds data and metadata, a commit is
the file `metadata/v<n>.metadata.json`, which only one writer can create, and `metadata/version-hint.text`
names the newest.
"""

from typing import Any

from synthmill.catalog.lake import (
    DIGEST,
    Mode,
    Rows,
    failed,
    missing_package,
    rows_of,
    s3_environment,
    taken,
)
from synthmill.catalog.store import Version
from synthmill.errors import DataError, RecipeError
from synthmill.storage.folder import Folder

FIELD = "--iceberg"
SCHEME = "catalog://"
HINT = "metadata/version-hint.text"
_OWN = ("synthmill", "table")


def export_iceberg(version: Version, uri: str, mode: Mode) -> dict[str, Any]:
    """Write all rows to the table at `uri`, partitioned as the dataset is.

    Args:
        uri: a path, `s3://bucket/folder`, or `catalog://NAME/NAMESPACE/TABLE`.

    Returns:
        `exported`, the URI of the new `metadata`, `rows`, and `notes` of what columns became; `repeated`
        where the newest snapshot is this very dataset, and nothing was written.

    Raises:
        UserError: the package is missing, no such catalog, or the place holds a table and `mode` is "new".
        DataError: what the table can't hold; it is then as it was.
    """
    try:
        import pyiceberg.catalog  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError:
        raise missing_package("pyiceberg", "iceberg", FIELD) from None
    rows = rows_of(version, field=FIELD, has_times=True)
    done = {"exported": uri, "rows": version.manifest.rows, "notes": list(rows.notes)}
    if uri.startswith(SCHEME):
        return done | _in_catalog(rows, uri, mode)
    return done | _alone(rows, uri, mode)


def _in_catalog(rows: Rows, uri: str, mode: Mode) -> dict[str, Any]:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError

    name, *path = uri.removeprefix(SCHEME).strip("/").split("/")
    if len(path) < 2:
        raise RecipeError(f"expected catalog://NAME/NAMESPACE/TABLE, got {uri!r}", field=FIELD)
    try:
        catalog = load_catalog(name)
    # Whatever a catalog's own client raises.
    except Exception as fault:
        line = " ".join(str(fault).split())[:200]
        raise RecipeError(f"no catalog {name!r} in pyiceberg's configuration ({line})", field=FIELD) from None
    try:
        table = catalog.load_table(tuple(path))
    except NoSuchTableError:
        table = None
    if table is not None and mode == "new":
        raise taken(uri, FIELD)
    if table is None:
        catalog.create_namespace_if_not_exists(tuple(path[:-1]))
    return _write(catalog, tuple(path), table, rows, uri, mode, location=None)


def _alone(rows: Rows, uri: str, mode: Mode) -> dict[str, Any]:
    from pyiceberg.catalog.memory import InMemoryCatalog

    folder = Folder(uri)
    exists = folder.exists(HINT) or folder.exists(_version_file(1))
    if exists and mode == "new":
        raise taken(uri, FIELD)
    if not exists and folder.list():
        raise RecipeError(f"{uri} holds other files; choose an empty folder", field=FIELD)
    # A catalog of this process alone: it makes the metadata, whose newest file the hint then names.
    catalog = InMemoryCatalog("synthmill", warehouse=folder.uri, **_properties())
    catalog.create_namespace_if_not_exists(_OWN[0])
    table, number = None, 0
    if exists:
        number, newest = _newest(folder)
        table = catalog.register_table(_OWN, folder.uri_of(newest))
    written = _write(catalog, _OWN, table, rows, uri, mode, location=folder.uri)
    if "repeated" not in written:
        made, name = written["metadata"].rpartition("/")[2], _version_file(number + 1)
        if not folder.create(name, folder.read_bytes(f"metadata/{made}")):
            raise DataError(
                f"{uri}: another writer added to the table meanwhile; not exported, run it again", field=FIELD
            )
        # A hint alone: whoever is killed before it has committed all the same.
        folder.write_bytes(HINT, str(number + 1).encode())
        written["metadata"] = folder.uri_of(name)
    return written


def _newest(folder: Folder) -> tuple[int, str]:
    """Number and file of the newest metadata."""
    hint = folder.read_bytes(HINT).decode().strip() if folder.exists(HINT) else "0"
    # Tables that were written before commits had numbers are named by their hint; the first commit is next.
    number = int(hint) if hint.isdecimal() else 0
    # The hint is written after the commit, and may be behind.
    while folder.exists(_version_file(number + 1)):
        number += 1
    return number, _version_file(number) if number else f"metadata/{hint}.metadata.json"


def _version_file(number: int) -> str:
    return f"metadata/v{number}.metadata.json"


def _write(
    catalog: Any, name: tuple[str, ...], table: Any, rows: Rows, uri: str, mode: Mode, *, location: str | None
) -> dict[str, Any]:
    """Create the table, add to it or replace its rows, in one transaction."""
    from pyiceberg.expressions import AlwaysTrue

    if table is not None and mode == "append":
        snapshot = table.current_snapshot()
        # A job that is run again after a lost answer must not add the same rows twice.
        if snapshot is not None and snapshot.summary.additional_properties.get(DIGEST) == rows.facts[DIGEST]:
            return {"metadata": table.metadata_location, "repeated": True}
    try:
        if table is None:
            with catalog.create_table_transaction(name, rows.schema, location=location) as transaction:
                with transaction.update_spec() as spec:
                    for column in rows.partition_by:
                        spec.add_identity(column)
                _append(transaction, rows)
        else:
            with table.transaction() as transaction:
                if mode == "replace":
                    with transaction.update_schema() as schema:
                        schema.union_by_name(rows.schema)
                    transaction.delete(AlwaysTrue())
                _append(transaction, rows)
        return {"metadata": catalog.load_table(name).metadata_location}
    # The package, its catalogs and file systems raise errors of many kinds; no commit was made.
    except Exception as fault:
        raise failed(uri, fault, FIELD) from fault


def _append(transaction: Any, rows: Rows) -> None:
    # The table's own folders, which need not be the dataset's.
    if transaction.table_metadata.spec().is_unpartitioned():
        transaction.append(rows.reader(), snapshot_properties=rows.facts)
        return
    # Streams are for tables without partitions: a snapshot for each part, all in one commit.
    for table in rows.tables():
        transaction.append(table, snapshot_properties=rows.facts)


def _properties() -> dict[str, str]:
    names = {
        "AWS_ENDPOINT_URL": "s3.endpoint",
        "AWS_REGION": "s3.region",
        "AWS_DEFAULT_REGION": "s3.region",
        "AWS_ACCESS_KEY_ID": "s3.access-key-id",
        "AWS_SECRET_ACCESS_KEY": "s3.secret-access-key",
        "AWS_SESSION_TOKEN": "s3.session-token",
    }
    return {names[name]: value for name, value in s3_environment().items()}
