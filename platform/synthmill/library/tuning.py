"""`synthmill.tune`: arguments of the library as a recipe, and rows in memory as a file that a search can come
back to."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.config import Recipe
from synthmill.library.frames import ArrowStream, content_sha256, to_table
from synthmill.library.recipes import Overrides, RecipeLike, as_words, read_task
from synthmill.runtime.tune import Tuned, tune
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
    words = [f"tune.{key}={json.dumps(value)}" for key, value in given.items()]
    if len(families) > 1:
        words.append(f"tune.models={json.dumps(list(families))}")
    task = read_task(
        data,
        target=target,
        model=families[0] if families else None,
        name=name,
        group=group,
        overrides=[*words, *as_words(overrides)],
    )
    recipe = task.recipe if task.frame is None else _written(task.recipe, task.frame, store)
    return tune(recipe, store, run_id=uuid.uuid4().hex)


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
