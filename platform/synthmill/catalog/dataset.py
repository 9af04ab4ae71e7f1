"""Datasets in parts: written by many processes, each part with a receipt; read whole, in order, and verified.

part-00042.parquet            rows of shard 42
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

from synthmill.catalog.manifest import FileEntry, decode_schema, manifest_json
from synthmill.catalog.store import Version
from synthmill.errors import RecipeError, StorageError
from synthmill.storage.folder import THREADS, Folder, changed, json_bytes
from synthmill.storage.formats import check_format, format_name
from synthmill.storage.parquet import READ_AHEAD, check_columns, read_part, write_part
from synthmill.storage.publish import MANIFEST

RECEIPT_FORMAT = 1
_SUFFIX = ".parquet"


def part_path(shard: int) -> str:
    """The file of a shard; names sort in the order of the shards up to 100,000 of them."""
    return f"part-{shard:05d}{_SUFFIX}"


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
    path = part_path(shard)
    # Locally first: the digest must be known before the upload that the store checks against it.
    with tempfile.TemporaryDirectory(prefix="synthmill-") as scratch:
        local = Path(scratch) / path
        part = write_part(batches, schema, local, footer)
        folder.upload(local, path, sha256=part.sha256)
    entry = FileEntry(path=path, rows=part.rows, bytes=part.bytes, sha256=part.sha256)
    receipt = {"format": format_name("receipt", RECEIPT_FORMAT), "run_key": run_key, "shard": shard}
    receipt |= {"part": path, "rows": part.rows, "bytes": part.bytes, "sha256": part.sha256}
    # After the part: a receipt without its part would make a restarted job skip the shard.
    folder.write_json(receipt_path(shard), receipt)
    return entry


def finished_shards(folder: Folder, run_key: str) -> dict[int, FileEntry]:
    """Shards that an earlier attempt finished: with a receipt of this run key and a part of its size."""
    sizes = {entry.path: entry.bytes for entry in folder.list("part-", recursive=False)}
    paths = [entry.path for entry in folder.list("_receipts/", recursive=False)]
    with ThreadPoolExecutor(THREADS) as pool:
        receipts = list(pool.map(folder.read_json, paths))
    shards = {}
    for path, receipt in zip(paths, receipts, strict=True):
        check_format(receipt, "receipt", newest=RECEIPT_FORMAT, uri=folder.uri_of(path))
        facts = {name: receipt[name] for name in ("rows", "bytes", "sha256")}
        entry = FileEntry(path=receipt["part"], **facts)
        # The size catches a part that was replaced after its receipt; `verify` reads the bytes.
        if receipt["run_key"] == run_key and sizes.get(entry.path) == entry.bytes:
            shards[int(receipt["shard"])] = entry
    return dict(sorted(shards.items()))


def part_entries(version: Version) -> list[FileEntry]:
    """The data parts of a version, in order."""
    files = version.manifest.files
    return [entry for entry in files if entry.path.endswith(_SUFFIX) and not entry.path.startswith("_")]


def read_dataset(version: Version, columns: Sequence[str] | None = None) -> Any:
    """All rows as one `pa.Table`; every part is checked against the manifest.

    Raises:
        IntegrityError: a part was changed; names it.
        StorageError: no such column, or not a dataset.
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

    def read(entry: FileEntry) -> Any:
        return read_part(read_verified(version.folder, entry), version.folder.uri_of(entry.path), columns)

    waiting = iter(part_entries(version))
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        # Not `pool.map`: it submits all at once, and a slow consumer would have every part in memory.
        running = [pool.submit(read, entry) for entry in islice(waiting, READ_AHEAD)]
        while running:
            yield running.pop(0).result()
            running += [pool.submit(read, entry) for entry in islice(waiting, 1)]


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
            version.folder.download(entry.path, local / entry.path, sha256=entry.sha256)

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
