"""Training under Ray Train: a model, its card and history, and nothing of the rows it must not have seen."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from customers import write_customers
from integration.conftest import small_recipe
from synthmill import api
from synthmill.catalog.store import Version
from synthmill.config import Recipe, parse_model
from synthmill.errors import IntegrityError, NotFoundError, RecipeError, ResourceError, UserError
from synthmill.runtime.prepare import prepare


def test_a_trained_model_has_every_file_of_the_artifact(trained: Version) -> None:
    files = {entry.path for entry in trained.manifest.files}
    assert files == {
        "config.json",
        "weights.safetensors",
        "codec.json",
        "codec.safetensors",
        "history.jsonl",
        "card.md",
    }
    history = [json.loads(line) for line in (local(trained) / "history.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 40
    assert history[-1]["quality"]["score"] > 0.3


def test_a_store_whose_path_needs_quoting(local_ray: None, customers: Path, tmp_path: Path) -> None:
    store = tmp_path / "my store, 100% & more"
    version = api.train(small_recipe(customers, max_steps=5), store=str(store))
    assert [path.name for path in tmp_path.iterdir()] == [store.name]
    rows = api.augment(version.ref, rows=100, dataset="out", store=str(store))
    assert rows.folder.local_path == store / "datasets" / "out" / "1"
    assert len(list(rows.folder.local_path.glob("part-*.parquet"))) == 1


def test_a_schema_file_that_changes_later_names_another_run_and_leaves_the_old_model_as_it_was(
    local_ray: None, tmp_path: Path
) -> None:
    source, schema = tmp_path / "source.csv", tmp_path / "schema.yaml"
    source.write_text(
        "note,churned,x\n" + "".join(f"{i % 9},{'no' if i % 5 else 'yes'},{i % 7}\n" for i in range(90))
    )
    recipe = {
        "name": "m",
        "data": {"source": str(source), "schema": str(schema)},
        "model": {"name": "marginals"},
    }
    keys = []
    for text in (
        '{"columns": {"churned": {"categories": ["no", "yes"]}}}',
        '{"columns": {"note": {"kind": "drop"}}}',
    ):
        schema.write_text(text)
        prepared = prepare(parse_model(Recipe, recipe), str(tmp_path / "store"))
        keys.append(prepared.run_key)
        if len(keys) == 1:
            version = api.train(recipe, store=str(tmp_path / "store"))
    assert keys[0] != keys[1]
    published = api.augment(version.ref, rows=100, dataset="d", store=str(tmp_path / "store"), mix_real=True)
    assert pq.read_table(published.uri.removeprefix("file://")).column_names == [
        "note",
        "churned",
        "x",
        "is_synthetic",
    ]
    assert (
        "quick"
        in api.evaluate_dataset(
            published.ref, store=str(tmp_path / "store"), profile="quick"
        ).report.config.values()
    )


def test_two_workers_train_the_same_model_to_rounding(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    import safetensors.torch

    weights = []
    for workers in (1, 2):
        version = api.train(
            small_recipe(customers, name=f"w{workers}", workers=workers, precision="fp32"),
            store=str(tmp_path),
        )
        weights.append(safetensors.torch.load_file(local(version) / "weights.safetensors"))
    one, two = weights
    trained = [key for key in one if "weight" in key]
    assert trained
    for key in trained:
        assert (one[key] - two[key]).abs().max() < 1e-3, key


@pytest.mark.parametrize("model", ["ctgan", "marginals", "bootstrap"])
def test_every_table_model_trains_and_samples(
    local_ray: None, customers: Path, tmp_path: Path, model: str
) -> None:
    version = api.train(small_recipe(customers, model=model), store=str(tmp_path))
    rows = api.load(version.ref, store=str(tmp_path)).sample(50, seed=1)
    assert rows.num_rows == 50
    assert version.manifest.contains_training_rows == (model == "bootstrap")


def test_validation_and_holdout_leave_no_trace(
    local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row but the train rows carries a sentinel; it is in no file that training or publishing
    writes."""
    from synthmill.config import DataConfig, parse_model
    from synthmill.data.readers.base import read_source
    from synthmill.data.split import split_table

    clean = write_customers(tmp_path / "clean.csv", rows=600)
    poisoned = tmp_path / "poisoned.csv"
    config = parse_model(
        DataConfig, {"source": str(clean), "target": "churned", "split": {"group": "customer"}}
    )
    source = read_source(config)
    train_ids = set(
        split_table(source.table, config.split, sha256=source.sha256).train["customer"].to_pylist()
    )
    header, *lines = clean.read_text().splitlines()
    place = header.split(",").index("plan")
    marked = []
    for line, customer in zip(lines, source.table["customer"].to_pylist(), strict=True):
        cells = line.split(",")
        if customer not in train_ids:
            cells[place] = "SENTINEL"
        marked.append(",".join(cells))
    poisoned.write_text("\n".join([header, *marked]) + "\n")
    assert sum("SENTINEL" in line for line in marked) > 100

    store = tmp_path / "store"
    recipe = small_recipe(poisoned, model="bootstrap")
    recipe["data"] = {**recipe["data"], "split": {"group": "customer"}}  # type: ignore[dict-item]
    version = api.train(recipe, store=str(store))
    api.augment(version.ref, rows=3000, dataset="out", store=str(store), allow_copies=True)
    api.evaluate_dataset("out", store=str(store), profile="quick")
    kept = [
        path
        for folder in ("models", "datasets", "runs", "reports")
        for path in (store / folder).rglob("*")
        if path.is_file()
    ]
    assert {"weights.safetensors", "live.json", "_report.json", "report.html"} <= {path.name for path in kept}
    for path in kept:
        if path.suffix == ".parquet":
            assert "SENTINEL" not in pq.read_table(path)["plan"].unique().to_pylist(), path
        assert b"SENTINEL" not in path.read_bytes(), path
    output = capsys.readouterr()
    assert "SENTINEL" not in output.out + output.err


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"model": {"name": "ctgam"}},
            NotFoundError,
            "model.name: no model named 'ctgam'; did you mean 'ctgan'",
        ),
        (
            {"model": {"name": "tvae", "config": {"embeding_dim": 3}}},
            RecipeError,
            "model.config.embeding_dim: unknown key; did you mean 'embedding_dim'",
        ),
        (
            {"model": {"name": "tvae", "config": {"embedding_dim": "many"}}},
            RecipeError,
            "model.config.embedding_dim: ",
        ),
        (
            {"training": {"workers": 99}},
            ResourceError,
            "training.workers: 99 workers need 99 CPUs but the cluster has 4",
        ),
        ({"training": {"max_epochs": 0}}, RecipeError, "training.max_epochs: "),
        ({"training": {"resume": "always"}}, UserError, "training.resume: there is no checkpoint"),
    ],
)
def test_mistakes_are_found_before_any_work(
    local_ray: None,
    customers: Path,
    tmp_path: Path,
    change: dict[str, object],
    error: type[UserError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        api.train({**small_recipe(customers), **change}, store=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_changed_byte_is_refused_with_the_name_of_the_file(trained: Version, tmp_path: Path) -> None:
    import shutil

    store = tmp_path / "store"
    shutil.copytree(local(trained).parents[2], store)
    weights = store / "models" / "customers" / "1" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"weights\.safetensors"):
        api.load("customers", store=str(store))


def local(version: Version) -> Path:
    return Path(version.uri.removeprefix("file://"))
