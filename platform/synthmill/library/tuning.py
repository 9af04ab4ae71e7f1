"""`synthmill.tune`: arguments of the library as a recipe, and rows in memory as a file that a search can come
back to."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.config import AUTO, Recipe
from synthmill.errors import RecipeError
from synthmill.library.frames import ArrowStream, content_sha256, to_table
from synthmill.library.recipes import Overrides, RecipeLike, as_words, read_task
from synthmill.runtime.tune import Tuned, check_models, tune
from synthmill.runtime.tune_commands import seconds_of
from synthmill.storage.folder import Folder


def tune_task(
    data: ArrowStream | RecipeLike,
    *,
    target: str | None,
    model: str | Sequence[str] | None,
    name: str | None,
    group: str | None,
    store: str,
    settings: Mapping[str, Any],
    overrides: Overrides,
) -> Tuned:
    """Run the search that the arguments describe."""
    families = (model,) if isinstance(model, str) else tuple(model or ())
    given = {key: value for key, value in settings.items() if value is not None}
    if isinstance(given.get("budget_seconds"), str):
        given["budget_seconds"] = seconds_of(given["budget_seconds"], "time_budget")
    if families:
        # Said even for one: a recipe's own `tune.models` would else win over what the caller names.
        # An open recipe names no families: all that could be chosen is searched.
        given["models"] = [] if families == (AUTO,) else list(families)
    words = [f"tune.{key}={_in_json(key, value)}" for key, value in given.items()]
    task = read_task(
        data,
        target=target,
        model=families[0] if families else None,
        name=name,
        group=group,
        overrides=[*words, *as_words(overrides)],
    )
    # Before rows are written to the store.
    check_models(task.recipe)
    recipe = task.recipe if task.frame is None else _written(task.recipe, task.frame, store)
    return tune(recipe, store, run_id=uuid.uuid4().hex)


def _in_json(name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError as fault:
        raise RecipeError(f"takes plain values alone: {fault}", field=name) from None


def _written(recipe: Recipe, frame: ArrowStream, store: str) -> Recipe:
    """The recipe about the rows as a Parquet file in the store: trials run elsewhere, and the same call with
    the same rows must find its search again."""
    table = to_table(frame, field="data")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    folder = Folder(store, recipe.storage).child("sources")
    file = f"{recipe.name}-{content_sha256(table)[:16]}.parquet"
    folder.write_bytes(file, sink.getvalue().to_pybytes())
    data = recipe.data.model_copy(update={"source": folder.uri_of(file)})
    return recipe.model_copy(update={"data": data})
