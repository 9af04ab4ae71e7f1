"""Datasets in parts: written by many processes, each part with a receipt; read whole, in order, and verified.

part-00042.parquet            rows of shard 42; or, in Hive folders, sex=Male/part-00042.parquet and others
_receipts/part-00042.json     rows, bytes, SHA-256 and run key; written after the part
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from synthmill.catalog import partitions
from synthmill.catalog.manifest import FileEntry, decode_schema, home_of, manifest_json
from synthmill.catalog.store import Version
from synthmill.config import dump
from synthmill.errors import RecipeError, StorageError, UserError
from synthmill.storage.folder import THREADS, Folder, changed, json_bytes
from synthmill.storage.formats import check_format, format_name
from synthmill.storage.parquet import READ_AHEAD, ROW_GROUP_ROWS, check_columns, read_part, write_part
from synthmill.storage.publish import MANIFEST

RECEIPT_FORMAT = 2
"""2: several files a shard; receipts of one file are still of format 1."""
_SUFFIX = ".parquet"


def part_path(number: int) -> str:
    """The file of a part; names sort in the order of the parts up to 100,000 of them."""
    return f"part-{number:05d}{_SUFFIX}"


def receipt_path(shard: int) -> str:
    """The receipt of a shard."""
    return f"_receipts/part-{shard:05d}.json"


def write_shard(
    folder: Folder,
    shard: int,
    batches: Iterable[Any],
    schema: Any,
    *,
    footer: Mapping[str, str],
    run_key: str,
) -> FileEntry:
    """Write one part (locally, then in one step to the folder) and then its receipt."""
    entry = write_file(folder, part_path(shard), batches, schema, footer=footer)
    write_receipt(folder, shard, (entry,), run_key=run_key)
    return entry


def write_file(
    folder: Folder,
    path: str,
    batches: Iterable[Any],
    schema: Any,
    *,
    footer: Mapping[str, str],
    row_group_rows: int = ROW_GROUP_ROWS,
) -> FileEntry:
    """Write one Parquet file; it counts for nothing before its shard's receipt."""
    # Locally first: the digest must be known before the upload that the store checks against it.
    with tempfile.TemporaryDirectory(prefix="synthmill-") as scratch:
        local = Path(scratch) / "part"
        part = write_part(batches, schema, local, footer, row_group_rows=row_group_rows)
        folder.upload(local, path, sha256=part.sha256)
    return FileEntry(path=path, rows=part.rows, bytes=part.bytes, sha256=part.sha256)


def write_receipt(folder: Folder, shard: int, files: Sequence[FileEntry], *, run_key: str) -> None:
    """State what a shard consists of, after its files: a receipt without them would make a restarted job skip
    the shard."""
    receipt = {"format": format_name("receipt", RECEIPT_FORMAT), "run_key": run_key, "shard": shard}
    if len(files) == 1:
        (entry,) = files
        receipt["format"] = format_name("receipt", 1)
        receipt |= {"part": entry.path, "rows": entry.rows, "bytes": entry.bytes, "sha256": entry.sha256}
    else:
        receipt["files"] = [dump(entry) for entry in files]
    folder.write_json(receipt_path(shard), receipt)


def finished_shards(folder: Folder, run_key: str) -> dict[int, tuple[FileEntry, ...]]:
    """Shards that an earlier attempt finished, and their files: with a receipt of this run key and every
    file of its size."""
    sizes = {entry.path: entry.bytes for entry in folder.list() if not entry.path.startswith("_")}
    paths = [entry.path for entry in folder.list("_receipts/", recursive=False)]
    with ThreadPoolExecutor(THREADS) as pool:
        receipts = list(pool.map(folder.read_json, paths))
    shards = {}
    for path, receipt in zip(paths, receipts, strict=True):
        check_format(receipt, "receipt", newest=RECEIPT_FORMAT, uri=folder.uri_of(path))
        files = tuple(FileEntry(**facts) for facts in receipt.get("files") or [_only(receipt)])
        # The size catches a part that was replaced after its receipt; `verify` reads the bytes.
        if receipt["run_key"] == run_key and all(sizes.get(entry.path) == entry.bytes for entry in files):
            shards[int(receipt["shard"])] = files
    return dict(sorted(shards.items()))


