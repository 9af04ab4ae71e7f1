"""The last step of a training job: a trained model becomes the next version of its name."""

from collections.abc import Mapping
from typing import Any

from synthmill.catalog.artifact import write_artifact
from synthmill.catalog.manifest import Parent
from synthmill.catalog.store import Version
from synthmill.models.base import model_class
from synthmill.runtime.prepare import Prepared
from synthmill.training.artifact import Fitted, build_artifact


def publish(
    prepared: Prepared, model: Fitted, *, run_id: str, details: Mapping[str, Any] | None = None
) -> Version:
    """Write the artifact and commit its manifest; `details` say what else led to the model."""
    recipe, source = prepared.recipe, prepared.rows.source
    artifact = build_artifact(recipe, prepared.rows, model)
    parents = (
        Parent(kind="source", ref=source.uri, digest=source.sha256),
        Parent(kind="recipe", ref=recipe.name, digest=artifact.config["recipe_fingerprint"]),
    )
    # Claimed only now: a run that fails leaves no number behind.
    with prepared.store.begin("models", recipe.name, run_key=prepared.run_key, run_id=run_id) as draft:
        files = write_artifact(draft.folder, artifact)
        manifest = draft.manifest(
            files=files,
            parents=parents,
            seed=recipe.training.seed,
            contains_training_rows=model_class(recipe.model.name).copies_training_rows,
            details={
                "model": recipe.model.name,
                "training": model.summary,
                "notes": [*source.notes, *prepared.rows.codec.notes],
                **({"choice": artifact.config["choice"]} if "choice" in artifact.config else {}),
                **(details or {}),
            },
        )
        return draft.commit(manifest)
