"""The five verbs from a notebook, with the same results as the jobs.

>>> from synthmill import api
>>> model = api.train("demo", store="store")                       # doctest: +SKIP
>>> rows = api.load("breast-cancer", store="store").sample(1000, seed=7)   # doctest: +SKIP
"""

import uuid
from typing import Any

from synthmill.catalog.store import Store, Version
from synthmill.config import Recipe, StorageConfig, load_recipe, parse_model
from synthmill.generation.generator import Generator

DEFAULT_STORE = "store"


def train(
    recipe: str | dict[str, Any] | Recipe, *, store: str = DEFAULT_STORE, overrides: tuple[str, ...] = ()
) -> Version:
    """Train a recipe (a path, a shipped name, its content, or a `Recipe`) and publish the model."""
    from synthmill.runtime.train import train as run

    if isinstance(recipe, str):
        recipe = load_recipe(recipe, overrides)
    elif isinstance(recipe, dict):
        recipe = parse_model(Recipe, recipe)
    return run(recipe, store, run_id=uuid.uuid4().hex)


def load(ref: str, *, store: str = DEFAULT_STORE, storage: StorageConfig | None = None) -> Generator:
    """A trained model, verified and ready to `.sample(1000, where="income=>50K", seed=7) -> pyarrow.Table`.
    Needs no Ray.

    Raises:
        NotFoundError: no such model.
        IntegrityError: a file of the artifact changed.
    """
    return Generator.load(Store(store, storage or StorageConfig()).resolve("models", ref, field="model"))


def augment(model: str, *, rows: int, dataset: str, store: str = DEFAULT_STORE, **options: Any) -> Version:
    """Publish a synthetic dataset; `options` are the fields of `runtime.augment.AugmentRequest`."""
    from synthmill.runtime.augment import AugmentRequest
    from synthmill.runtime.augment import augment as run

    return run(
        AugmentRequest(model=model, rows=rows, dataset=dataset, **options), store, run_id=uuid.uuid4().hex
    ).version


def evaluate(dataset: str, *, store: str = DEFAULT_STORE, **options: Any) -> Any:
    """Evaluate a published dataset; `options` are the fields of `runtime.evaluate.EvaluateRequest`. Returns
    the stored report."""
    from synthmill.runtime.evaluate import EvaluateRequest
    from synthmill.runtime.evaluate import evaluate as run

    return run(EvaluateRequest(dataset=dataset, **options), store, run_id=uuid.uuid4().hex)
