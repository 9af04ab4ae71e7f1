"""Train on Ray: the driver prepares and publishes, workers run the one loop.

A run is named by what determines it, so the same command after a crash resumes from its checkpoints.
What imports torch is imported late here: Ray takes seconds to start on this machine, and torch and the source
are read meanwhile.
"""

from typing import TYPE_CHECKING

from synthmill import registry
from synthmill.config import AUTO, Recipe
from synthmill.errors import NotFoundError, did_you_mean
from synthmill.runtime import cluster
from synthmill.runtime.progress import say

if TYPE_CHECKING:
    from synthmill.catalog.store import Version
    from synthmill.runtime.prepare import Prepared, Unscanned


def train(recipe: Recipe, store_uri: str, *, run_id: str) -> "Version":
    """Train `recipe` and publish the model as the next version of its name.

    Raises:
        UserError: anything the user can mend, before a step is taken.
        TrainingError: the run diverged, or lost its workers too often; checkpoints stay for the next attempt.
    """
    known = registry.names("models")
    if recipe.model.name not in (AUTO, *known):
        # The commonest mistake; it need not wait for Ray.
        hint = did_you_mean(recipe.model.name, [*known, AUTO])
        raise NotFoundError(f"no model named {recipe.model.name!r}{hint}", field="model.name")

    def begun() -> "Prepared | Unscanned":
        from synthmill.runtime.prepare import begin

        return begin(recipe, store_uri)

    with cluster.session_beside(begun) as beginning:
        from synthmill.runtime.encode import SHARDS
        from synthmill.runtime.fit import Crew, fit
        from synthmill.runtime.prepare import Prepared
        from synthmill.runtime.publish import publish
        from synthmill.runtime.scan_parts import ScanRunner

        # The worker imports torch while the source is still being read.
        crew = Crew(recipe.training)
        prepared = beginning.result()
        if not isinstance(prepared, Prepared):
            # Until there are rows to train on, its CPUs go over the source.
            crew.dismiss_first()
            prepared = prepared.scanned(ScanRunner())
        _introduce(prepared)
        with prepared.store.begin_run(prepared.run_name, run_key=prepared.run_key, run_id=run_id) as run:
            model = fit(prepared, run.folder, crew)
            run.check()
            version = publish(prepared, model, run_id=run_id)
            # Resuming a run that is published would publish it again.
            run.folder.delete_tree("checkpoints")
            # Encoded rows are as private as the source, and of no use any more.
            run.folder.delete_tree(SHARDS)
    return version


def _introduce(prepared: "Prepared") -> None:
    """What a person should know before the wait: notes, and what becomes of each column."""
    source, counts = prepared.rows.source, prepared.rows.tables.split.counts
    for note in prepared.rows.notes:
        say(note)
    seen = prepared.rows.codec.inspect(source.uri)
    if seen is not None:
        say(seen.to_text())
    shares = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    say(f"{source.uri}: {prepared.rows.num_rows:,} rows, {shares}")
    cluster.warn_of_local(prepared.store.root)