def _only(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The one file of a shard that has one."""
    return {"path": receipt["part"], **{name: receipt[name] for name in ("rows", "bytes", "sha256")}}


def part_entries(version: Version) -> list[FileEntry]:
    """The data parts of a version, in order."""
    files = version.manifest.files
    return [entry for entry in files if entry.path.endswith(_SUFFIX) and not entry.path.startswith("_")]


def read_dataset(version: Version, columns: Sequence[str] | None = None) -> Any:
    """All rows as one `pa.Table`; every part is checked against the manifest.

    Raises:
        IntegrityError: a part was changed; names it.
        StorageError: no such column, or not a dataset.
        UserError: a dataset of several tables.
    """
    tables = list(iter_parts(version, columns))
    if tables:
        return pa.concat_tables(tables)
    if version.manifest.arrow_schema is None:
        raise StorageError(f"{version.uri}: has neither parts nor a schema; this is not a dataset")
    # A dataset of no rows has no parts; its columns are in the manifest.
    schema = decode_schema(version.manifest.arrow_schema)
    check_columns(schema, columns, version.uri)
    return schema.empty_table() if columns is None else schema.empty_table().select(list(columns))


def described_dataset(version: Version) -> Any:
    """All rows, with the metadata that the manifest's schema has: that of data frames and of Hugging Face."""
    table = read_dataset(version)
    schema = version.manifest.arrow_schema
    return table if schema is None else table.replace_schema_metadata(decode_schema(schema).metadata)


def iter_parts(version: Version, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The verified parts as `pa.Table`, in order; at most `READ_AHEAD` are in memory at a time."""

    if tables := version.manifest.details.get("order"):
        raise UserError(
            f"{version.ref} holds the tables {', '.join(tables)}; read the files of one, in its folder"
            f" {version.uri}/{tables[0]}",
            field="dataset",
        )
    text = version.manifest.arrow_schema
    schema = decode_schema(text) if text is not None else None

    def read(entry: FileEntry) -> Any:
        return read_entry(version.folder, entry, schema, columns)

    waiting = iter(part_entries(version))
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        # Not `pool.map`: it submits all at once, and a slow consumer would have every part in memory.
        running = [pool.submit(read, entry) for entry in islice(waiting, READ_AHEAD)]
        while running:
            yield running.pop(0).result()
            running += [pool.submit(read, entry) for entry in islice(waiting, 1)]


def read_entry(folder: Folder, entry: FileEntry, schema: Any, columns: Sequence[str] | None = None) -> Any:
    """The verified rows of one part of the version in `folder`; its Hive folders are columns again.

    `schema` has the types of the columns, and their order.

    Raises:
        IntegrityError: it was changed; names it.
        StorageError: no such column.
    """
    home = home_of(folder, entry)
    data, uri = read_verified(home, entry), home.uri_of(entry.path)
    if not partitions.stated_in(entry.path):
        return read_part(data, uri, columns)
    check_columns(schema, columns, uri)
    return partitions.restored(read_part(data, uri), entry.path, schema, columns)


def pull(version: Version, local_dir: str | Path) -> Path:
    """Copy a version into a local folder, the manifest last; files that match already are not copied again.

    Raises:
        RecipeError: not a folder of this machine.
        StorageError: the folder holds another version, or files that readers would take for data.
    """
    target = Folder(local_dir)
    local = target.local_path
    if local is None:
        raise RecipeError(f"{target.uri} is not a folder of this machine; give a path", field="folder")
    known = {entry.path for entry in version.manifest.files}
    present = [entry.path for entry in target.list(recursive=False)]
    # Readers of the folder would mix foreign files with the version's rows.
    foreign = [path for path in present if path not in known and not path.startswith(("_", "."))]
    if foreign:
        raise StorageError(
            f"{target.uri}: holds {foreign[0]!r}, which is not part of {version.ref}; choose an empty folder"
        )
    if target.exists(MANIFEST) and target.read_bytes(MANIFEST) != json_bytes(manifest_json(version.manifest)):
        raise StorageError(f"{target.uri}: holds another version already; choose an empty folder")

    def fetch(entry: FileEntry) -> None:
        if not (target.exists(entry.path) and target.digest(entry.path) == (entry.sha256, entry.bytes)):
            home_of(version.folder, entry).download(entry.path, local / entry.path, sha256=entry.sha256)

    with ThreadPoolExecutor(READ_AHEAD) as pool:
        list(pool.map(fetch, version.manifest.files))
    target.write_json(MANIFEST, manifest_json(version.manifest))
    return local


def read_verified(folder: Folder, entry: FileEntry) -> bytes:
    """The bytes of a file of a manifest; IntegrityError, with its name, if they are not those published."""
    data = folder.read_bytes(entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise changed(folder.uri_of(entry.path))
    return data
