"""Recipes: how a file is read and overridden, and which one line each fault gets."""

from pathlib import Path

import pytest

from synthmill.config import TrainingConfig, dump, load_recipe, parse_model
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


def test_a_recipe_of_a_later_format(tmp_path: Path) -> None:
    text = "format: synthmill.recipe/{}\nname: a\ndata: {{source: x}}\nmodel: {{name: tvae}}\n"
    assert load_recipe(recipe(tmp_path, text.format(1))).name == "a"
    with pytest.raises(RecipeError, match=r"^format: 'synthmill\.recipe/2' can't be read"):
        load_recipe(recipe(tmp_path, text.format(2)))


def test_a_recipe_that_can_t_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(tmp_path, "name: a\n")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(RecipeError, match=r"^recipe: .*r\.yaml can't be read: Permission denied$"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"^recipe: x+ can't be read: File name too long$"):
        load_recipe("x" * 300)


def test_a_fault_names_the_key_and_not_the_member_of_its_type(tmp_path: Path) -> None:
    path = recipe(tmp_path, "name: a\ndata: {source: x}\nmodel: {name: tvae}\n")
    with pytest.raises(RecipeError, match=r"^data\.image\.size: input should be a valid tuple, got \"big\"$"):
        load_recipe(path, ("data.image.size=big",))
    with pytest.raises(RecipeError, match=r"^name: input should be a valid string, got \{\}$"):
        load_recipe(path, ("name={2024-01-01: x}",))


def test_workers_are_a_number_or_a_range() -> None:
    def training(workers: object) -> TrainingConfig:
        return parse_model(TrainingConfig, {"workers": workers})

    ranged = training(" 2 .. 8")
    assert (ranged.workers, ranged.least_workers, ranged.most_workers) == ("2..8", 2, 8)
    for given in (3, "3", 3.0, "3..3"):
        one = training(given)
        assert (one.workers, one.least_workers, one.most_workers) == (3, 3, 3)
    for wrong in (0, -1, True, "8..2", "0..2", "2..", "two", None, 1.5):
        with pytest.raises(
            RecipeError, match=r"^workers: input should be an integer .* a range such as 2\.\.8"
        ):
            training(wrong)
    # What came later leaves the fingerprints of recipes alone that don't use it.
    assert "resize_seconds" not in dump(training(3))
