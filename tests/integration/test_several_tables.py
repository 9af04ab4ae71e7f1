"""Datasets of several tables: a folder a table, one manifest, the same bytes for any number of workers."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import yaml

import synthmill
from families import check_keys
from jobs import command
from retail import FIVE, five_tables
from synthmill.catalog.admin import verify
from synthmill.catalog.dataset import read_dataset
from synthmill.catalog.lineage import ancestors
from synthmill.catalog.store import Store
from synthmill.catalog.tables import read_table, table_names
from synthmill.errors import NotFoundError, UserError

TINY = ("model.config.embedding_dim=32", "model.config.epochs=4", "training.max_steps=40")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    stated = {
        name: {**table, "source": str(folder / f"{name}.csv")} for name, table in FIVE["tables"].items()
    }
    for name, table in five_tables(150).items():
        pc.write_csv(table, folder / f"{name}.csv")
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump({"format": "synthmill.tables/1", "tables": stated}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def store(local_ray: None, schema: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    from synthmill.runtime.fit_tables import fit_tables

    store = str(tmp_path_factory.mktemp("store"))
    done = fit_tables(str(schema), store, run_id="1", overrides=TINY)
    assert done["model"] == "shop@1"
    flat = {
        name: table
        for name, table in yaml.safe_load(schema.read_text())["tables"].items()
        if name in ("regions", "products")
    }
    (schema.parent / "flat.yaml").write_text(yaml.safe_dump({"tables": flat}))
    done = fit_tables(str(schema.parent / "flat.yaml"), store, run_id="2", overrides=TINY)
    assert done["model"] == "flat@1"
    return store


def test_any_number_of_workers_writes_the_same_bytes(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", "shop", "--scale", "2", "--shard-rows", "300", "--store", store)
    code, one, _ = command(capsys, "augment", *options, "--dataset", "synth", "--workers", "1")
    assert code == 0
    _, two, _ = command(capsys, "augment", *options, "--dataset", "again", "--workers", "2")
    assert one["content_digest"] == two["content_digest"]
    version = Store(store).resolve("datasets", "synth", field="dataset")
    paths = [entry.path for entry in version.manifest.files]
    assert "lines/part-00001.parquet" in paths
    assert verify(version.uri) == []
    assert [origin.ref for origin in ancestors(Store(store), version)] == ["shop@1"]
    tables = {name: read_table(version, name) for name in table_names(version)}
    assert one["tables"] == {name: table.num_rows for name, table in tables.items()}
    real = five_tables(150)
    assert all(tables[name].column_names == real[name].column_names for name in real)
    # Any reader takes a table's folder.
    folder = Path(version.uri.removeprefix("file://")) / "lines"
    assert pq.read_table(folder).num_rows == tables["lines"].num_rows
    assert b"AIGC" in pq.read_schema(folder / "part-00000.parquet").metadata
    schema = {
        "tables": {
            name: {
                "key": [table["key"]] if isinstance(table["key"], str) else table["key"],
                "foreign_keys": version.manifest.details["tables"][name]["foreign_keys"],
            }
            for name, table in FIVE["tables"].items()
        }
    }
    check_keys(tables, schema, {name: pa.table(real[name]).cast(tables[name].schema) for name in real})


def test_what_is_finished_is_kept_and_reused(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("augment", "--model", "shop", "--dataset", "kept", "--store", store, "--seed", "5")
    _, first, _ = command(capsys, *options)
    _, again, _ = command(capsys, *options, "--if-exists", "reuse")
    assert again["dataset"] == first["dataset"] == "kept@1"


def test_a_stretch_has_one_receipt_for_its_tables(store: str) -> None:
    from synthmill.runtime.augment_tables import TablesRequest, augment_tables

    request = TablesRequest(model="shop", dataset="receipts", stretch_rows=200, workers=2)
    version = augment_tables(request, store, run_id="1")
    told = [
        version.folder.read_json(entry.path) for entry in version.folder.list("_receipts/", recursive=False)
    ]
    files = [file["path"] for one in told for file in one.get("files", [{"path": one.get("part")}])]
    assert sorted(files) == sorted(entry.path for entry in version.manifest.files)
    assert {one["run_key"] for one in told} == {version.manifest.run_key}
    assert max(len(one.get("files", ())) for one in told) == 4


def test_evaluation_has_relations_and_a_section_a_table(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(capsys, "augment", "--model", "shop", "--dataset", "judged", "--store", store)
    code, done, error = command(
        capsys,
        "evaluate",
        "--dataset",
        "judged",
        "--store",
        store,
        "--profile",
        "quick",
        "--output",
        str(tmp_path),
    )
    assert code in (0, 1), error
    assert done["report"] == "judged@1"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["format"] == "synthmill.tables_report/1"
    assert all(one["integrity"] == 1 for one in report["relations"])
    assert all(one["unique"] == 1 for one in report["keys"])
    assert set(report["tables"]) | set(report["not_judged"]) == set(FIVE["tables"])
    text = (tmp_path / "summary.md").read_text()
    assert "## lines" in text
    assert (tmp_path / "lines" / "report.html").exists()


def test_publishing_judges_and_states_the_report(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("augment", "--model", "shop", "--store", store, "--shard-rows", "300")
    code, done, _ = command(capsys, *options, "--dataset", "gated")
    version = Store(store).resolve("datasets", "gated", field="dataset")
    gate = version.manifest.gate or {}
    assert (code, done["verdict"], done["report"]) == (0, gate["verdict"], gate["report"])
    data = version.folder.read_bytes("_report.json")
    report = json.loads(data)
    assert gate["report_sha256"] == hashlib.sha256(data).hexdigest()
    assert (report["verdict"], report["summary"]) == (gate["verdict"], gate["why"])
    assert {one["integrity"] for one in report["relations"]} == {1.0}
    assert {one["unique"] for one in report["keys"]} == {1.0}
    assert set(report["tables"]) | set(report["not_judged"]) == set(FIVE["tables"])
    assert all(version.folder.exists(f"_{table}/report.html") for table in report["tables"])
    # What is judged once more is judged alike.
    _, again, _ = command(capsys, "evaluate", "--dataset", "gated", "--store", store, "--profile", "quick")
    assert again["verdict"] == done["verdict"]
    # Readers of the version see none of it.
    assert verify(version.uri) == []


@pytest.mark.parametrize(("limit", "code"), [(0.0, 0), (2.0, 1)])
def test_what_is_required_decides_what_is_published(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: float, code: int
) -> None:
    # Relations of so small a model may fail; two tables without any can't.
    gate = f"{{metric: schema.valid_share, must_be_at_least: {limit}, minimum_n: 1}}"
    gates = tmp_path / "gates.yaml"
    gates.write_text(f"version: 1\ngates:\n  - {gate}\n")
    options = ("augment", "--model", "flat", "--dataset", f"required-{code}", "--store", store)
    options = (*options, "--require", "pass", "--gates", str(gates))
    ended, done, _ = command(capsys, *options)
    assert ended == code, done
    if code == 0:
        assert done["verdict"] in ("pass", "warn")
        return
    assert "was not published: fail" in done["error"]
    assert Store(store).versions("datasets", "required-1") == []
    (kept,) = Path(store, "quarantine", "datasets", "required-1").iterdir()
    assert json.loads((kept / "_report.json").read_text())["verdict"] == "fail"
    assert (kept / "products" / "part-00000.parquet").exists()
    assert not (kept / "_manifest.json").exists()


def test_a_source_that_is_gone_is_no_reason_not_to_publish(
    store: str, schema: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = schema.parent / "products.csv"
    away = products.rename(products.with_suffix(".away"))
    try:
        options = ("augment", "--model", "shop", "--scale", "0.5", "--store", store, "--dataset")
        code, done, _ = command(capsys, *options, "unjudged")
        assert (code, done["verdict"], done["report"]) == (0, "inconclusive", None)
        code, done, _ = command(capsys, *options, "unjudged", "--require", "pass")
        assert (code, "not published: inconclusive" in done["error"]) == (1, True), done
        code, done, _ = command(
            capsys, *options, "unjudged", "--gates", str(schema.parent / "no.yaml"), "--require", "pass"
        )
        assert (code, "gates: no gates file" in done["error"]) == (2, True), done
    finally:
        away.rename(products)


def test_conditions_on_a_root_are_met_and_its_families_follow(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("augment", "--model", "shop", "--store", store, "--shard-rows", "200", "--dataset")
    where = ("--where", "regions.climate=north", "--where", "products.price<50")
    code, one, error = command(capsys, *options, "north", *where, "--workers", "2")
    assert code == 0, error
    _, two, _ = command(capsys, *options, "north", *where, "--workers", "1")
    assert one["content_digest"] == two["content_digest"]
    version = Store(store).resolve("datasets", "north", field="dataset")
    tables = {name: read_table(version, name) for name in table_names(version)}
    assert set(tables["regions"]["climate"].to_pylist()) == {"north"}
    assert max(tables["products"]["price"].to_pylist()) < 50
    assert set(tables["customers"]["region"].to_pylist()) <= set(tables["regions"]["region"].to_pylist())
    # An order without a customer is in no region.
    assert tables["orders"]["customer"].null_count == 0
    # It is compared with real families that are alike: half of the regions are.
    report = json.loads(version.folder.read_bytes("_report.json"))
    customers = json.loads(version.folder.read_bytes("_customers/report.json"))
    assert {one["integrity"] for one in report["relations"]} == {1.0}
    whole = json.loads(
        Store(store).resolve("datasets", "gated", field="dataset").folder.read_bytes("_customers/report.json")
    )
    assert 0 < customers["inputs"]["train_rows"] < whole["inputs"]["train_rows"]
    sampled = synthmill.load_tables("shop", store=store).sample(
        where=["regions.climate=north", "products.price<50"], seed=0
    )
    assert set(sampled["regions"]["climate"].to_pylist()) == {"north"}
    for condition, message in (
        ("climate=north", "--where: climate=north: say of which table, as regions.COLUMN=..."),
        ("customers.segment=firm", "rows of 'customers' follow those of 'regions'"),
        ("regions.climate=polar", "no generated row has that value of 'climate'"),
        ("regions.region=R01", "'regions' has no column 'region' that is no key"),
    ):
        code, done, _ = command(capsys, *options, "no", "--where", condition)
        assert (code, message in done["error"]) == (2, True), done["error"]


def test_exports_pulls_and_files_of_several_tables(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import deltalake
    import duckdb

    command(capsys, "augment", "--model", "shop", "--dataset", "out", "--store", store, "--scale", "0.5")
    rows = Store(store).resolve("datasets", "out", field="dataset").manifest.details["tables"]
    code, done, _ = command(
        capsys, "datasets", "export", "out", "--delta", str(tmp_path / "lake"), "--store", store
    )
    assert (code, set(done["tables"])) == (0, set(FIVE["tables"]))
    for name in FIVE["tables"]:
        lake = deltalake.DeltaTable(str(tmp_path / "lake" / name)).to_pyarrow_table()
        assert lake.num_rows == rows[name]["rows"]
    code, done, _ = command(capsys, "datasets", "export", "out", str(tmp_path / "images"), "--store", store)
    assert (code, "out@1" in done["error"]) == (2, True), done["error"]
    code, _, _ = command(capsys, "datasets", "pull", "out", str(tmp_path / "here"), "--store", store)
    assert (code, verify(str(tmp_path / "here"))) == (0, [])
    joined = duckdb.sql(
        f"select count(*) from '{tmp_path}/here/lines/*.parquet' l"
        f" join '{tmp_path}/here/orders/*.parquet' o using (order_no)"
    ).fetchall()
    assert joined == [(rows["lines"]["rows"],)]


def test_options_that_mean_nothing_are_refused(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("augment", "--model", "shop", "--dataset", "no", "--store", store)
    for more, message in (
        (("--balance", "kind"), "--balance: can't be given for several tables yet"),
        (("--rows", "10"), "--rows: regions, products all hang on no other table"),
        (("--scale", "0"), "--scale: must be above 0"),
        (("--rows", "5", "--scale", "2"), "--scale: can't be given with --rows"),
        (("--workers", "0"), "--workers: must be at least 1"),
    ):
        code, done, _ = command(capsys, *options, *more)
        assert (code, message in done["error"]) == (2, True), done["error"]


def test_readers_of_one_table_say_that_there_are_several(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command(capsys, "augment", "--model", "shop", "--dataset", "several", "--scale", "0.5", "--store", store)
    version = Store(store).resolve("datasets", "several", field="dataset")
    # What a notebook samples are the same rows.
    sampled = synthmill.load_tables("shop", store=store).sample(0.5, seed=0)
    assert all(table.to_pydict() == read_table(version, name).to_pydict() for name, table in sampled.items())
    with pytest.raises(UserError, match="holds the tables regions, customers, products, orders, lines"):
        read_dataset(version)
    with pytest.raises(NotFoundError, match="did you mean 'lines'"):
        read_table(version, "line")


def test_a_dry_run_says_what_was_guessed_and_trains_nothing(
    schema: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, done, _ = command(capsys, "fit", str(schema.parent), "--store", str(tmp_path / "s"), "--dry-run")
    assert (code, set(done["tables"])) == (0, set(FIVE["tables"]))
    code, done, _ = command(capsys, "fit", str(schema), "--store", str(tmp_path / "s"), "--dry-run")
    assert (code, done["dry_run"]) == (0, True)
    assert not (tmp_path / "s").exists()


def test_a_source_that_changed_is_not_judged_by(
    store: str, schema: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(capsys, "augment", "--model", "shop", "--dataset", "changed", "--scale", "0.5", "--store", store)
    products = schema.parent / "products.csv"
    before = products.read_text()
    try:
        products.write_text(before.replace("bulky", "small", 1))
        code, done, _ = command(capsys, "evaluate", "--dataset", "changed", "--store", store)
        assert code == 2
        assert "has changed since the model was trained" in done["error"]
    finally:
        products.write_text(before)
