"""`train --inspect`: what each column of a recipe's source is and becomes, before anything is trained."""

from typing import Any

from synthmill.catalog.store import Store
from synthmill.config import Recipe
from synthmill.data.readers.base import inspect_source
from synthmill.data.scan.choice import scan_if_large
from synthmill.runtime.progress import say
from synthmill.training.prepare import resolve


def inspected(recipe: Recipe, store: str, *, as_json: bool) -> dict[str, Any]:
    """Print the columns; with `as_json` they are in the result, with a schema file that states the same."""
    recipe = resolve(recipe)
    # Only a dataset of the catalog needs the store.
    root = Store(store, recipe.storage) if recipe.data.source.startswith("dataset://") else None
    scan = scan_if_large(recipe.data, store=root)
    seen = inspect_source(recipe.data, store=root) if scan is None else scan.inspect()
    if as_json:
        return {"inspection": seen.to_json(), "schema": seen.to_schema()}
    say(seen.to_text())
    return {"inspected": True, "columns": len(seen.columns), "faults": len(seen.faults)}
