"""Tables in files: one file or a folder of them, on disk or on S3, partitioned by folder names or not; the
formats stand in `data/formats/`."""

import hashlib
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa

from synthmill.config import DataConfig, StorageConfig
from synthmill.data.cells import clean, detect_types
from synthmill.data.columns import plain_table
from synthmill.data.content import claimed, format_of, formats, named_format, packer_of, text_format, unpack
from synthmill.data.formats.base import FIELD, PACKED, Options, Parsed
from synthmill.data.origin import attach, joined, without_index
from synthmill.errors import DataError, UserError
from synthmill.storage.folder import Folder
from synthmill.storage.uri import Location, parse, redact

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_SPLITS = "dataset_dict.json"
"""What Hugging Face's `DatasetDict.save_to_disk` writes beside the folders of its splits."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """A table read from files."""

    table: pa.Table
    """Its schema's metadata carries what the files said beyond plain types; see `data.origin`."""
    sha256: str
    notes: tuple[str, ...] = ()


def read_files(uri: str, config: DataConfig, settings: StorageConfig, *, keep_text: frozenset[str]) -> Files:
    """The table at a URI, and the SHA-256 of its bytes (of paths and bytes in order of paths, for a folder).

    Raises:
        DataError: nothing there, or not what can be read as one table.
        StorageError: the place can't be reached.
    """
    folder, paths, notes = find_files(uri, settings)
    digest = hashlib.sha256()
    parts: list[Parsed] = []
    options = options_of(config)
    for path in paths:
        data = folder.read_bytes(path)
        if len(paths) > 1:
            digest.update(f"{path}\0{len(data)}\0".encode())
        digest.update(data)
        part = parse_bytes(data, path, options)
        notes += part.notes
        parts.append(with_partition(part, path))
    return Files(
        table=type_cells(_join(parts, paths), config, keep_text=keep_text),
        sha256=digest.hexdigest(),
        notes=tuple(dict.fromkeys(notes)),
    )


def weigh_files(uri: str, settings: StorageConfig) -> int:
    """About what training would hold in memory of files that are read whole, as their sizes tell."""
    folder, paths, _ = find_files(uri, settings)
    total = 0
    for path in paths:
        with folder.explained(path), folder.open_input(path) as opened:
            begin = opened.read(64)
        # A workbook is text in an archive, too.
        kind = claimed(begin) or named_format(path) or text_format()
        packed = 1 if packer_of(begin) is None else PACKED
        total += folder.entry(path).bytes * kind.whole_bytes * packed
    return total


def options_of(config: DataConfig) -> Options:
    """What the recipe says of how files are written."""
    return Options(
        header=config.header,
        columns=config.columns,
        delimiter=config.delimiter,
        encoding=config.encoding,
        footer_rows=config.footer_rows,
        sheet=config.sheet,
    )


def parse_bytes(data: bytes, name: str, options: Options) -> Parsed:
    """The table in a file's bytes, whatever its name says it is."""
    data, name = unpack(data, name)
    found, notes = format_of(data, name)
    parsed = found.parse(data, name, options)
    table, index = without_index(parsed.table, name)
    return Parsed(table=table, cells=parsed.cells, notes=(*notes, *parsed.notes, *index))


def type_cells(parsed: Parsed, config: DataConfig, *, keep_text: frozenset[str]) -> pa.Table:
    """The table with its untyped cells trimmed, missing where the recipe says so, and typed."""
    nulls = pa.array(sorted(set(config.null_values)), pa.string())
    table = parsed.table
    for i, name in enumerate(table.column_names):
        if name in parsed.cells:
            table = table.set_column(i, name, clean(table[name], config.trim, nulls))
    texts = keep_text | (set(table.column_names) - parsed.cells)
    typed = detect_types(table, keep_text=texts, cells=frozenset(parsed.cells))
    return typed.replace_schema_metadata(table.schema.metadata)


