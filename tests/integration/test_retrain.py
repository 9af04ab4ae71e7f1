"""A recipe as a function of rows and a seed, which the full and the audit profile call as tasks."""

import pickle
from pathlib import Path

from integration.conftest import small_recipe
from synthmill.config import Recipe, dump, parse_model
from synthmill.data.readers.base import read_source
from synthmill.runtime.retrain import Retrain
from synthmill.training.prepare import resolve


def test_the_same_rows_and_seed_give_the_same_synthetic_rows(customers: Path) -> None:
    recipe = resolve(parse_model(Recipe, small_recipe(customers)))
    source = read_source(recipe.data)
    subset = source.table.slice(0, 150)
    retrain = pickle.loads(pickle.dumps(Retrain(dump(recipe), source.rules, max_seconds=3600)))
    first, again, other = retrain(subset, 1), retrain(subset, 1), retrain(subset, 2)
    assert first.num_rows == 500
    assert first.schema.names == source.table.schema.names
    assert first.equals(again)
    assert not first.equals(other)
