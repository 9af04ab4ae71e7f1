"""A source that is read in blocks: trained from shards on disk, evaluated against samples of its sides."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from pyarrow import csv

from integration.conftest import small_recipe
from synthmill import api
from synthmill.catalog.dataset import read_dataset
from synthmill.catalog.store import Store
from synthmill.data.formats import _csv_blocks
from synthmill.data.scan import choice, real
from synthmill.errors import DataError, RecipeError
from synthmill.runtime import encode, real_rows, source
from synthmill.training import encoding


def recipe(source: Path, **others: Any) -> dict[str, Any]:
    made: dict[str, Any] = small_recipe(source, **others)
    return {**made, "data": {**made["data"], "stream": "always"}}


def losses(store: Path, name: str) -> list[float]:
    lines = (store / "models" / name / "1" / "history.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [value for record in records for key, value in record.items() if "/" in key]


def test_two_workers_read_the_same_rows_from_shards(
    local_ray: None, customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fetched, as from an object store, by two processes of one node.
    monkeypatch.setenv("SYNTHMILL_SCRATCH", str(tmp_path / "scratch"))
    for workers in (1, 2):
        made = recipe(customers, name=f"w{workers}", workers=workers, precision="fp32")
        api.train(made, store=str(tmp_path / "store"))
    one, two = (losses(tmp_path / "store", f"w{workers}") for workers in (1, 2))
    assert one
    assert two == pytest.approx(one, rel=1e-4)
    assert list((tmp_path / "store").rglob("*.records")) == [], (
        "encoded rows are removed with the checkpoints"
    )


def test_a_report_says_that_it_compares_with_samples(
    local_ray: None, customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path)
    model = api.train(recipe(customers, model="ctgan"), store=store)
    monkeypatch.setattr(real, "SIDE_ROWS", 200)
    dataset = api.augment(model.ref, rows=500, dataset="out", store=store)
    report = api.evaluate_dataset(dataset.ref, store=store, profile="quick").report
    assert report.inputs["train_rows"] == 200
    train = model_split(model)["train"]
    assert any(f"200 of {train} train rows" in warning for warning in report.warnings)


def parts_of(store: Path, dataset: str) -> list[str]:
    """SHA-256 of each file of a dataset's first version."""
    return [
        entry.sha256 for entry in Store(str(store)).resolve("datasets", dataset, field="d").manifest.files
    ]


def test_real_rows_are_published_in_blocks_as_they_would_be_from_memory(
    local_ray: None, customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path)
    model = api.train(recipe(customers), store=store)
    monkeypatch.setattr(_csv_blocks, "BLOCK_BYTES", 20_000)
    asked: dict[str, Any] = {
        "rows": 1_500,
        "mix_real": True,
        "shard_rows": 1_024,
        "balance": "plan",
        "store": store,
    }
    one = api.augment(model.ref, dataset="one", workers=1, **asked)
    api.augment(model.ref, dataset="two", workers=2, **asked)
    # The same rows out of memory: the split is the model's, however its source is read.
    monkeypatch.setattr(real_rows, "was_scanned", lambda config: False)
    monkeypatch.setattr(source, "was_scanned", lambda config: False)
    api.augment(model.ref, dataset="memory", workers=2, **asked)
    assert parts_of(tmp_path, "one") == parts_of(tmp_path, "two") == parts_of(tmp_path, "memory")
    table = read_dataset(one)
    assert table.filter(pc.invert(table["is_synthetic"])).num_rows == model_split(model)["train"]
    assert one.manifest.contains_training_rows


def test_a_source_that_changed_is_not_mixed_in(local_ray: None, customers: Path, tmp_path: Path) -> None:
    changed = tmp_path / "own.csv"
    changed.write_bytes(customers.read_bytes())
    model = api.train(recipe(changed), store=str(tmp_path))
    changed.write_bytes(customers.read_bytes() + customers.read_bytes().splitlines(keepends=True)[-1])
    with pytest.raises(DataError, match="has changed since the model was trained"):
        api.augment(model.ref, rows=100, dataset="mixed", mix_real=True, store=str(tmp_path))


