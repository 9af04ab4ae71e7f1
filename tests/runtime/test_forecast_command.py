"""`synthmill forecast`: the rows after those of sequences, as a file, and what is refused."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import synthmill
from synthmill.cli import run
from synthmill.errors import DataError
from synthmill.generation.continuing import Ahead
from synthmill.runtime.augment import AugmentRequest, planned
from visits import visits

SEQUENCES = 1024 + 60
HISTORY = visits(SEQUENCES, 21)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("store"))
    settings = {
        "model.config": {"embedding_dim": 16, "hidden_dim": 16},
        "training.max_steps": 20,
        "data.max_length": 40,
    }
    for name, options in {
        "visits": {"group_by": "customer", "order_by": "when", "overrides": settings},
        "rows": {"model": "marginals"},
    }.items():
        rows = visits(100) if name == "visits" else visits(30)
        synthmill.fit(rows, progress=False, **options).save(uri, name=name)  # type: ignore[arg-type]
    return uri


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("history") / "history.parquet"
    pq.write_table(HISTORY, path)
    return str(path)


def forecast(store: str, *words: str) -> int:
    return run(["forecast", *words, "--store", store])


def test_a_file_has_what_the_library_gives(
    store: str, history: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "next.parquet"
    words = [
        "visits",
        "--given",
        history,
        "--steps",
        "2",
        "--rows-per",
        "3",
        "--output",
        str(out),
        "--seed",
        "4",
    ]
    assert forecast(store, *words) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    rows = pq.read_table(out)
    assert told["rows"] == rows.num_rows == SEQUENCES * 2 * 3
    made = synthmill.load("visits", store=store).forecast(HISTORY, 2, rows_per=3, seed=4)
    # Parquet has no whole seconds.
    rows = rows.replace_schema_metadata(None).cast(made.replace_schema_metadata(None).schema)
    assert rows.equals(made.replace_schema_metadata(None))
    firsts = list(dict.fromkeys(HISTORY["customer"].to_pylist()))
    assert rows["customer"].to_pylist() == [key for key in firsts for _ in range(6)]
    assert rows["future"].to_pylist() == [1, 1, 2, 2, 3, 3] * SEQUENCES
    alone = synthmill.load("visits", store=store).forecast(HISTORY, 2, seed=4)
    first = rows.filter(pc.equal(rows["future"], 1)).drop_columns(["future"])
    assert first.replace_schema_metadata(None).equals(alone.replace_schema_metadata(None))
    assert not first["mood"].equals(rows.filter(pc.equal(rows["future"], 2))["mood"])
    assert forecast(store, *words) == 2, "what is there is not overwritten"


def test_a_condition_chooses_sequences_or_says_what_is_not_known(store: str, tmp_path: Path) -> None:
    model = synthmill.load("visits", store=store)
    rows = model.forecast(HISTORY.slice(0, 400), 2, where="plan=pro", seed=1)
    some = HISTORY.slice(0, 400)
    wanted = set(some.filter(pc.equal(some["plan"], "pro"))["customer"].to_pylist())
    assert set(rows["customer"].to_pylist()) == wanted
    lacking = some.drop_columns(["plan"])
    made = model.forecast(lacking, 2, where="plan=pro", seed=1)
    assert set(made["plan"].to_pylist()) == {"pro"}
    assert pc.count_distinct(made["customer"]).as_py() == pc.count_distinct(some["customer"]).as_py()


def some(tmp_path: Path, table: pa.Table) -> str:
    pq.write_table(table, tmp_path / "some.parquet")
    return str(tmp_path / "some.parquet")


LONG = pa.table({"customer": ["x"] * 41, "when": visits(200)["when"].combine_chunks().slice(0, 41)})


@pytest.mark.parametrize(
    ("table", "words", "says"),
    [
        (HISTORY, [], "--output FILE, or --dataset NAME"),
        (HISTORY, ["--output", "x", "--dataset", "y"], "--output FILE, or --dataset NAME"),
        (HISTORY, ["--output", "x", "--workers", "2"], "is for --dataset"),
        (HISTORY, ["--output", "x", "--rows-per", "0"], "must be at least 1"),
        (HISTORY, ["--output", "x", "--where", "stage=buy"], "changes within a sequence"),
        (HISTORY, ["--output", "x", "--where", "planet=pro"], "did you mean 'plan'"),
        (HISTORY, ["--output", "x", "--where", "joined<2011", "--where", "joined>2018"], "joined"),
        (HISTORY.drop_columns(["joined"]), ["--output", "x", "--where", "joined>2018"], "lacks 'joined'"),
        (HISTORY.drop_columns(["customer"]), ["--output", "x"], "no column 'customer'"),
        (HISTORY.rename_columns({"mood": "moood"}), ["--output", "x"], "did you mean 'mood'"),
        (LONG, ["--output", "x"], "has 41 rows, and sequences have at most 40"),
    ],
)
def test_mistakes_are_one_line(
    store: str,
    tmp_path: Path,
    table: pa.Table,
    words: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "x"
    words = [str(out) if word == "x" and "--output" in words else word for word in words]
    assert forecast(store, "visits", "--given", some(tmp_path, table), "--steps", "1", *words) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert says in said[0]
    assert not out.exists()


def test_a_dataset_is_refused_for_the_same_reasons(store: str, tmp_path: Path) -> None:
    request = AugmentRequest(
        model="visits", dataset="x", given=some(tmp_path, LONG), ahead=Ahead(steps=1), shard_rows=1000
    )
    with pytest.raises(DataError, match="has 41 rows, and sequences have at most 40"):
        planned(request, store)


def test_a_model_of_rows_is_refused(
    store: str, history: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.csv")
    assert forecast(store, "rows", "--given", history, "--steps", "1", "--output", out) == 2
    assert "train with data.group_by" in capsys.readouterr().err


def test_unsorted_rows_are_put_in_order(store: str) -> None:
    model = synthmill.load("visits", store=store)
    small = HISTORY.slice(0, 300)
    backwards = small.take(pc.sort_indices(small, [("when", "descending")]))
    ends = small.group_by("customer").aggregate([("when", "max")]).to_pylist()
    last = {row["customer"]: row["when_max"] for row in ends}
    for table in (small, backwards):
        for row in model.forecast(table, 1, seed=1).to_pylist():
            assert row["when"] >= last[row["customer"]]


def test_a_csv_has_no_further_column(store: str, tmp_path: Path) -> None:
    given, out = tmp_path / "given.csv", tmp_path / "next.csv"
    pyarrow.csv.write_csv(HISTORY.slice(0, 50), given)
    assert forecast(store, "visits", "--given", str(given), "--steps", "1", "--output", str(out)) == 0
    assert pyarrow.csv.read_csv(out).column_names == HISTORY.column_names
