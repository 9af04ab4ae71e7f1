"""What a caller of the library hands over, as a recipe and the rows it is about."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias, Union

from synthmill.config import (
    AUTO,
    Recipe,
    apply_override,
    dump,
    load_recipe,
    name_of_source,
    parse_stated,
    shipped_recipes,
)
from synthmill.errors import RecipeError
from synthmill.library.frames import MEMORY, ArrowStream

Plain: TypeAlias = Union[bool, int, float, str, Sequence["Plain"], Mapping[str, "Plain"], None]  # noqa: UP007
"""What YAML and JSON can hold."""
Overrides: TypeAlias = Sequence[str] | Mapping[str, Plain]
"""`["training.seed=3"]` as on the command line, or `{"training.seed": 3}`."""
RecipeLike: TypeAlias = str | PathLike[str] | Mapping[str, Plain] | Recipe
"""A path, the name of a shipped recipe, a recipe's content, or a recipe."""

DEFAULT_NAME = "model"
_RECIPE_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Task:
    """A recipe, and the rows in memory that it is about; None: what its `data.source` names."""

    recipe: Recipe
    frame: ArrowStream | None = None


def read_task(
    data: ArrowStream | RecipeLike,
    *,
    target: str | None,
    model: str | None,
    name: str | None,
    group: str | None,
    overrides: Overrides,
    group_by: str | Sequence[str] | None = None,
    order_by: str | None = None,
) -> Task:
    """The task that the arguments of `fit` describe; overrides win over everything else.

    Raises:
        RecipeError: an unknown key, a wrong type; the message names the key.
    """
    given = {
        "name": name,
        "data.target": target,
        "data.split.group": group,
        "data.group_by": group_by if group_by is None or isinstance(group_by, str) else list(group_by),
        "data.order_by": order_by,
        "model.name": model,
    }
    words = [f"{key}={_as_yaml(value)}" for key, value in given.items() if value is not None]
    words += as_words(overrides)
    if isinstance(data, Recipe | Mapping):
        return Task(read_recipe(data, words))
    if isinstance(data, str | PathLike):
        if names_recipe(data):
            return Task(read_recipe(data, words))
        return Task(_with(_fresh(fspath(data), name_of_source(fspath(data)), {}), words))
    # Whoever has rows in memory holds out their own; from a file, evaluation needs a holdout to open later.
    raw = _fresh(MEMORY, DEFAULT_NAME, {"holdout": 0.0})
    return Task(_with(raw, words), data)


def names_recipe(path: str | PathLike[str]) -> bool:
    """Whether a path or name is that of a recipe, rather than of rows; a file of one's own comes first."""
    text = fspath(path)
    shipped = text in shipped_recipes() and not Path(text).exists()
    return shipped or text.lower().endswith(_RECIPE_ENDINGS)


def read_recipe(recipe: RecipeLike, overrides: Overrides = ()) -> Recipe:
    """The recipe with every override applied, whatever form it came in.

    Raises:
        NotFoundError: neither a file nor a shipped recipe.
        RecipeError: an unknown key, a wrong type; the message names the key.
    """
    if isinstance(recipe, str | PathLike):
        return load_recipe(fspath(recipe), tuple(as_words(overrides)))
    return _with(dump(recipe) if isinstance(recipe, Recipe) else _plain(recipe), as_words(overrides))


def as_words(overrides: Overrides) -> list[str]:
    """Overrides as `key=value` words; JSON is YAML, so a value survives the way through text."""
    if isinstance(overrides, str):
        raise RecipeError(f"expected a list of key=value or a mapping, got {overrides!r}", field="overrides")
    if not isinstance(overrides, Mapping):
        return list(overrides)
    try:
        words = []
        for key, value in overrides.items():
            # A section is completed, not replaced: {"data": {"trim": False}} says nothing of the source.
            if isinstance(value, Mapping) and "." not in key:
                words += [f"{key}.{inner}={_as_yaml(item)}" for inner, item in value.items()]
            else:
                words.append(f"{key}={_as_yaml(value)}")
        return words
    except TypeError as fault:
        raise RecipeError(str(fault), field="overrides") from None


def _as_yaml(value: object) -> str:
    """JSON that YAML reads as the same: it knows no pairs of surrogates, which JSON writes emoji as."""
    return json.dumps(value, ensure_ascii=False)


def _with(raw: dict[str, Any], words: list[str]) -> Recipe:
    for word in words:
        apply_override(raw, word)
    raw.pop("format", None)
    return parse_stated(raw, tuple(words))


def _plain(recipe: Mapping[str, Plain]) -> dict[str, Any]:
    """A copy that overrides may change, whatever mappings the caller used."""
    try:
        return dict(json.loads(json.dumps(recipe)))
    except TypeError as fault:
        raise RecipeError(f"a recipe holds plain values alone: {fault}", field="recipe") from None


def _fresh(source: str, name: str, split: dict[str, float]) -> dict[str, Any]:
    return {
        "name": name,
        "data": {"source": source, **({"split": split} if split else {})},
        "model": {"name": AUTO},
    }