def test_a_model_that_keeps_every_row_is_refused(local_ray: None, customers: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.name: bootstrap keeps every training row"):
        api.train(recipe(customers, model="bootstrap"), store=str(tmp_path))


def model_split(model: Any) -> dict[str, int]:
    counts: dict[str, int] = json.loads(model.folder.read_bytes("config.json"))["split"]["counts"]
    return counts


def test_the_library_reads_in_blocks_by_the_same_rule(customers: Path, tmp_path: Path) -> None:
    made = recipe(customers, model="ctgan")
    scanned = api.fit(made)
    assert any("is read in blocks" in note for note in scanned.artifact.config["notes"])
    assert scanned.artifact.config["split"]["rule"] == "content-hash/1"
    assert scanned.sample(50, seed=1).equals(api.fit(made).sample(50, seed=1))
    with pytest.raises(RecipeError, match=r"data\.stream: rows in memory are not read in blocks"):
        api.fit(csv.read_csv(customers), overrides={"data.stream": "always"})
    with pytest.raises(RecipeError, match=r"model\.name: bootstrap keeps every training row"):
        api.fit(recipe(customers, model="bootstrap"))


def test_the_library_on_ray_trains_the_same_model_of_blocks(local_ray: None, customers: Path) -> None:
    made = recipe(customers)
    here, there = api.fit(made), api.fit(made, ray=True)
    assert there.sample(50, seed=1).equals(here.sample(50, seed=1))


def test_trials_of_a_search_share_rows_that_are_encoded_once(
    local_ray: None, customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    write = encoding.write_shards

    def counted(*args: Any, **options: Any) -> Any:
        encoded.append(options["key"])
        return write(*args, **options)

    monkeypatch.setattr(encode, "write_shards", counted)
    tune = {
        "max_trials": 3,
        "sample_rows": 300,
        "confirm_seeds": 1,
        "constraints": "none",
        "portfolio": False,
    }
    tune["objective"] = "tabular.pair_gap"
    tuned = api.tune({**recipe(customers, max_steps=18), "tune": tune}, store=str(tmp_path))
    assert tuned.version is not None
    assert len(encoded) == 1
    assert list(tmp_path.rglob("*.records")) == [], "encoded rows are removed with the search's end"
    made = tuned.version
    assert json.loads(made.folder.read_bytes("config.json"))["split"]["rule"] == "content-hash/1"
    # The winner's weights are those of an ordinary training of its recipe.
    again = api.train(
        json.loads(made.folder.read_bytes("config.json"))["recipe"], store=str(tmp_path / "own")
    )
    weights = [
        {entry.path: entry.sha256 for entry in one.manifest.files}["weights.safetensors"]
        for one in (made, again)
    ]
    assert weights[0] == weights[1]


def test_rows_can_not_be_saved_where_trials_share_them(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"tune\.fidelity: is rows, and the source is read in blocks"):
        api.tune({**recipe(customers), "tune": {"fidelity": "rows"}}, store=str(tmp_path))


def test_both_sides_of_a_comparison_are_sampled_where_they_are_large(
    customers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.evaluate(customers, train=customers, profile="quick")
    monkeypatch.setattr(choice, "memory_bytes", lambda: 1)
    report = api.evaluate(customers, train=customers, profile="quick")
    for side in ("train", "synthetic"):
        assert any(line.startswith(f"{side}: ") and "is read in blocks" in line for line in report.warnings)
    assert report.verdict == whole.verdict


def test_a_large_source_that_can_only_be_read_whole_is_refused_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "memory_bytes", lambda: 2_000)
    rows = [{"a": i % 7, "b": f"x{i % 3}"} for i in range(400)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with sqlite3.connect(tmp_path / "shop.db") as base:
        base.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        base.executemany("INSERT INTO t VALUES (?, ?)", [tuple(row.values()) for row in rows])
    base.close()
    said = (
        r"data\.source: .* GiB in memory, .* in blocks.*; convert it to Parquet, or set data\.stream: never"
    )
    for name in (str(tmp_path / "rows.json"), f"sqlite:///{tmp_path / 'shop.db'}?table=t"):
        with pytest.raises(DataError, match=said):
            api.fit(name)
    model = api.fit(str(tmp_path / "rows.json"), model="marginals", overrides={"data.stream": "never"})
    assert model.sample(5).num_rows == 5
