"""Sources: what is read, how cells are typed, and which one line each fault gets."""

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthmill.config import DataConfig
from synthmill.data.readers.base import Source, read_source
from synthmill.data.readers.table import SKLEARN_TABLES
from synthmill.errors import DataError, UserError
from tables import customers, write_customers


def read(source: object, **options: object) -> Source:
    return read_source(DataConfig.model_validate({"source": str(source), **options}))


def csv_file(tmp_path: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_types_follow_from_all_values(tmp_path: Path) -> None:
    assert read(write_customers(tmp_path / "c.csv", rows=200)).table.equals(customers(200))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "+3"], pa.int64()),
        (["9223372036854775807", "-9223372036854775808"], pa.int64()),
        (["1", "2.5"], pa.float64()),
        (["1e3", ".5"], pa.float64()),
        (["1", "nan"], pa.float64()),
        (["007", "123"], pa.string()),
        (["99999999999999999999", "1"], pa.string()),
        (["TRUE", "false"], pa.bool_()),
        (["yes", "no"], pa.string()),
        (["2024-02-29", "1999-12-31"], pa.date32()),
        (["2024-02-30", "1999-12-31"], pa.string()),
        (["2024-01-01 10:00", "2024-01-01T10:00:01"], pa.timestamp("ms")),
        (["2024-01-01T10:00:00.25", "2024-01-01T10:00:00.250001"], pa.timestamp("us")),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00+02:00"], pa.timestamp("ms", "UTC")),
        (["a", "1"], pa.string()),
    ],
)
def test_detected_type(tmp_path: Path, cells: list[str], kind: pa.DataType) -> None:
    table = read(csv_file(tmp_path, "x\n" + "\n".join(cells) + "\n")).table
    assert table.schema.field("x").type == kind
    assert table["x"].null_count == 0


def test_cells_are_trimmed_and_null_values_are_missing(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a, b\n 1, x\n ?, ?\n3,\n")
    assert read(path).table.to_pydict() == {"a": [1, None, 3], "b": ["x", None, None]}
    untouched = read(path, trim=False, null_values=[]).table
    assert untouched.to_pydict() == {"a": [" 1", " ?", "3"], "b": [" x", " ?", ""]}


def test_quotes_other_separators_marks_and_compression(tmp_path: Path) -> None:
    expected = {"a": [1, 2], "b": ["x\ny", "z"]}
    assert read(csv_file(tmp_path, 'a,b\r\n1,"x\ny"\r\n2,z\r\n')).table.to_pydict() == expected
    assert read(csv_file(tmp_path, 'a;b\n1;"x\ny"\n2;z\n')).table.to_pydict() == expected
    assert (
        read(csv_file(tmp_path, b'\xef\xbb\xbfa\tb\n1\t"x\ny"\n2\tz\n', "rows.tsv")).table.to_pydict()
        == expected
    )
    assert (
        read(csv_file(tmp_path, gzip.compress(b'a,b\n1,"x\ny"\n2,z\n'), "rows.csv.gz")).table.to_pydict()
        == expected
    )


@pytest.mark.parametrize(
    "start",
    [
        b"a,b\n",
        b"\n\na,b\n",
        b"\r\n\r\na,b\r\n",
        b"   \na,b\n",
        b"\xef\xbb\xbf\r\n  \r\na,b\n",
        b"\xef\xbb\xbfa,b\n",
        b"sep=,\na,b\n",
        b'\xef\xbb\xbf"SEP=,"\r\n\r\na,b\r\n',
    ],
)
def test_what_stands_before_the_header_is_skipped(tmp_path: Path, start: bytes) -> None:
    assert read(csv_file(tmp_path, start + b"1,2\n3,4\n")).table.to_pydict() == {"a": [1, 3], "b": [2, 4]}
    with pytest.raises(
        DataError, match=f"^data.source: line {len(start.splitlines()) + 1} of rows.csv has 1 cells"
    ):
        read(csv_file(tmp_path, start + b"1\n3,4\n"))


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ('"last, first";age;x\n"Doe, J";3;1\n"Roe, K";4;2\n', ["last, first", "age", "x"]),
        ('id;"a\nb, ""c"", d";x\n1;2;3\n4;5;6\n', ["id", 'a\nb, "c", d', "x"]),
        ('5" disk|a;b\n1;"2"\n3;"4"\n', ['5" disk|a', "b"]),
        ("sep=|\na,b|c;d\n1|2\n3|4\n", ["a,b", "c;d"]),
        ("sep=\t\na,b\tc\n1\t2\n3\t4\n", ["a,b", "c"]),
        ("sep=^\na,b^c\n1^2\n3^4\n", ["a,b", "c"]),
    ],
)
def test_the_delimiter_is_the_one_outside_quotes_or_the_one_stated(
    tmp_path: Path, cells: str, names: list[str]
) -> None:
    assert read(csv_file(tmp_path, cells)).table.column_names == names


