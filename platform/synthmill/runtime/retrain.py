"""A recipe as a function of rows and a seed: what figures that retrain the generator (few rows, shadow
models) run as Ray tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.config import Recipe, parse_model
from synthmill.data.codecs.constrained import fit_codec
from synthmill.data.schema import ColumnRule
from synthmill.generation.generator import Generator
from synthmill.models.base import build, model_class
from synthmill.training.fit import fit
from synthmill.training.parallel import Single
from synthmill.training.reporter import Silent

LEAST_ROWS = 500


@dataclass(frozen=True)
class Retrain:
    """Trains the recipe's model afresh on a subset, in this process with one thread, and samples from it.
    Picklable."""

    recipe: Mapping[str, Any]
    rules: Mapping[str, ColumnRule]
    max_seconds: float | None
    """Time for one training, if the recipe's own limit is not lower."""

    def __call__(self, subset: pa.Table, seed: int) -> pa.Table:
        """About as many rows as `subset` has, at least 500. Codec and model see nothing but the subset."""
        recipe = parse_model(Recipe, self.recipe)
        # Tasks run side by side, one CPU each, so more threads or workers would only compete.
        limits = [limit for limit in (recipe.training.max_seconds, self.max_seconds) if limit is not None]
        changed = {"seed": seed, "threads": 1, "workers": 1, "max_seconds": min(limits) if limits else None}
        recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=changed)})
        # A class that is frequent in the source may be rare in a part of it.
        data = recipe.data.model_copy(update={"rare_target": recipe.data.rare_target or "fold"})
        codec = fit_codec(model_class(recipe.model.name).encoding, subset, data, self.rules)
        outcome = fit(recipe, subset, subset.slice(0, 0), codec, parallel=Single(), reporter=Silent())
        model = build(recipe.model.name, recipe.model.config, codec.layout)
        # The published weights: the loop's model has the last ones.
        model.load_state_dict(outcome.state_dict)
        model.eval()
        generator = Generator(model, codec, ref=recipe.name, digest="", config={})
        return codec.read(generator.sample(max(LEAST_ROWS, subset.num_rows), seed=seed))
