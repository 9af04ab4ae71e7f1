"""Datasets as Iceberg and Delta Lake tables: one commit, the same rows, one line for what can't be."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs import command
from synthmill.catalog import iceberg, partitions
from synthmill.catalog.dataset import part_path, read_dataset, write_file
from synthmill.catalog.delta import export_delta
from synthmill.catalog.iceberg import export_iceberg
from synthmill.catalog.store import Store, Version
from synthmill.errors import DataError, UserError
from versions import TABLE, draft_of, publish_dataset

ROWS = pa.table(
    {
        "plan": pa.array(["a", None, "b/c", "a"]).dictionary_encode(),
        "age": pa.array([1, 2, None, 250], pa.uint8()),
        "big": pa.array([1, None, 3, 2**40]),
        "share": [0.5, 1.0, None, -2.0],
        "when": pa.array([0, 1_700_000_000_000, None, 5], pa.timestamp("ms")),
        "day": pa.array([0, 1, 20_000, None], pa.date32()),
        "on": [True, False, None, True],
    }
)


def published(root: object, *, partition_by: tuple[str, ...] = (), table: pa.Table = ROWS) -> Version:
    if not partition_by:
        return publish_dataset(Store(root), "d", table=table)
    with draft_of(Store(root), "d") as draft:
        files = tuple(
            write_file(draft.folder, f"{place}/{part_path(0)}", [rows], rows.schema, footer={})
            for place, rows in partitions.split(table, partition_by)
        )
        details = {"partition_by": partition_by}
        return draft.commit(draft.manifest(files=files, schema=table.schema, details=details))


def ordered(rows: Any) -> list[dict[str, Any]]:
    return sorted(rows.to_pylist(), key=str)


def delta_rows(uri: str) -> Any:
    from deltalake import DeltaTable

    return DeltaTable(uri).to_pyarrow_table()


def iceberg_rows(uri: str) -> Any:
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(uri).scan().to_arrow()


@pytest.fixture(params=["delta", "iceberg"])
def lake(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """(export, read back) of one kind of table."""
    if request.param == "delta":
        return export_delta, delta_rows
    return export_iceberg, iceberg_rows


@pytest.mark.parametrize("partition_by", [(), ("plan", "on")], ids=["flat", "folders"])
def test_a_table_has_the_rows_and_says_what_columns_became(
    lake: tuple[Any, Any], partition_by: tuple[str, ...], tmp_path: Path
) -> None:
    export, read = lake
    version = published(tmp_path / "store", partition_by=partition_by)
    done = export(version, str(tmp_path / "table"), "new")
    assert done["rows"] == version.manifest.rows
    assert done["notes"] == ["age: uint8 became int16", "when: timestamp[ms] became timestamp[us]"]
    back = read(str(tmp_path / "table")).select(ROWS.column_names)
    assert ordered(back) == ordered(read_dataset(version))


def test_an_existing_table_is_refused_added_to_or_replaced(lake: tuple[Any, Any], tmp_path: Path) -> None:
    export, read = lake
    first = published(tmp_path / "store")
    second = published(tmp_path / "store", table=ROWS.slice(0, 2))
    uri = str(tmp_path / "table")
    export(first, uri, "new")
    with pytest.raises(UserError, match=r"holds a table already; add --mode replace or --mode append"):
        export(first, uri, "new")
    export(second, uri, "append")
    assert read(uri).num_rows == 5 + 3
    # Once more, after an answer that was lost: nothing twice.
    assert export(second, uri, "append")["repeated"]
    assert read(uri).num_rows == 5 + 3
    export(second, uri, "replace")
    assert ordered(read(uri).select(ROWS.column_names)) == ordered(read_dataset(second))


def test_an_export_that_fails_leaves_the_table_as_it_was(lake: tuple[Any, Any], tmp_path: Path) -> None:
    export, read = lake
    version = published(tmp_path / "store")
    uri = str(tmp_path / "table")
    export(version, uri, "new")
    damaged = published(tmp_path / "store", table=ROWS.slice(0, 3))
    damaged.folder.write_bytes(part_path(1), b"not what was published")
    with pytest.raises(Exception, match=r"part-00001\.parquet|not exported") as caught:
        export(damaged, uri, "append")
    assert "\n" not in str(caught.value)
    assert read(uri).num_rows == 5


def test_a_table_of_a_catalog_is_made_and_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyiceberg.catalog as catalogs

    # As a person configures one; the name is pyiceberg's way to say it in the environment.
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"file://{tmp_path}/lake",
    }
    real = catalogs.load_catalog
    monkeypatch.setattr(
        catalogs, "load_catalog", lambda name: real(name, **(properties if name == "ours" else {}))
    )
    version = published(tmp_path / "store", partition_by=("on",))
    uri = "catalog://ours/demo/people"
    export_iceberg(version, uri, "new")
    export_iceberg(published(tmp_path / "store"), uri, "append")
    table = real("ours", **properties).load_table(("demo", "people"))
    assert table.scan().to_arrow().num_rows == 4 + 5
    assert [field.name for field in table.spec().fields] == ["on"]
    with pytest.raises(UserError, match=r"--iceberg: no catalog 'theirs' in pyiceberg's configuration"):
        export_iceberg(version, "catalog://theirs/demo/people", "new")
    with pytest.raises(UserError, match=r"--iceberg: expected catalog://NAME/NAMESPACE/TABLE"):
        export_iceberg(version, "catalog://ours/people", "new")


def test_tables_lie_on_s3_too(s3_store: str) -> None:
    import deltalake
    from pyiceberg.table import StaticTable

    from synthmill.catalog.delta import _options
    from synthmill.catalog.iceberg import _properties

    version = published(s3_store)
    export_delta(version, f"{s3_store}/delta", "new")
    assert (
        deltalake.DeltaTable(f"{s3_store}/delta", storage_options=_options()).to_pyarrow_table().num_rows == 5
    )
    export_iceberg(version, f"{s3_store}/iceberg", "new")
    assert StaticTable.from_metadata(f"{s3_store}/iceberg", _properties()).scan().to_arrow().num_rows == 5


def test_two_exports_at_once_do_not_lose_one_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table without a catalog: the second committer is told, and its rows come with the next try."""
    first, second = published(tmp_path / "a"), published(tmp_path / "b", table=ROWS.slice(0, 2))
    uri = str(tmp_path / "table")
    export_iceberg(first, uri, "new")
    write = iceberg._write

    def beaten(*arguments: Any, **options: Any) -> Any:
        written = write(*arguments, **options)
        monkeypatch.setattr(iceberg, "_write", write)
        export_iceberg(first, uri, "replace")
        return written

    monkeypatch.setattr(iceberg, "_write", beaten)
    with pytest.raises(DataError, match="another writer added to the table meanwhile; not exported, run it"):
        export_iceberg(second, uri, "append")
    assert iceberg_rows(uri).num_rows == 5
    export_iceberg(second, uri, "append")
    assert iceberg_rows(uri).num_rows == 5 + 3