def test_a_header_whose_quote_is_not_closed(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=(
            r"^data\.source: the header of rows\.csv can't be read .*; look for a quote that is not closed$"
        ),
    ):
        read(csv_file(tmp_path, '"a,b\n' + "1,2\n" * 40_000))


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    """As data frames write their index."""
    assert read(csv_file(tmp_path, ",a\n0,x\n1,y\n")).table.column_names == ["column_1", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows.csv is empty"),
        (b" \n\n", "rows.csv is empty"),
        (b"a,b\n", "rows.csv has a header but no rows"),
        (b"a,b\n1,2\n", "has one row; a model needs at least 2"),
        (b"a,b,a\n1,2,3\n1,2,3\n", "rows.csv has two columns named 'a'; rename one"),
        (b"a,b\n1,2\n3\n", "line 3 of rows.csv has 1 cells where the header has 2"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 of rows.csv has 3 cells where the header has 2"),
        (b"a,b\n1,caf\xe9\n3,x\n", "line 2 of rows.csv is not UTF-8 ('caf\u00e9' in Windows-1252); set"),
        (b"\xff\xfea\x00\n\x00", "rows.csv has a header but no rows"),
        (b"a,b\n1,?\n2,\n", "column 'b' holds only missing values; drop it with a schema file"),
    ],
)
def test_a_malformed_csv_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=r"^data\.source: ") as caught:
        read(csv_file(tmp_path, content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.csv", "no file or folder with data at"),
        ("sklearn://iriss", "no scikit-learn table named 'iriss'; did you mean 'iris'?"),
        ("ftp://host/a.csv", "no storage for 'ftp://'"),
        ("s3://-a/a.csv", "is not a bucket name"),
        ("dataset://adult", "needs a store"),
    ],
)
def test_a_source_that_is_not_there(source: str, message: str) -> None:
    with pytest.raises(DataError, match=r"^data\.source: ") as caught:
        read(source)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "churnd"}, "data.target: no column named 'churnd'; did you mean 'churned'?"),
        (
            {"split": {"group": "customr"}},
            "data.split.group: no column named 'customr'; did you mean 'customer'?",
        ),
        ({"schema": "nowhere.yaml"}, "data.schema: no file at nowhere.yaml"),
    ],
)
def test_unknown_columns_and_files(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(write_customers(tmp_path / "c.csv", rows=50), **options)
    assert str(caught.value) == message


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    import hashlib

    path = write_customers(tmp_path / "c.csv", rows=50)
    assert read(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text().replace("C-00001", "C-99999"))
    assert (
        read(path).sha256
        != hashlib.sha256(write_customers(tmp_path / "d.csv", rows=50).read_bytes()).hexdigest()
    )


def test_parquet_files_folders_and_partitions_are_one_table(every_store: str, tmp_path: Path) -> None:
    from synthmill.storage.folder import Folder

    table = customers(100)
    folder = Folder(every_store)
    for name, part in (
        ("one.parquet", table),
        ("many/a.parquet", table.slice(0, 30)),
        ("many/b.parquet", table.slice(30)),
    ):
        pq.write_table(part, tmp_path / "part")
        folder.upload(tmp_path / "part", name)
    folder.write_bytes("many/_manifest.json", b"{}")
    for year in (2023, 2024):
        pq.write_table(pa.table({"x": [float(year), 1.5]}), tmp_path / "part")
        folder.upload(tmp_path / "part", f"hive/year={year}/part.parquet")
    whole, parts = read(f"{every_store}/one.parquet"), read(f"{every_store}/many")
    assert whole.table.equals(table)
    assert parts.table.equals(table)
    assert whole.sha256 != parts.sha256
    assert read(f"{every_store}/hive").table.to_pydict() == {
        "x": [2023.0, 1.5, 2024.0, 1.5],
        "year": [2023, 2023, 2024, 2024],
    }


@pytest.mark.parametrize("plain", [pa.string(), pa.large_string(), pa.string_view()])
def test_categories_of_a_data_frame_join_plain_strings(tmp_path: Path, plain: pa.DataType) -> None:
    coded = pa.array(["a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"c": coded, "n": pa.array([1, 2]).dictionary_encode()}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"n": [3, 4], "c": pa.array(["c", None], plain)}), tmp_path / "2.parquet")
    assert read(tmp_path).table.to_pydict() == {"c": ["a", "b", "c", None], "n": [1, 2, 3, 4]}


def test_a_folder_of_csv_is_typed_as_a_whole(tmp_path: Path) -> None:
    csv_file(tmp_path, "a,b\n1,x\n", "1.csv")
    csv_file(tmp_path, "b,a\ny,2.5\n", "2.csv")
    assert read(tmp_path).table.to_pydict() == {"a": [1.0, 2.5], "b": ["x", "y"]}
    csv_file(tmp_path, "a,c\n1,x\n", "3.csv")
    with pytest.raises(DataError, match=r"3\.csv and 1\.csv differ in columns \('b' is in one of them\)"):
        read(tmp_path)


def test_a_folder_of_both_kinds_or_none_is_refused(tmp_path: Path) -> None:
    csv_file(tmp_path, "hello", "readme.md")
    with pytest.raises(DataError, match=r"holds no \.csv or \.parquet file"):
        read(tmp_path)
    csv_file(tmp_path, "a\n1\n", "1.csv")
    pq.write_table(customers(10), tmp_path / "2.parquet")
    with pytest.raises(DataError, match="holds both CSV and Parquet files"):
        read(tmp_path)


def test_what_is_no_parquet_or_can_not_be_learnt(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bad\.parquet can't be read as Parquet"):
        read(csv_file(tmp_path, b"PAR1 and nothing else", "bad.parquet"))
    pq.write_table(pa.table({"a": [1, 2], "b": [[1], [2]]}), tmp_path / "nested.parquet")
    with pytest.raises(
        DataError, match=r"column 'b' is of type list<.*>, which no model here can learn; drop it"
    ):
        read(tmp_path / "nested.parquet")
    huge = pa.array([Decimal(10**25), Decimal(1)], pa.decimal128(30, 0))
    pq.write_table(pa.table({"a": [1, 2], "b": huge}), tmp_path / "huge.parquet")
    with pytest.raises(DataError, match="column 'b' has decimals of more than 18 digits"):
        read(tmp_path / "huge.parquet")
    pq.write_table(pa.table({"a": [1, 2], "b": [float("nan")] * 2}), tmp_path / "nan.parquet")
    with pytest.raises(DataError, match="column 'b' holds only missing values"):
        read(tmp_path / "nan.parquet")


@pytest.mark.parametrize("name", SKLEARN_TABLES)
def test_bundled_tables(name: str) -> None:
    source = read(f"sklearn://{name}")
    assert source.sha256 == read(f"sklearn://{name}").sha256
    if name not in ("linnerud", "diabetes", "digits"):
        assert pa.types.is_string(source.table["target"].type)


def test_breast_cancer_is_the_table_of_the_library() -> None:
    from sklearn.datasets import load_breast_cancer

    bunch, table = load_breast_cancer(), read("sklearn://breast_cancer", target="target").table
    assert table.shape == (569, 31)
    assert np.array_equal(table["mean area"].to_numpy(), bunch.data[:, 3])
    assert table["target"].to_pylist() == [["malignant", "benign"][i] for i in bunch.target]


def test_a_dataset_of_the_catalog(every_store: str) -> None:
    from synthmill.catalog.dataset import write_shard
    from synthmill.catalog.store import Store

    table, store = customers(100), Store(every_store)
    with store.begin("datasets", "adult", run_key="k", run_id="r") as draft:
        files = tuple(
            write_shard(draft.folder, i, [table.slice(50 * i, 50)], table.schema, footer={}, run_key="k")
            for i in range(2)
        )
        version = draft.commit(draft.manifest(files=files, schema=table.schema))
    source = read_source(DataConfig(source="dataset://adult"), store=store)
    assert source.table.equals(table)
    assert (source.uri, source.sha256) == ("dataset://adult@1", version.manifest.content_digest)
    with pytest.raises(UserError, match=r"^data\.source: .*did you mean 'adult'"):
        read_source(DataConfig(source="dataset://adlt"), store=store)
