"""A dataset as a Delta Lake table, by the package `deltalake` (the extra `delta`): one commit of its log."""

from typing import Any

from synthmill.catalog.lake import DIGEST, Mode, failed, missing_package, rows_of, s3_environment, taken
from synthmill.catalog.store import Version
from synthmill.storage.folder import Folder

FIELD = "--delta"


def export_delta(version: Version, uri: str, mode: Mode) -> dict[str, Any]:
    """Write all rows to the table at `uri` (a path or `s3://`), partitioned as the dataset is.

    Returns:
        `exported`, the table's `table_version`, `rows`, and `notes` of what columns became; `repeated` where
        the newest commit is this very dataset, and nothing was written.

    Raises:
        UserError: the package is missing, or the place holds a table and `mode` is "new".
        DataError: what the table can't hold; it is then as it was.
    """
    try:
        from deltalake import CommitProperties, DeltaTable, write_deltalake
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise missing_package("deltalake", "delta", FIELD) from None
    rows = rows_of(version, field=FIELD, has_times=False)
    place = _place(uri)
    options = _options() if place.startswith("s3://") else None
    exists = DeltaTable.is_deltatable(place, options)
    if exists and mode == "new":
        raise taken(uri, FIELD)
    done = {"exported": uri, "rows": version.manifest.rows, "notes": list(rows.notes)}
    if exists and mode == "append":
        table = DeltaTable(place, storage_options=options)
        # A job that is run again after a lost answer must not add the same rows twice.
        if table.history(1)[0].get(DIGEST) == version.manifest.content_digest:
            return {**done, "table_version": table.version(), "repeated": True}
    try:
        write_deltalake(
            place,
            rows.reader(),
            mode="overwrite" if mode == "replace" else "append" if exists else "error",
            schema_mode="overwrite" if mode == "replace" and exists else None,
            partition_by=list(rows.partition_by) or None,
            storage_options=options,
            commit_properties=CommitProperties(custom_metadata=rows.facts),
        )
    except (DeltaError, OSError, ValueError) as fault:
        raise failed(uri, fault, FIELD) from None
    return {**done, "table_version": DeltaTable(place, storage_options=options).version()}


def _place(uri: str) -> str:
    """The place as the package takes it; RecipeError for a URI that names none."""
    folder = Folder(uri)
    return str(folder.local_path) if folder.local_path is not None else folder.uri


def _options() -> dict[str, str]:
    options = s3_environment()
    if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    # Commits are files of the log that are created if absent, as our own are.
    return {**options, "conditional_put": "etag"}
