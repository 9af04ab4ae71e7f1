"""A source's rows as written, block by block: one file, a folder of them, or a dataset of the catalog."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.catalog.dataset import part_entries
from synthmill.catalog.manifest import decode_schema
from synthmill.catalog.store import Version
from synthmill.config import DataConfig, StorageConfig
from synthmill.data.columns import plain_column, plain_type
from synthmill.data.content import format_of
from synthmill.data.files import find_files, options_of, partition_of
from synthmill.data.formats.base import FIELD, Blocks, WholeError
from synthmill.data.origin import Levels, attach, described, without_index
from synthmill.data.scan.stored import StoredFile
from synthmill.errors import DataError
from synthmill.storage.uri import redact


@dataclass(frozen=True)
class _Part:
    """One file."""

    file: StoredFile
    blocks: Blocks
    partition: tuple[tuple[str, str | None], ...]
    """Columns and values of its folders' names."""
    names: tuple[str, ...]
    """Of the columns that are read."""


@dataclass
class Raw:
    """Rows as files hold them. What only the end of a pass tells is known after the first."""

    uri: str
    parts: list[_Part]
    schema: pa.Schema
    """Plain types, in the order of the first file's columns."""
    cells: frozenset[str]
    """Columns of text whose type follows from their values."""
    notes: tuple[str, ...]
    origin: pa.Schema
    """The first file's schema, as written."""
    digest: str | None = None
    """SHA-256 of the bytes (of paths and bytes in order of paths, for a folder)."""
    stated_digest: str | None = None
    """What stands for it, where a manifest says so."""
    dropped: frozenset[str] = frozenset()
    """Columns without name or value."""
    levels: dict[str, tuple[dict[Any, None], set[Any]]] = field(default_factory=dict)
    """Of columns of categories: the levels declared, and those that occur."""

    @property
    def weight_bytes(self) -> int:
        """About what training would hold in memory if it read all at once."""
        return sum(part.blocks.weight_bytes for part in self.parts)

    @property
    def num_rows(self) -> int | None:
        """None: only reading tells."""
        rows = [part.blocks.num_rows for part in self.parts]
        return None if None in rows else sum(one for one in rows if one is not None)

    def blocks(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        """Rows in order, columns as `schema` has them but for text, which may be dictionary-encoded; after
        the first pass some columns can be asked for alone.

        Raises:
            DataError: what the format refuses; bytes that are not those of the first pass.
        """
        first, hasher = self.digest is None, hashlib.sha256()
        for part in self.parts:
            if first and len(self.parts) > 1:
                hasher.update(f"{part.file.name}\0{part.file.num_bytes}\0".encode())
            part.file.listener = hasher.update if first else None
            own = None if names is None else [name for name in names if name in part.names]
            for block in part.blocks.read(own):
                if first:
                    self._collect_levels(block)
                yield self._conformed(part, block, names)
            if not part.blocks.reads_stored and (first or (part.file.is_local and names is None)):
                # Parts of it were read in another order. A store's own time of writing suffices later on, and
                # that of a file where some columns are looked at again: all are, before the next step.
                part.file.hash_whole()
            part.file.check_same()
        if first:
            self._finish(hasher.hexdigest())

    def described(self, table: pa.Table) -> pa.Table:
        """A table of this source, with what its files say beyond plain types."""
        levels: dict[str, tuple[Levels, Levels]] = {
            name: (list(declared), [level for level in declared if level not in found])
            for name, (declared, found) in self.levels.items()
        }
        return attach(table, described(self.origin, levels))

    def _conformed(self, part: _Part, block: pa.Table, names: list[str] | None) -> pa.Table:
        columns = []
        partition = dict(part.partition)
        schema = self.schema if names is None else pa.schema([self.schema.field(name) for name in names])
        for one in schema:
            if one.name in part.names:
                columns.append(_plain(block[one.name], one.type))
            else:
                value = pa.scalar(partition[one.name], pa.string())
                columns.append(pa.chunked_array([pa.repeat(value, block.num_rows)]))
        return pa.table(columns, names=schema.names)

    def _collect_levels(self, block: pa.Table) -> None:
        for one in self.origin:
            if not pa.types.is_dictionary(one.type):
                continue
            declared, found = self.levels.setdefault(one.name, ({}, set()))
            for chunk in block[one.name].chunks:
                if pa.types.is_dictionary(chunk.type):
                    declared.update(dict.fromkeys(x for x in chunk.dictionary.to_pylist() if x is not None))
                found.update(pc.unique(plain_column(chunk)).to_pylist())

    def _finish(self, digest: str) -> None:
        notes, dropped = list(self.notes), None
        for part in self.parts:
            empty, said = part.blocks.left_out()
            # A column goes only where no file has a value in it.
            dropped = empty if dropped is None else dropped & empty
            notes += said
        self.dropped = dropped or frozenset()
        self.notes = tuple(dict.fromkeys(notes))
        self.schema = pa.schema([one for one in self.schema if one.name not in self.dropped])
        self.digest = self.stated_digest or digest


def open_files(config: DataConfig, settings: StorageConfig) -> Raw:
    """The files at `data.source`, unread but for their heads.

    Raises:
        WholeError: they can only be read whole.
        DataError: as `read_files`.
    """
    folder, paths, notes = find_files(config.source, settings)
    parts, said = [], list(notes)
    options = options_of(config)
    for path in paths:
        file = StoredFile(folder, path)
        kind, more = format_of(file.head, path)
        blocks = kind.blocks(file, options)
        kept, index = without_index(blocks.schema.empty_table(), path)
        said += [*more, *index]
        columns = tuple(kept.column_names)
        values = tuple((key, value) for key, value in partition_of(path) if key not in columns)
        parts.append(_Part(file, blocks, values, columns))
    return _joined(config.source, parts, tuple(said))


def open_version(version: Version) -> Raw:
    """The rows of a dataset of the catalog, whose parts must have the manifest's digests.

    Raises:
        WholeError: it has no rows.
    """
    parts = []
    for entry in part_entries(version):
        file = StoredFile(version.folder, entry.path)
        file.sha256 = entry.sha256
        kind, _ = format_of(file.head, entry.path)
        blocks = kind.blocks(file, options_of(DataConfig(source="")))
        parts.append(_Part(file, blocks, (), tuple(blocks.schema.names)))
    if not parts:
        raise WholeError(f"{version.ref} has no rows")
    raw = _joined(f"dataset://{version.ref}", parts, ())
    said = version.manifest.arrow_schema
    # Footers name one part's shard; what holds for all stands in the manifest.
    raw.origin = raw.origin.with_metadata(None if said is None else decode_schema(said).metadata)
    raw.stated_digest = version.manifest.content_digest
    return raw


def _joined(uri: str, parts: list[_Part], notes: tuple[str, ...]) -> Raw:
    first = parts[0]
    names = [*first.names, *(key for key, _ in first.partition)]
    schemas, cells = [], None
    for part in parts:
        own = [*part.names, *(key for key, _ in part.partition)]
        if set(own) != set(names):
            odd = sorted(set(own) ^ set(names))[0]
            raise DataError(
                f"{part.file.name} and {first.file.name} differ in columns ({odd!r} is in one of them)",
                field=FIELD,
            )
        typed: Mapping[str, pa.DataType] = {one.name: plain_type(one.type) for one in part.blocks.schema}
        schemas.append(pa.schema([pa.field(name, typed.get(name, pa.string())) for name in names]))
        # A column of one name can stand in a file and in the folder's name of another.
        own_cells = part.blocks.cells & set(part.names) | {key for key, _ in part.partition}
        cells = own_cells if cells is None else cells & own_cells
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as fault:
        raise DataError(
            f"the files have columns of different types ({redact(str(fault))[:120]})", field=FIELD
        ) from None
    kept = [first.blocks.schema.field(name) for name in first.names]
    fields = [*kept, *(pa.field(key, pa.string()) for key, _ in first.partition)]
    origin = pa.schema(fields, metadata=first.blocks.schema.metadata)
    return Raw(uri, parts, schema, frozenset(cells or ()), notes, origin)


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column with values of the type; text may stay a dictionary."""
    if pa.types.is_dictionary(column.type) and column.type.value_type == kind == pa.string():
        return column
    plain = plain_column(column)
    return plain if plain.type == kind else plain.cast(kind)
