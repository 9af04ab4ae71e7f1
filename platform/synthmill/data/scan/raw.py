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

PART_ROWS = 1_000_000
"""Of a part that is gone over without the others, at least."""
LONGEST_ROWS = 8 * PART_ROWS
"""Of a stretch that one process reads without help."""
PART_BYTES = 64 << 20
"""Of the rows of a part of which only reading tells how many they are."""
Seen = dict[str, tuple[dict[Any, None], set[Any]]]
"""Of columns of categories: the levels declared, and those that occur."""


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
    levels: Seen = field(default_factory=dict)

    @property
    def weight_bytes(self) -> int:
        """About what training would hold in memory if it read all at once."""
        return sum(part.blocks.weight_bytes for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """As stored."""
        return sum(part.file.num_bytes for part in self.parts)

    @property
    def read_bytes(self) -> int:
        """Stored bytes that were hashed so far, in all passes."""
        return sum(part.file.read_bytes for part in self.parts)

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
        hasher = self._hasher()
        for part in self.parts:
            self._listen(part, hasher)
            own = None if names is None else [name for name in names if name in part.names]
            for block in part.blocks.read(own):
                if hasher is not None:
                    collect_levels(self.levels, self.origin, block)
                yield conformed(part, block, self.schema, names)
            if not part.blocks.reads_stored and (hasher is not None or names is None):
                for _ in self._hashed(part, hasher):
                    pass
            part.file.check_same()
        self._finish(hasher)

    def cuts(self, least_rows: int) -> list["Cut"] | None:
        """All rows in order, in stretches of so many rows or somewhat more that can be read each without the
        others; None: there are none, or too long ones."""
        cuts, pieces, first_row, row = list[Cut](), list[_Piece](), 0, 0
        for part in self.parts:
            groups, at = part.blocks.groups, 0
            if groups is None or max(groups, default=0) > LONGEST_ROWS:
                return None
            for number, rows in enumerate(groups, 1):
                row += rows
                if row - first_row >= least_rows:
                    cuts.append(self._cut([*pieces, (part, at, number)], first_row, row))
                    pieces, at, first_row = [], number, row
            if at < len(groups):
                pieces.append((part, at, len(groups)))
        # A small rest costs less beside other rows than alone.
        if pieces and cuts and 4 * (row - first_row) < least_rows:
            last = cuts.pop()
            pieces, first_row = [*last.pieces, *pieces], last.first_row
        return [*cuts, self._cut(pieces, first_row, row)] if pieces else cuts

    def _cut(self, pieces: "list[_Piece]", first_row: int, next_row: int) -> "Cut":
        return Cut(tuple(pieces), first_row, next_row - first_row, self.schema, self.origin)

    def hashing(self) -> Iterator[None]:
        """Read all bytes for their hash, piece by piece, beside whoever reads the rows in cuts.

        Raises:
            DataError: they are not those of the first pass.
        """
        hasher = self._hasher()
        for part in self.parts:
            self._listen(part, hasher)
            yield from self._hashed(part, hasher)
            part.file.check_same()
        self._finish(hasher)

    def heed(self, levels: list[tuple[int, Seen]]) -> None:
        """Add the levels that were seen in cuts, whose first rows stand beside them."""
        for _, seen in sorted(levels, key=lambda one: one[0]):
            for name, (declared, found) in seen.items():
                known = self.levels.setdefault(name, ({}, set()))
                known[0].update(declared)
                known[1].update(found)

    def described(self, table: pa.Table) -> pa.Table:
        """A table of this source, with what its files say beyond plain types."""
        levels: dict[str, tuple[Levels, Levels]] = {
            name: (list(declared), [level for level in declared if level not in found])
            for name, (declared, found) in self.levels.items()
        }
        return attach(table, described(self.origin, levels))

    def _hasher(self) -> Any:
        """Of a first pass; None: the digest is known."""
        return hashlib.sha256() if self.digest is None else None

    def _listen(self, part: _Part, hasher: Any) -> None:
        if hasher is not None and len(self.parts) > 1:
            hasher.update(f"{part.file.name}\0{part.file.num_bytes}\0".encode())
        part.file.listener = None if hasher is None else hasher.update

    def _hashed(self, part: _Part, hasher: Any) -> Iterator[None]:
        """Hash a file whose rows are read in another order than its bytes lie. A store's own time of writing
        suffices later on, and that of a file where some columns are looked at again: all are, before the next
        step."""
        if hasher is not None or part.file.is_local:
            yield from part.file.hashed()

    def _finish(self, hasher: Any) -> None:
        if hasher is None:
            return
        notes, dropped = list(self.notes), None
        for part in self.parts:
            empty, said = part.blocks.left_out()
            # A column goes only where no file has a value in it.
            dropped = empty if dropped is None else dropped & empty
            notes += said
        self.dropped = dropped or frozenset()
        self.notes = tuple(dict.fromkeys(notes))
        self.schema = pa.schema([one for one in self.schema if one.name not in self.dropped])
        self.digest = self.stated_digest or hasher.hexdigest()


_Piece = tuple[_Part, int, int]
"""Groups of a file, from one up to another."""


@dataclass(frozen=True)
class Cut:
    """Rows that follow each other, to be read without the others, by any process."""

    pieces: tuple[_Piece, ...]
    first_row: int
    rows: int
    schema: pa.Schema
    """As `Raw.schema`."""
    origin: pa.Schema

    def blocks(self, levels: Seen) -> Iterator[pa.Table]:
        """As those of `Raw.blocks`; of columns of categories the levels are added to `levels`.

        Raises:
            DataError: what the format refuses; a file that was written since the source was opened.
        """
        for part, first, stop in self.pieces:
            assert part.blocks.groups is not None, "files without groups are not cut"
            missing = sum(part.blocks.groups[first:stop])
            try:
                for block in part.blocks.read_groups(first, stop):
                    missing -= block.num_rows
                    collect_levels(levels, self.origin, block)
                    yield conformed(part, block, self.schema, None)
            finally:
                # What is read of a file that changes may be anything, a fault among it.
                part.file.check_same()
            if missing:
                raise part.file.changed()


def conformed(part: _Part, block: pa.Table, schema: pa.Schema, names: list[str] | None) -> pa.Table:
    """A block of a file as the schema of all of them has it, or some of its columns."""
    columns = []
    partition = dict(part.partition)
    schema = schema if names is None else pa.schema([schema.field(name) for name in names])
    for one in schema:
        if one.name in part.names:
            columns.append(_plain(block[one.name], one.type))
        else:
            value = pa.scalar(partition[one.name], pa.string())
            columns.append(pa.chunked_array([pa.repeat(value, block.num_rows)]))
    return pa.table(columns, names=schema.names)


def collect_levels(levels: Seen, origin: pa.Schema, block: pa.Table) -> None:
    """Add the levels that a block has in columns of categories."""
    for one in origin:
        if not pa.types.is_dictionary(one.type):
            continue
        declared, found = levels.setdefault(one.name, ({}, set()))
        for chunk in block[one.name].chunks:
            if pa.types.is_dictionary(chunk.type):
                declared.update(dict.fromkeys(x for x in chunk.dictionary.to_pylist() if x is not None))
            found.update(pc.unique(plain_column(chunk)).to_pylist())


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
