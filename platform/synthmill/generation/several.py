"""A model version of several tables, loaded and ready to sample a plan; needs no Ray."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.catalog.several import SeveralArtifact, read_several
from synthmill.catalog.store import Version
from synthmill.config import parse_model
from synthmill.data.relations.spec import FamiliesSpec
from synthmill.errors import ConditionError, did_you_mean
from synthmill.generation.compute import compute_class
from synthmill.generation.condition import Where
from synthmill.generation.families import Families, Whole
from synthmill.generation.family_plan import FamilyPlan
from synthmill.generation.generator import Generator


@dataclass(frozen=True)
class SeveralGenerators:
    """Networks and codecs of all tables."""

    spec: FamiliesSpec
    generators: dict[str, Generator]
    ref: str
    digest: str
    config: dict[str, Any]
    """The artifact's `tables.json`."""

    @classmethod
    def load(cls, version: Version) -> "SeveralGenerators":
        """Read and verify a model of several tables.

        Raises:
            IntegrityError: a file's bytes changed. StorageError: a model of one table.
        """
        return cls.of(read_several(version), ref=version.ref, digest=version.manifest.content_digest)

    @classmethod
    def of(cls, artifact: SeveralArtifact, *, ref: str, digest: str) -> "SeveralGenerators":
        """An artifact that need not be in a store."""
        spec = parse_model(FamiliesSpec, artifact.config["families"])
        generators = {
            name: Generator.of(one, ref=ref, digest=digest) for name, one in artifact.tables.items()
        }
        return cls(spec, generators, ref, digest, artifact.config)

    def families(self, plan: FamilyPlan, wholes: Mapping[str, Whole] | None = None) -> Families:
        """The rows of a plan; `wholes` as `Families` takes them.

        Raises:
            ConditionError: its conditions name a column or a value that a table does not have.
        """
        for table, texts in plan.where.items():
            names = self.spec.table(table).own
            where = Where.parse(texts)
            for clause in where.clauses:
                if clause.column not in names:
                    raise ConditionError(
                        f"{table!r} has no column {clause.column!r} that is no key"
                        f"{did_you_mean(clause.column, list(names))}",
                        field="--where",
                    )
            where.check(self.generators[table].codec)
        return Families(self.spec, self.generators, plan, wholes)

    def schema(self, name: str) -> pa.Schema:
        """The columns of a table as they are published."""
        table, kinds = self.spec.table(name), self.spec.table(name).schema_of_keys
        form = self.generators[name].codec.form.select(table.own)
        return pa.schema(
            [
                form.schema.field(column) if column in table.own else kinds.field(column)
                for column in table.columns
            ]
        )

    @property
    def compute_class(self) -> str:
        """Within which the bytes repeat; that of the first table's model stands for all."""
        return compute_class(next(iter(self.generators.values())).sampler)
