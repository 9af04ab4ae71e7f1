"""`model.name: auto`: what is chosen for which rows and time, and that a model made of it says so and can be
made again."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthmill
from encoded import layout, settings
from synthmill.config import AUTO, Recipe, dump, parse_model
from synthmill.data.codecs.base import codec_class
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.data.readers.base import read_source, scan_source
from synthmill.errors import RecipeError
from synthmill.library.recipes import read_recipe
from synthmill.models.autoregressive import Autoregressive
from synthmill.models.base import build, model_class
from synthmill.runtime.prepare import prepare
from synthmill.training.choice import FAMILIES, choose
from synthmill.training.prepare import prepare_rows, resolve, scan_rows
from tables import customers, write_customers


def recipe(source: object, **training: object) -> Recipe:
    data = {"source": str(source), "target": "churned"}
    raw = {"name": "x", "data": data, "model": {"name": AUTO}, "training": training}
    return resolve(parse_model(Recipe, raw))


def wide(columns: int) -> MixedLayout:
    spans = tuple(DiscreteSpan(column=f"c{n}", role="category", width=20) for n in range(columns))
    return MixedLayout(discrete=spans, numeric=(), rows=2000)


def test_few_rows_and_little_time_are_for_trees() -> None:
    assert choose(layout(), 499, settings()).model.name == "forest"
    assert choose(layout(), 500, settings()).model.name == "autoregressive"
    assert choose(wide(300), 10**6, settings(max_epochs=300)).model.name == "autoregressive"
    hurried = choose(wide(300), 10**6, settings(max_epochs=300, max_seconds=60))
    assert hurried.model.name == "forest"
    assert "1,000,000 training rows and 300 columns" in hurried.why
    assert "training.max_seconds is 60" in hurried.why
    leaves = [choose(wide(300), rows, settings(max_epochs=300, max_seconds=1)) for rows in (1_999, 2_000)]
    assert [choice.model.config["least_rows"] for choice in leaves] == [10, 20]


def test_some_time_too_little_means_fewer_passes_as_many_as_fit() -> None:
    found = [
        choose(wide(100), 100_000, settings(max_epochs=300, max_seconds=seconds)).model
        for seconds in (100, 770, 850, 10_000)
    ]
    assert [model.name for model in found] == ["forest", "autoregressive", "autoregressive", "autoregressive"]
    epochs = [model.config["epochs"] for model in found[1:]]
    usual = Autoregressive.Config().epochs
    assert 0.7 * usual <= epochs[0] < epochs[1] <= epochs[2] == usual


@given(
    st.integers(1, 10**8),
    st.integers(1, 300),
    st.one_of(st.none(), st.floats(0.01, 1e6)),
    st.integers(1, 1000),
)
def test_every_choice_is_a_whole_configuration_in_one_line(
    rows: int, columns: int, seconds: float | None, epochs: int
) -> None:
    choice = choose(wide(columns), rows, settings(max_seconds=seconds, max_epochs=epochs))
    assert choice.model.name in FAMILIES
    assert "\n" not in choice.why
    assert choice.why.startswith(f"model.name auto: {choice.model.name}, ")
    build(choice.model.name, choice.model.config, wide(3))
    # But for what is left out of recipes where it is off.
    assert set(choice.model.config) == set(model_class(choice.model.name).Config().model_dump())


def test_families_read_one_encoding_as_rows_are_encoded_before_the_choice() -> None:
    assert len({model_class(name).encoding for name in FAMILIES}) == 1
    assert all(model_class(name).modalities == ("table",) for name in FAMILIES)
    assert codec_class(model_class(FAMILIES[0]).encoding).resolution.__class__.__name__ == "Resolution"


def test_the_resolved_recipe_names_what_was_chosen_and_makes_the_same_model() -> None:
    rows = customers(300)
    model = synthmill.fit(rows, target="churned", overrides={"training.threads": 1})
    config = model.artifact.config
    assert (model.recipe.model.name, config["model"]) == ("forest", "forest")
    assert config["choice"].startswith("model.name auto: forest, as 270 training rows and ")
    assert f"Chosen by {config['choice']}." in model.artifact.card
    # `auto` stands nowhere in it: another version that would choose otherwise trains the same.
    again = synthmill.fit(rows, model="forest", target="churned", overrides={"training.threads": 1})
    assert again.digest == model.digest
    assert dump(again.recipe) == dump(model.recipe)
    assert "choice" not in again.artifact.config
    assert read_recipe(model.recipe) == model.recipe


def test_the_choice_is_in_the_manifest(tmp_path: Path) -> None:
    model = synthmill.fit(customers(300), target="churned")
    version = model.save(str(tmp_path), name="people")
    assert version.manifest.details["choice"] == model.artifact.config["choice"]


def test_a_job_is_named_by_what_was_chosen(tmp_path: Path) -> None:
    source = write_customers(tmp_path / "customers.csv", rows=800)
    chosen = prepare(recipe(source), str(tmp_path / "store"))
    assert chosen.recipe.model.name == "autoregressive"
    named = chosen.recipe.model_copy()
    assert prepare(named, str(tmp_path / "store")).run_key == chosen.run_key
    assert [note for note in chosen.rows.notes if note.startswith("model.name auto: ")]


def test_a_source_that_is_scanned_is_chosen_for_by_all_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(customers(1_500), path)
    made = recipe(path)
    scanned = scan_rows(made, scan_source(made.data))
    whole = prepare_rows(made, read_source(made.data))
    assert scanned.choice is not None
    assert whole.choice is not None
    assert scanned.settled(made).model == whole.settled(made).model
    assert f"{scanned.train_rows:,} training rows" in scanned.choice.why


def test_what_auto_can_t_do_is_said_in_one_line() -> None:
    raw = {"name": "x", "data": {"source": "rows.csv"}, "model": {"name": AUTO, "config": {"epochs": 3}}}
    with pytest.raises(RecipeError, match=r"^model\.config: auto sets them; name a model"):
        resolve(parse_model(Recipe, raw))
    raw = {"name": "x", "data": {"source": "rows", "kind": "image"}, "model": {"name": AUTO}}
    with pytest.raises(RecipeError, match=r"^model\.name: auto chooses among models of tables; name one"):
        resolve(parse_model(Recipe, raw))


@pytest.mark.parametrize("name", ["a b", "\N{GRINNING FACE}", "`x`", "model"])
def test_odd_tables_are_chosen_for_and_learnt(name: str) -> None:
    table = pa.table(
        {
            name: [None] * 30 + [2**53 + 1 + i % 3 for i in range(570)],
            "flag": [i % 3 == 0 for i in range(600)],
            "same": [1] * 600,
        }
    )
    model = synthmill.fit(table, target=name, overrides={"training.max_steps": 3, "training.threads": 1})
    assert model.recipe.model.name == "autoregressive"
    assert model.sample(20, seed=1).column_names == table.column_names
