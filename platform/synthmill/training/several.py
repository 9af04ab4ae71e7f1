"""Several tables trained one by one, and what comes of it as one artifact. Knows no cluster."""

from collections.abc import Mapping, Sequence
from typing import Any

from synthmill.catalog.artifact import Artifact
from synthmill.catalog.several import SeveralArtifact
from synthmill.config import dump
from synthmill.data.relations.database import Database
from synthmill.data.relations.schema import ForeignKey
from synthmill.training.artifact import Fitted, build_artifact, fitted
from synthmill.training.fit import fit
from synthmill.training.parallel import Parallel
from synthmill.training.reporter import Reporter
from synthmill.training.tables import Task, families_of
from synthmill.training.tables_card import tables_card


def trained(task: Task, *, parallel: Parallel, reporter: Reporter, most_threads: int) -> Artifact:
    """One table's model, trained in this process.

    Raises:
        TrainingError: the run diverged.
    """
    return build_artifact(
        task.recipe,
        task.rows,
        train_one(task, parallel=parallel, reporter=reporter, most_threads=most_threads),
    )


def train_one(task: Task, *, parallel: Parallel, reporter: Reporter, most_threads: int) -> Fitted:
    """What is left of the run."""
    rows = task.rows
    # Without the column of families, which was there for the codec to count by.
    columns = rows.codec.typed_schema.names
    outcome = fit(
        task.recipe,
        rows.tables.train.select(columns),
        rows.tables.validation.select(columns),
        rows.codec,
        parallel=parallel,
        reporter=reporter,
        keep_interrupted=True,
        most_threads=most_threads,
    )
    return fitted(outcome)


def as_artifact(base: Database, tasks: Sequence[Task], artifacts: Mapping[str, Artifact]) -> SeveralArtifact:
    """All that sampling and evaluating need, and how it came about."""
    notes = [
        *base.notes,
        *(f"{name}: {note}" for name, source in base.sources.items() for note in source.notes),
    ]
    families = families_of(tasks)
    settled = {
        name: table.model_copy(
            update={
                "key": base.keys[name],
                "foreign_keys": tuple(
                    ForeignKey(columns=one.columns, table=one.parent) for one in base.of(name)
                ),
            }
        )
        for name, table in base.config.tables.items()
    }
    config: dict[str, Any] = {
        "format": "synthmill.several/1",
        "schema": dump(base.config.model_copy(update={"tables": settled})),
        "families": dump(families),
        "sources": {
            name: {"uri": source.uri, "sha256": source.sha256, "rows": source.table.num_rows}
            for name, source in base.sources.items()
        },
        "notes": notes,
    }
    return SeveralArtifact(config=config, tables=dict(artifacts), card=tables_card(base, tasks, notes))
