"""`synthmill impute`: a file with holes in, the same file filled out."""

import json
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import synthmill
from synthmill.cli import run
from tables import customers, write_customers

SMALL = {"model.config": {"embedding_dim": 16, "hidden_dim": 16}, "training.max_steps": 20}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = str(tmp_path_factory.mktemp("store"))
    model = synthmill.fit(
        customers(400), target="churned", model="autoregressive", name="customers", overrides=SMALL
    )
    model.save(store)
    forest = {"model.config": {"trees": 1, "other_trees": 1}}
    synthmill.fit(customers(400), target="churned", model="forest", name="grown", overrides=forest).save(
        store
    )
    return store


def test_a_file_comes_back_filled(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, output = write_customers(tmp_path / "given.csv", 300, seed=5), tmp_path / "filled.csv"
    words = ["impute", "--model", "customers", "--given", str(given), "--store", store]
    assert run([*words, "--output", str(output)]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    before, after = (pyarrow.csv.read_csv(path) for path in (given, output))
    assert told["rows"] == 300
    assert told["filled_cells"] == before["spend"].null_count + before["last_seen"].null_count > 0
    assert after.column_names == before.column_names
    assert sum(column.null_count for column in after.columns) == 0
    assert [age.as_py() for age in before["age"]] == [age.as_py() for age in after["age"]]
    assert run([*words, "--output", str(output)]) == 2
    assert "--output" in capsys.readouterr().err


def test_rows_of_few_columns_are_completed_and_labelled(store: str, tmp_path: Path) -> None:
    given, output = tmp_path / "given.parquet", tmp_path / "out.parquet"
    pq.write_table(customers(50).select(["plan", "age"]), given)
    words = ["impute", "--model", "customers@1", "--given", str(given), "--store", store]
    assert run([*words, "--output", str(output), "--complete"]) == 0
    made = pq.read_table(output)
    assert made.column_names == customers(1).column_names
    assert made.select(["plan", "age"]).equals(pq.read_table(given))
    assert made.schema.metadata[b"iptc.digitalSourceType"].endswith(b"compositeWithTrainedAlgorithmicMedia")


def test_a_model_that_can_t_complete_is_refused(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write_customers(tmp_path / "given.csv", 20)
    words = ["impute", "--model", "grown", "--given", str(given), "--store", store]
    assert run([*words, "--output", str(tmp_path / "out.csv")]) == 2
    assert "autoregressive" in capsys.readouterr().err


def test_the_library_fills_and_judges(store: str) -> None:
    model, rows = synthmill.load("customers", store=store), customers(100, seed=8)
    filled = model.impute(rows, seed=2)
    assert filled.column_names == rows.column_names
    assert filled["spend"].null_count == 0
    assert filled.equals(model.impute(rows, seed=2))
    assert model.complete(rows.select(["plan"]), seed=1).num_rows == 100
    assert len(model.log_prob(rows)) == 100
    assert model.predict_proba("plan", rows).column_names == ["basic", "pro", "team"]
