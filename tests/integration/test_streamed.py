"""A source that is read in blocks: trained from shards on disk, evaluated against samples of its sides."""

import json
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import small_recipe
from synthmill import api
from synthmill.data.scan import real
from synthmill.errors import RecipeError, UserError


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
    with pytest.raises(UserError, match="--mix-real: customers@1 learnt its source in blocks"):
        api.augment(model.ref, rows=500, dataset="mixed", mix_real=True, store=store)


def test_a_model_that_keeps_every_row_is_refused(local_ray: None, customers: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.name: bootstrap keeps every training row"):
        api.train(recipe(customers, model="bootstrap"), store=str(tmp_path))


def model_split(model: Any) -> dict[str, int]:
    counts: dict[str, int] = json.loads(model.folder.read_bytes("config.json"))["split"]["counts"]
    return counts


def test_what_loads_its_source_says_so(customers: Path) -> None:
    made = recipe(customers)
    with pytest.raises(
        RecipeError, match=r"data\.stream: searches and trainings from Python load their source"
    ):
        api.fit(made)
