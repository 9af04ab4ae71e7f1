"""Recipes: how a file is read and overridden, and which one line each fault gets."""

from pathlib import Path

import pytest

from synthmill.config import TrainingConfig, load_recipe
from synthmill.errors import RecipeError


def recipe(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_section_left_empty_counts_as_left_out(tmp_path: Path) -> None:
    path = recipe(tmp_path, "name: a\ndata:\nmodel: {name: tvae}\ntraining:\ntune:\n")
    loaded = load_recipe(path, ("data.source=x.csv", "data.split.group=patient"))
    assert (loaded.data.source, loaded.data.split.group, loaded.training) == (
        "x.csv",
        "patient",
        TrainingConfig(),
    )
    with pytest.raises(RecipeError, match=r"^data: is required$"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"^trainig: unknown key; did you mean 'training'"):
        load_recipe(recipe(tmp_path, "name: a\ndata: {source: x}\nmodel: {name: tvae}\ntrainig:\n"))


def test_a_value_takes_no_keys(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^--set name\.first: 'name' holds a value, not keys$"):
        load_recipe(recipe(tmp_path, "name: a\n"), ("name.first=x",))


def test_a_recipe_that_is_not_utf8(tmp_path: Path) -> None:
    assert (
        load_recipe(recipe(tmp_path, "name: a # \u00e9\ndata: {source: x}\nmodel: {name: tvae}\n")).name
        == "a"
    )
    path = recipe(tmp_path, b"name: a # \xe9\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"recipe: {path} is not UTF-8; save it as UTF-8"
