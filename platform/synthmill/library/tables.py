"""Several tables from Python: frames or a schema in, one model out, from which all tables are sampled
together."""

import json
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from typing import Any

import pyarrow as pa

from synthmill.catalog.provenance import AIGC_KEY, SOURCE_TYPE_KEY, aigc, produce_id, source_type
from synthmill.catalog.several import SeveralArtifact, publish_several, read_several, several_digest
from synthmill.catalog.store import Store, Version, check_name
from synthmill.config import DataConfig, StorageConfig, dump, fingerprint, parse_model
from synthmill.data.readers.base import Source, read_source
from synthmill.data.relations.database import Database, assemble
from synthmill.data.relations.discover import schema_at
from synthmill.data.relations.schema import TablesConfig, parse_tables_config
from synthmill.data.relations.spec import FamiliesSpec
from synthmill.data.schema import Rules
from synthmill.errors import RecipeError
from synthmill.generation.clauses import Given
from synthmill.generation.family_plan import plan_families
from synthmill.generation.several import SeveralGenerators
from synthmill.library.display import Bar
from synthmill.library.frames import ArrowStream, read_frame
from synthmill.library.model import SAMPLE_KEY, SEED_BITS
from synthmill.library.recipes import Overrides, Plain, as_words
from synthmill.library.training import device_of, processors
from synthmill.storage.formats import format_name
from synthmill.training.parallel import Single
from synthmill.training.several import as_artifact, trained
from synthmill.training.tables import plan_tables

TablesLike = str | PathLike[str] | Mapping[str, Plain] | TablesConfig
"""A schema file, a folder of files or a database, a schema's content, or a schema."""
DEFAULT_NAME = "tables"


