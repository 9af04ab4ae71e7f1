"""A trained model as an artifact: all that sampling needs, how it came about, and no training row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from synthmill.catalog.artifact import Artifact
from synthmill.config import AUTO, Recipe, dump, fingerprint
from synthmill.training.card import model_card
from synthmill.training.loop import Outcome
from synthmill.training.prepare import Rows


@dataclass(frozen=True)
class Fitted:
    """What is left of a run once its process is gone."""

    weights: Mapping[str, Tensor]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    """JSON data: `steps`, `seconds`, `quality` (of the published weights), `threads`, `precision`,
    `workers`; of models that train by steps `ended` (why) and `patience_checks`."""


def fitted(outcome: Outcome, *, workers: int = 1) -> Fitted:
    """An outcome in the form that artifacts keep."""
    summary: dict[str, Any] = {
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "quality": outcome.best,
        "threads": outcome.threads,
        "precision": outcome.precision,
        "workers": workers,
    }
    if outcome.ended:
        summary |= {"ended": outcome.ended, "patience_checks": outcome.patience_checks}
    if outcome.interrupted:
        summary["interrupted"] = True
    return Fitted(outcome.state_dict, outcome.history, summary)


def build_artifact(recipe: Recipe, rows: Rows, model: Fitted) -> Artifact:
    """The artifact of a resolved recipe, the rows it was trained on and what training left."""
    assert recipe.model.name != AUTO, "settled by the rows"
    codec_json, codec_tensors = rows.codec.to_files()
    plain = dump(recipe)
    source = rows.source
    # What sampling and evaluating need, so that neither reads the recipe's file or the run.
    config = {
        "format": "synthmill.artifact/1",
        "model": recipe.model.name,
        "model_config": plain["model"]["config"],
        "layout": dump(rows.codec.layout),
        "recipe": plain,
        "recipe_fingerprint": fingerprint(plain),
        "source": {"uri": source.uri, "sha256": source.sha256, "rows": rows.num_rows},
        "rules": {name: dump(rule) for name, rule in source.rules.items()},
        "split": dump(rows.tables.split),
        "training": model.summary,
        "notes": [*source.notes, *rows.codec.notes],
        **({"choice": rows.choice.why} if rows.choice is not None else {}),
        "profile": rows.summary(recipe),
        "compute_dtype": "float32",
    }
    return Artifact(
        config=config,
        weights=model.weights,
        codec=codec_json,
        codec_tensors=codec_tensors,
        history=model.history,
        card=model_card(recipe, config),
    )
