"""Preparing a source that is scanned: nothing of validation and holdout gets out, and which way it was read
is chosen as the recipe says and recorded."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from synthmill.catalog.dataset import write_shard
from synthmill.catalog.store import Store
from synthmill.config import ModelConfig, Recipe, dump, fingerprint
from synthmill.data.readers.base import scan_source
from synthmill.data.scan import choice
from synthmill.data.scan.sides import sides_of_table
from synthmill.errors import DataError
from synthmill.models.base import model_class
from synthmill.runtime.inspect_source import inspected
from synthmill.runtime.prepare import prepare
from synthmill.training.artifact import Fitted, build_artifact
from synthmill.training.prepare import Rows, resolve, scan_rows
from tables import customers

SENTINEL = "zzz-never-seen"
TRAINED = {"steps": 1, "seconds": 1.0, "quality": None, "threads": 1, "precision": "fp32", "workers": 1}
FITTED = Fitted({}, [], TRAINED)


def recipe(source: object, **data: object) -> Recipe:
    return resolve(
        Recipe.model_validate(
            {"name": "x", "data": {"source": str(source), **data}, "model": {"name": "marginals"}}
        )
    )


def scanned(source: object, **data: object) -> Rows:
    made = recipe(source, **data)
    return scan_rows(made, scan_source(made.data))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_nothing_of_validation_and_holdout_gets_out(tmp_path: Path, kind: str) -> None:
    config = recipe("unused.csv").data.split
    table = customers(3_000).drop_columns(["customer"])
    rows = np.arange(3_000)
    # Each row's side follows from a group of its own, whatever else stands in it.
    table = table.append_column("who", pa.array([f"p{row}" for row in rows]))
    sides = sides_of_table(table, config.model_copy(update={"group": "who"}))
    word = np.where(sides == 0, "common", SENTINEL)
    number = np.where(sides == 0, np.random.default_rng(0).normal(size=3_000).round(3), 9_182_736.25)
    table = table.append_column("word", pa.array(word)).append_column("n", pa.array(number))
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=500)
    made = recipe(path, split={"group": "who"})
    found = scan_rows(made, scan_source(made.data))
    assert found.tables.split.counts["train"] == (sides == 0).sum()
    artifact = build_artifact(made, found, FITTED)
    told = json.dumps([artifact.config, artifact.codec, found.summary(made), found.source.notes])
    told += artifact.card + str({name: value.tolist() for name, value in artifact.codec_tensors.items()})
    assert SENTINEL not in told
    assert "9182736" not in told
    assert found.divided is not None
    assert SENTINEL not in set(pa.concat_tables(found.divided.tables())["word"].to_pylist())


def test_the_artifact_says_how_the_source_was_read(tmp_path: Path) -> None:
    pq.write_table(customers(2_000), tmp_path / "rows.parquet")
    found = scanned(tmp_path / "rows.parquet")
    artifact = build_artifact(recipe(tmp_path / "rows.parquet"), found, FITTED)
    assert artifact.config["split"]["rule"] == "content-hash/1"
    assert artifact.config["source"]["rows"] == found.num_rows == 2_000
    assert "is read in blocks" in artifact.config["notes"][0]
    assert "is read in blocks" in artifact.card
    assert found.train_rows == found.tables.split.counts["train"] == found.tables.train.num_rows


def test_a_model_that_is_fitted_on_a_sample_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(customers(2_000), tmp_path / "rows.parquet")
    made = recipe(tmp_path / "rows.parquet")
    forest = resolve(made.model_copy(update={"model": ModelConfig(name="forest")}))

    def notes() -> str:
        return " ".join(scan_rows(forest, scan_source(forest.data)).source.notes)

    assert "is fitted on" not in notes()
    monkeypatch.setattr(model_class("forest"), "most_fitted_rows", 500)
    assert "forest is fitted on 500 of the 1," in notes()


def test_large_sources_are_scanned_unless_the_recipe_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store = tmp_path / "rows.parquet", str(tmp_path / "store")
    pq.write_table(customers(1_000), path)
    assert prepare(recipe(path), store).rows.divided is None
    always = prepare(recipe(path, stream="always"), store)
    assert always.rows.divided is not None
    monkeypatch.setattr(choice, "memory_bytes", lambda: 1_000_000)
    auto = prepare(recipe(path), store)
    assert auto.rows.divided is not None
    assert auto.run_key == always.run_key
    assert auto.steps == always.steps
    never = prepare(recipe(path, stream="never"), store)
    assert never.rows.divided is None
    assert never.run_key != auto.run_key


def test_what_can_only_be_read_whole_is_refused_or_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "memory_bytes", lambda: 1)
    assert prepare(recipe("sklearn://iris"), str(tmp_path)).rows.divided is None
    with pytest.raises(DataError, match=r"data\.stream: the source can't be read in blocks: sklearn://iris"):
        prepare(recipe("sklearn://iris", stream="always"), str(tmp_path))


def test_a_dataset_of_the_catalog_is_scanned(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    parts = [customers(900).slice(start, 300) for start in (0, 300, 600)]
    with store.begin("datasets", "rows", run_key="a" * 64, run_id="r") as draft:
        files = [
            write_shard(draft.folder, shard, [part], part.schema, footer={}, run_key="a" * 64)
            for shard, part in enumerate(parts)
        ]
        version = draft.commit(draft.manifest(files=tuple(files), schema=parts[0].schema))
    made = prepare(recipe("dataset://rows", stream="always"), store.root.uri)
    assert made.rows.num_rows == 900
    assert made.rows.source.sha256 == version.manifest.content_digest
    assert made.rows.source.uri == f"dataset://{version.ref}"


def test_recipes_that_do_not_name_the_field_keep_their_fingerprint(tmp_path: Path) -> None:
    plain = recipe("rows.parquet")
    assert "stream" not in dump(plain)["data"]
    assert fingerprint(plain) == fingerprint(recipe("rows.parquet", stream="auto"))


def test_an_inspection_tells_of_every_column_at_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [f"{1 + row % 28:02d}.01.2024" for row in range(3_000)]
    cells[2_900] = "soon"
    csv.write_csv(pa.table({"when": cells, "x": np.arange(3_000) % 7}), tmp_path / "rows.csv")
    told = inspected(recipe(tmp_path / "rows.csv", stream="always"), str(tmp_path), as_json=False)
    assert told == {"inspected": True, "columns": 2, "faults": 1}
    shown = capsys.readouterr()
    assert "has 3,000 rows and is read in blocks" in shown.out + shown.err
    assert "'soon' (row 2,901)" in shown.out + shown.err