@dataclass(frozen=True)
class TablesModel:
    """What `fit_tables` and `load_tables` return: models of all tables, and how tables hang together."""

    artifact: SeveralArtifact
    ref: str | None = None
    """`shop@1` for a model that is in a store."""
    digest: str = ""

    @classmethod
    def load(cls, version: Version) -> "TablesModel":
        """Read and verify a version of kind `models`.

        Raises:
            IntegrityError: a file's bytes changed. StorageError: a model of one table.
        """
        return cls(read_several(version), version.ref, version.manifest.content_digest)

    def sample(
        self,
        scale: float = 1.0,
        *,
        rows: int | Mapping[str, int] | None = None,
        where: Given | Iterable[Given] = (),
        seed: int | None = None,
    ) -> dict[str, pa.Table]:
        """All tables, with keys that fit together: `scale` times as many rows as the source had, or so many
        `rows` of the tables that hang on no other (a number where there is one of them, else by name), all
        of which meet `where`: `sample(where="customers.country=DE")`. Whatever hangs on them follows.

        With a seed, the same rows every time, and those of a published dataset with that seed.

        Raises:
            UserError: no rows, or more than keys have room for. ConditionError: a condition that names
            another table, no column or value of it, or is satisfied too rarely.
        """
        drawn = secrets.randbits(SEED_BITS) if seed is None else seed
        wanted = rows if isinstance(rows, Mapping) else {self._root(): rows} if rows is not None else {}
        plan = plan_families(self.families, scale=scale, rows=wanted, seed=drawn, where=where)
        tables = self.generators.families(plan).tables()
        told = {
            "format": format_name("sample", 1),
            "model": self.ref or self.name,
            "model_digest": self.digest,
            "seed": drawn,
            "plan": plan.model_dump(mode="json"),
        }
        label = {
            SOURCE_TYPE_KEY: source_type(mixed=False),
            AIGC_KEY: json.dumps(aigc(produce_id(fingerprint(told)))),
            SAMPLE_KEY: json.dumps(told, sort_keys=True),
        }
        return {
            name: table.replace_schema_metadata({**(table.schema.metadata or {}), **label})
            for name, table in tables.items()
        }

    def save(self, store: str, *, name: str | None = None, storage: StorageConfig | None = None) -> Version:
        """Publish as the next version of `name` (default: the model's own).

        Raises:
            RecipeError: a name that can't name a model. StorageError: the store can't be written.
        """
        target = Store(store, storage or self.config.storage)
        chosen = check_name(name or self.name, field="name")
        return publish_several(target, chosen, self.artifact, run_id=uuid.uuid4().hex)

    @property
    def name(self) -> str:
        """The name it is saved under."""
        return self.config.name

    @property
    def config(self) -> TablesConfig:
        """The schema, with all that was settled about keys."""
        return parse_model(TablesConfig, self.artifact.config["schema"])

    @property
    def families(self) -> FamiliesSpec:
        """Columns, keys and relations of each table."""
        return parse_model(FamiliesSpec, self.artifact.config["families"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed and decided."""
        return tuple(self.artifact.config["notes"])

    @cached_property
    def generators(self) -> SeveralGenerators:
        """Networks and codecs of all tables, for callers inside the package."""
        return SeveralGenerators.of(self.artifact, ref=self.ref or self.name, digest=self.digest)

    def _root(self) -> str:
        roots = self.families.roots
        if len(roots) > 1:
            raise RecipeError(
                f"{', '.join(roots)} all hang on no other table; say of which, as {{{roots[0]!r}: 100}}",
                field="rows",
            )
        return roots[0]

    def __repr__(self) -> str:
        tables = ", ".join(f"{table.name} ({table.rows:,} rows)" for table in self.families.tables)
        return f"<TablesModel {self.ref or self.name}: {tables}>"


def read_schema(data: TablesLike, overrides: Overrides = (), *, name: str | None = None) -> TablesConfig:
    """The schema that `data` is; of a folder or a database, with all tables in it.

    Raises:
        NotFoundError, RecipeError: as `load_tables_config`. DataError: nothing there that is a table.
    """
    words = tuple(as_words(overrides)) + ((f"name={json.dumps(name)}",) if name else ())
    if isinstance(data, str | PathLike):
        return schema_at(fspath(data), words)
    raw = dump(data) if isinstance(data, TablesConfig) else dict(json.loads(json.dumps(data)))
    return parse_tables_config(raw, words, name=DEFAULT_NAME)


def read_database(
    data: TablesLike | Mapping[str, ArrowStream],
    overrides: Overrides = (),
    *,
    schema: TablesLike | None = None,
    name: str | None = None,
    store: Store | None = None,
) -> Database:
    """The tables, read and checked.

    Raises:
        DataError: whatever is wrong with them, all faults at once.
    """
    frames: dict[str, ArrowStream] = {}
    if isinstance(data, Mapping) and data and all(isinstance(one, ArrowStream) for one in data.values()):
        frames = {str(key): frame for key, frame in data.items() if isinstance(frame, ArrowStream)}
        config = _of_frames(frames, schema, as_words(overrides), name)
    else:
        if schema is not None:
            raise RecipeError("goes with frames; a schema file names its sources itself", field="schema")
        config = read_schema(data, overrides, name=name)  # type: ignore[arg-type]

    def read(table: str, data: DataConfig, rules: Rules) -> Source:
        if table in frames:
            return read_frame(frames[table], data, field="data", rules=rules)
        return read_source(data, store=store, rules=rules)

    return assemble(config, read)


def train_tables(
    base: Database, *, progress: bool | None = None, say: Callable[[str], None] | None = None
) -> SeveralArtifact:
    """Train the model of every table, parents first, in this process."""
    tasks = plan_tables(base)
    artifacts = {}
    for number, task in enumerate(tasks):
        if say is not None:
            say(f"training {task.spec.name} ({number + 1} of {len(tasks)}): {task.rows.train_rows:,} rows")
        with Bar(1, progress) as bar:
            artifacts[task.spec.name] = trained(
                task, parallel=Single(device_of(task.recipe)), reporter=bar, most_threads=processors()
            )
    return as_artifact(base, tasks, artifacts)


def _of_frames(
    frames: Mapping[str, ArrowStream], schema: TablesLike | None, words: list[str], name: str | None
) -> TablesConfig:
    """The schema of frames: what it says of tables it names, and nothing of the others."""
    words += [f"name={json.dumps(name)}"] if name else []
    if isinstance(schema, str | PathLike):
        from synthmill.config import read_mapping

        raw: dict[str, Any] = read_mapping(fspath(schema))
    else:
        raw = dump(schema) if isinstance(schema, TablesConfig) else dict(json.loads(json.dumps(schema or {})))
    stated = raw.get("tables") or {}
    unknown = [table for table in stated if table not in frames]
    if unknown:
        raise RecipeError(f"has a table {unknown[0]!r}, of which there is no frame", field="schema")
    raw["tables"] = {table: stated.get(table) or {} for table in frames}
    # Whoever has rows in memory holds out their own.
    raw.setdefault("split", {"holdout": 0.0})
    return parse_tables_config(raw, tuple(words), name=DEFAULT_NAME)


def fit_tables(
    data: TablesLike | Mapping[str, ArrowStream],
    *,
    schema: TablesLike | None,
    name: str | None,
    overrides: Overrides,
    progress: bool | None,
) -> TablesModel:
    """As `synthmill.fit_tables`."""
    base = read_database(data, overrides, schema=schema, name=name)
    artifact = train_tables(base, progress=progress)
    return TablesModel(artifact, digest=several_digest(artifact))
