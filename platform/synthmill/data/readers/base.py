"""Where rows come from: one reader a kind of data, found by its file name; each makes one Arrow table of
whatever `data.source` names."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import pyarrow as pa

from synthmill import registry
from synthmill.catalog.store import Store
from synthmill.config import DataConfig, StorageConfig
from synthmill.data.files import read_text
from synthmill.data.formats.base import WholeError
from synthmill.data.inspection import ColumnSeen, Inspection
from synthmill.data.scan.scan import Scan
from synthmill.data.schema import Rules, parse_rules

FOLDER = "data/readers"
FIELD = "data.source"
DEFAULT_KIND = "table"
"""What a source is taken for where neither the recipe nor a model says what it holds."""


@dataclass(frozen=True)
class Source:
    """A table with at least two rows, every column of a type that can be learnt."""

    table: pa.Table
    sha256: str
    """Of the source's bytes (files in order of their paths), or of the content of a bundled table."""
    uri: str
    rules: Rules = field(default_factory=dict)
    """What the schema file states, by column."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read, such as files that were skipped."""


class Reader(ABC):
    """Reads the sources of one kind of data."""

    @abstractmethod
    def read(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Source:
        """Read, type and check what `data.source` names. `rules` are what the schema file states, by column;
        `store` resolves `dataset://NAME`.

        Raises:
            DataError: one line that names the field and the fix.
        """

    def scan(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Scan:
        """The rows that `read` would load, to be gone over in blocks; none of them is read yet.

        Raises:
            WholeError: what `data.source` names can only be read whole; says why.
            DataError: as `read`.
        """
        raise WholeError(f"sources of this kind are read whole, {config.source} among them")

    def weigh(self, config: DataConfig, *, store: Store | None) -> int | None:
        """About how many bytes training would hold of a source that can only be read whole; None: nobody
        knows before it is read."""
        return None

    def inspect(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Inspection:
        """What the source holds, with the faults that `read` would raise; by default its columns' types."""
        table = self.read(config, store=store, rules=rules).table
        columns = tuple(
            ColumnSeen(field.name, "", str(field.type), None, table[field.name].null_count, "", "", None, {})
            for field in table.schema
        )
        return Inspection(config.source, table.num_rows, columns)


def inspect_source(config: DataConfig, *, store: Store | None = None) -> Inspection:
    """The columns of a recipe's source, those that a person must decide about among them.

    Raises:
        DataError: a source that can't be read at all.
    """
    settings = store.root.settings if store is not None else None
    return _reader(config).inspect(config, store=store, rules=load_rules(config, settings))


def read_source(config: DataConfig, *, store: Store | None = None, rules: Rules | None = None) -> Source:
    """The source of a recipe, whatever kind of data it holds.

    `rules` are what the schema file stated when a model was trained, whatever it states now; None: read the
    file.

    Raises:
        DataError: what the kind's reader refuses.
        NotFoundError: an unknown `data.kind`.
    """
    settings = store.root.settings if store is not None else None
    rules = load_rules(config, settings) if rules is None else rules
    return _reader(config).read(config, store=store, rules=rules)


def scan_source(config: DataConfig, *, store: Store | None = None, rules: Rules | None = None) -> Scan:
    """The source of a recipe, to be gone over in blocks; as `read_source` otherwise.

    Raises:
        WholeError: it can only be read whole; says why.
        DataError: what the kind's reader refuses.
    """
    settings = store.root.settings if store is not None else None
    rules = load_rules(config, settings) if rules is None else rules
    return _reader(config).scan(config, store=store, rules=rules)


def weigh_source(config: DataConfig, *, store: Store | None = None) -> int | None:
    """About how many bytes training would hold of a source that can only be read whole; None: not known."""
    return _reader(config).weigh(config, store=store)


def _reader(config: DataConfig) -> Reader:
    kind = DEFAULT_KIND if config.kind == "auto" else config.kind
    reader: Reader = registry.load(FOLDER, kind, Reader, field="data.kind")()
    return reader


def load_rules(config: DataConfig, settings: StorageConfig | None = None) -> Rules:
    """The rules in `data.schema`, by column; none without a schema file."""
    if config.schema_file is None:
        return {}
    text = read_text(config.schema_file, settings or StorageConfig(), field="data.schema")
    return parse_rules(text, name=config.schema_file.rstrip("/").rpartition("/")[2])