def read_text(uri: str, settings: StorageConfig, *, field: str) -> str:
    """The text of a small file.

    Raises:
        DataError: no such file, or not UTF-8; names `field`.
    """
    folder, name = _parent(_location(uri, field), settings)
    if not name or not folder.exists(name):
        raise DataError(f"no file at {uri}", field=field)
    try:
        return folder.read_bytes(name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{uri} is not UTF-8 text", field=field) from None


def _location(uri: str, field: str) -> Location:
    try:
        return parse(uri)
    except UserError as fault:
        raise DataError(str(fault).removeprefix(f"{fault.field}: "), field=field) from None


def _parent(location: Location, settings: StorageConfig) -> tuple[Folder, str]:
    root, _, name = location.root.rpartition("/")
    above = Location(location.scheme, location.bucket, root or ("/" if location.scheme == "file" else ""))
    return Folder(above.uri, settings), name


def find_files(uri: str, settings: StorageConfig) -> tuple[Folder, list[str], tuple[str, ...]]:
    """A folder, the data files in it in order of their paths (not hidden, not beginning with `_`, all of one
    format), and what is to be said of the choice."""
    location = _location(uri, FIELD)
    parent, name = _parent(location, settings)
    if name and parent.exists(name):
        return parent, [name], ()
    folder = Folder(location.uri, settings)
    shown = [
        entry.path
        for entry in folder.list()
        if not any(part.startswith(("_", ".")) for part in entry.path.split("/"))
    ]
    if not shown:
        raise DataError(f"no file or folder with data at {uri}", field=FIELD)
    named = {path: kind.shown.name for path in shown if (kind := named_format(path)) and not _is_cache(path)}
    # Documents in JSON beside data describe it: `dataset_info.json`, `state.json`.
    if len(set(named.values())) > 1:
        named = {path: kind for path, kind in named.items() if not path.lower().endswith(".json")}
    if not named:
        endings = ", ".join(ending for kind in formats() for ending in kind.shown.endings[:1])
        raise DataError(f"{uri} holds no .csv or .parquet file, nor another table ({endings})", field=FIELD)
    kinds = sorted(set(named.values()))
    if len(kinds) > 1:
        raise DataError(f"{uri} holds both {kinds[0]} and {kinds[1]} files; name one kind", field=FIELD)
    found = list(named)
    splits = sorted({path.split("/")[0] for path in found if "/" in path})
    notes: tuple[str, ...] = ()
    if _SPLITS in shown:
        notes = (f"{uri} has the splits {', '.join(splits)}, and all are read; name one to read it alone",)
    return folder, found, notes


def _is_cache(path: str) -> bool:
    """Whether Hugging Face's `datasets` keeps results of transforms there."""
    last = path.rpartition("/")[2]
    return last.startswith("cache-") and last.endswith(".arrow")


def partition_of(path: str) -> list[tuple[str, str | None]]:
    """Columns and values written in folder names, as in `year=2024/month=1/part.parquet`."""
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return [(unquote(key), None if value == _NO_VALUE else unquote(value)) for key, _, value in pairs]


def with_partition(part: Parsed, path: str) -> Parsed:
    """Values of folder names are text, and become numbers or dates as those of CSV do."""
    table, cells = part.table, set(part.cells)
    for key, value in partition_of(path):
        if key not in table.column_names:
            table = table.append_column(key, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
            cells.add(key)
    return Parsed(table=table, cells=frozenset(cells), notes=part.notes)


def _join(parts: list[Parsed], paths: list[str]) -> Parsed:
    """One table of all files, in the order of the first one's columns; cells where every file has cells."""
    first = parts[0].table.column_names
    for part, path in zip(parts, paths, strict=True):
        if set(part.table.column_names) != set(first):
            odd = sorted(set(part.table.column_names) ^ set(first))[0]
            raise DataError(
                f"{path} and {paths[0]} differ in columns ({odd!r} is in one of them)", field=FIELD
            )
    tables = [part.table.select(first) for part in parts]
    cells = frozenset.intersection(*(part.cells for part in parts))
    # A data frame's categories are a dictionary in one file and may be plain strings in the next.
    plain = [plain_table(table) for table in tables]
    try:
        table = pa.concat_tables(plain, promote_options="permissive")
    except pa.ArrowException as fault:
        raise DataError(
            f"the files have columns of different types ({redact(str(fault))[:120]})", field=FIELD
        ) from None
    return Parsed(table=attach(table, joined(tables)), cells=cells)