@pytest.mark.parametrize("hint", ["old", "late", "none"])
def test_the_newest_commit_is_found_whatever_the_hint_says(hint: str, tmp_path: Path) -> None:
    version, uri = published(tmp_path / "store"), tmp_path / "table"
    export_iceberg(version, str(uri), "new")
    metadata = uri / "metadata"
    if hint == "old":
        # As tables were written before commits had numbers.
        (metadata / "v1.metadata.json").unlink()
        (name,) = (path.name for path in metadata.glob("0*.metadata.json"))
        (metadata / "version-hint.text").write_text(name.removesuffix(".metadata.json"))
    else:
        export_iceberg(published(tmp_path / "store"), str(uri), "replace")
        (metadata / "version-hint.text").write_text("1")
        if hint == "none":
            (metadata / "version-hint.text").unlink()
    export_iceberg(published(tmp_path / "store", table=ROWS.slice(0, 2)), str(uri), "append")
    assert iceberg_rows(str(uri)).num_rows == 5 + 3


def test_types_that_tables_do_not_have_are_named(lake: tuple[Any, Any], tmp_path: Path) -> None:
    export, _ = lake
    version = published(
        tmp_path / "store", table=pa.table({"x": [1], "gone": pa.array([1], pa.duration("s"))})
    )
    with pytest.raises(
        DataError, match=r"column 'gone' is of type duration\[s\], which such tables do not have"
    ):
        export(version, str(tmp_path / "table"), "new")
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize(
    ("export", "package", "line"),
    [
        (export_delta, "deltalake", "--delta: needs deltalake, which is not installed: .*synthmill.delta."),
        (export_iceberg, "pyiceberg", "--iceberg: needs pyiceberg, which is not .*synthmill.iceberg."),
    ],
)
def test_a_missing_package_is_one_line(
    export: Any, package: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    # As where it is not installed: the import fails.
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.catalog", None)
    with pytest.raises(UserError, match=line) as caught:
        export(published(tmp_path), str(tmp_path / "table"), "new")
    assert "\n" not in str(caught.value)


def test_the_command_takes_one_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_dataset(Store(tmp_path), "d", table=TABLE)
    start = ("datasets", "export", "d", "--store", str(tmp_path))
    code, line, _ = command(capsys, *start)
    assert (code, line["error"]) == (
        2,
        "FOLDER: give one of a folder for images, --iceberg URI and --delta URI",
    )
    code, line, _ = command(capsys, *start, "--delta", "x", "--mode", "merge")
    assert (code, line["error"]) == (2, "--mode: must be one of new, append, replace, got 'merge'")
