"""What text files are like: dialects, encodings, headers that are rows, footers, comments, and where a fault
stands."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from synthmill.config import DataConfig, StorageConfig
from synthmill.data.files import Files, read_files
from synthmill.errors import DataError


def read(tmp_path: Path, content: str | bytes, name: str = "rows.csv", **options: object) -> Files:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    config = DataConfig.model_validate({"source": str(path), **options})
    return read_files(str(path), config, StorageConfig(), keep_text=frozenset())


def refused(tmp_path: Path, content: str | bytes, name: str = "rows.csv", **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


PEOPLE = "77,Bern,3639.59\n42,Bern,3540.57\n77,Ulm,3119.54\n51,Bern,2999.00\n"


@pytest.mark.parametrize(
    "content",
    [
        PEOPLE,
        PEOPLE.replace(",", ";"),
        PEOPLE.replace(",", "\t"),
        "39, State-gov, 77516, <=50K\n50, Private, 83311, <=50K\n38, Private, 215646, >50K\n"
        "53, State-gov, 234721, >50K\n",
        "2024-01-05,a\n2024-01-06,b\n2024-02-07,a\n",
        "yes,Bern\nno,Bern\nyes,Ulm\nno,Ulm\n",
    ],
)
def test_a_header_that_is_a_row_is_refused(tmp_path: Path, content: str) -> None:
    message = refused(tmp_path, content)
    assert "rows.csv begins with what looks like a row, not column names" in message
    assert "set data.header: false" in message
    assert read(tmp_path, content, header=False).table.num_rows == len(content.splitlines())
    assert read(tmp_path, content, header=True).table.num_rows == len(content.splitlines()) - 1


@pytest.mark.parametrize(
    "content",
    [
        "0,1,2,3\n5,1,2,3\n0,1,2,3\n",
        "state,2019,2020,2021\nA,1,2,3\nB,2019,2020,2021\n",
        "id,400.5,401.5,403.9\n1,0.1,0.2,0.1\n2,0.2,0.2,0.3\n",
        "yes,no\n1,2\n3,4\n",
        "Other,city\nYes,Bern\nOther,Ulm\nNo,Bern\n",
        "x\n1\n2\n",
        "Bern\nUlm\nBern\n",
    ],
)
def test_names_that_look_odd_are_names(tmp_path: Path, content: str) -> None:
    names = content.splitlines()[0].split(",")
    assert read(tmp_path, content).table.column_names == names


def test_names_for_a_file_without_a_header(tmp_path: Path) -> None:
    table = read(tmp_path, PEOPLE, columns=["age", "city", "pay"]).table
    assert table.to_pydict()["age"] == [77, 42, 77, 51]
    assert read(tmp_path, "age,city,pay\n" + PEOPLE, columns=["age", "city", "pay"]).table.equals(table)
    assert read(tmp_path, "a,b,c\n" + PEOPLE, header=True, columns=["age", "city", "pay"]).table.equals(table)
    assert read(tmp_path, PEOPLE, header=False).table.column_names == ["column_1", "column_2", "column_3"]
    assert refused(tmp_path, PEOPLE, columns=["a"]) == "data.columns: names 1 columns where rows.csv has 3"
    assert "two columns named 'a'" in refused(tmp_path, PEOPLE, columns=["a", "a", "b"])


@pytest.mark.parametrize(
    ("content", "names", "cells"),
    [
        ("a;b\n1,5;2\n", ["a", "b"], ["1,5", 2]),
        ("a;b\n1;x, y, z\n", ["a", "b"], [1, "x, y, z"]),
        ("a\tb\n1\tx,y\n", ["a", "b"], [1, "x,y"]),
        ("a|b\n1|x\n", ["a", "b"], [1, "x"]),
        ('a,b\n1,"x;y"\n', ["a", "b"], [1, "x;y"]),
        ("Doe, J;age\nRoe, K;4\n", ["Doe, J", "age"], ["Roe, K", 4]),
    ],
)
def test_dialects(tmp_path: Path, content: str, names: list[str], cells: list[object]) -> None:
    table = read(tmp_path, content, header=True).table
    assert table.column_names == names
    assert [column[0].as_py() for column in table.columns] == cells


def test_a_delimiter_can_be_stated(tmp_path: Path) -> None:
    assert read(tmp_path, "a:b\n1:2\n", delimiter=":").table.to_pydict() == {"a": [1], "b": [2]}
    assert read(tmp_path, "a\tb\n1\t2\n", delimiter="tab").table.to_pydict() == {"a": [1], "b": [2]}
    message = refused(tmp_path, "a::b\n1::2\n", delimiter="::")
    assert message.startswith("data.delimiter: '::' is no delimiter")


def test_columns_set_apart_by_blanks(tmp_path: Path) -> None:
    content = '18.0   8   307.0  "chevrolet a"\n15.0   8   350.0  "buick b"\n17.5   6   300.0  "amc c"\n'
    found = read(tmp_path, content * 3, "auto.data", header=False)
    assert found.table.to_pydict()["column_4"][:2] == ["chevrolet a", "buick b"]
    assert found.table["column_1"][0].as_py() == 18.0
    assert "auto.data is read as separated by white space" in found.notes[0]
    assert read(tmp_path, "name\nann lee\nbob ray\njo doe\n").table.column_names == ["name"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_marks_and_wide_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    found = read(tmp_path, "name,x\nJosé,1\nZoë,2\n".encode(encoding))
    assert found.table.to_pydict() == {"name": ["José", "Zoë"], "x": [1, 2]}
    assert any("was read as such" in note for note in found.notes) == (encoding != "utf-8-sig")


def test_other_encodings_are_asked_for(tmp_path: Path) -> None:
    content = "name,x\nJosé,1\nZoë,2\n".encode("latin-1")
    message = refused(tmp_path, content)
    assert "line 2 of rows.csv is not UTF-8 ('José' in Windows-1252); set data.encoding: cp1252" in message
    assert read(tmp_path, content, encoding="latin-1").table["name"].to_pylist() == ["José", "Zoë"]
    assert "no encoding named 'latin-99'" in refused(tmp_path, content, encoding="latin-99")
    assert "rows.csv is not utf-16" in refused(tmp_path, content + b"x", encoding="utf-16")
    japanese = "name,x\n東京,1\n大阪,2\n"
    found = read(tmp_path, japanese.encode("shift-jis"), encoding="shift-jis")
    assert found.table["name"].to_pylist() == ["東京", "大阪"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n\n3,4\n5\n6,7\n", "line 5 of rows.csv has 1 cells where the header has 2; fix or"),
        ('a,b\n1,"x\n\n\ny"\n5,6,7\n8,9\n', "line 6 of rows.csv has 3 cells where the header has 2"),
        ("a,b\n1,2\n3,4,5\n3,4\n3,4,5\n3,4\n", "line 3 of rows.csv has 3 cells where the header has 2, as"),
        ("# c\n\na,b\n1,2\n3\n4,5\n", "line 5 of rows.csv has 1 cells"),
        ("a,b\n1,2\n3\n", "or set data.footer_rows: 1 if it is no row"),
        (b"a,b\n1,2\n3,\x004\n", "line 3 of rows.csv holds a zero byte"),
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "a quote in line 3 of rows.csv is not closed"),
        ("a,b,a\n1,2,3\n", "rows.csv has two columns named 'a'; rename one"),
        ("a, a\n1,2\n", "rows.csv has two columns named 'a'; rename one"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in refused(tmp_path, content)


@pytest.mark.parametrize(
    ("last", "rows"),
    [
        ("Total,,1234\n", 3),
        ("Grand total,,1234\n", 3),
        ("Summe:,,1234\n", 3),
        ("N,,4\nTotal,,1234\n", 4),
        ("Total,,1234\nSource: WHO 2024\n", 3),
        ("(3 rows affected)\n\n", 3),
        ("Source: WHO,,\n", 3),
        ("* provisional\n", 3),
    ],
)
def test_totals_and_footnotes_are_left_out_and_named(tmp_path: Path, last: str, rows: int) -> None:
    content = "region,kind,pay\nN,a,1\nS,b,2\nN,a,3\n"
    found = read(tmp_path, content + last)
    assert found.table.num_rows == rows
    assert any("left out as totals or footnotes" in note for note in found.notes)
    shown = "Total" if rows == 4 else last[:5]
    assert shown in " ".join(found.notes)


def test_what_is_no_footer(tmp_path: Path) -> None:
    content = "kind,pay\ntotal,1\npart,2\ntotal,3\n"
    assert read(tmp_path, content).table.num_rows == 3
    content = "region,kind,pay\nN,a,1\nS,b,2\nTotal,,3\n"
    assert read(tmp_path, content, footer_rows=0).table.num_rows == 3
    assert read(tmp_path, content + "1;2\nbye\n", footer_rows=3).table.num_rows == 2


def test_what_stands_above_the_header(tmp_path: Path) -> None:
    rows = "Region,Q1,Q2\nN,1,2\nS,3,4\n"
    found = read(tmp_path, "Sales report\n\n" + rows)
    assert found.table.column_names == ["Region", "Q1", "Q2"]
    assert found.notes == ("rows.csv: 1 line before the header is left out (Sales report)",)
    found = read(tmp_path, "# made on 2024-01-01\n#\n" + rows)
    assert found.table.column_names == ["Region", "Q1", "Q2"]
    assert found.notes == ("rows.csv: 2 lines that begin with # left out before the header",)
    found = read(tmp_path, "#id,x\n1,2.5\n2,3.5\n3,4.5\n")
    assert found.table.to_pydict() == {"#id": [1, 2, 3], "x": [2.5, 3.5, 4.5]}


def test_headers_of_joined_files_are_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, "a,b\n1,x\n2,y\na,b\n3,z\n")
    assert found.table.to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert found.notes == ("rows.csv: the header stands once among the rows; left out there",)


def test_columns_without_a_name(tmp_path: Path) -> None:
    found = read(tmp_path, ",a\n0,x\n1,y\n")
    assert found.table.column_names == ["column_1", "a"]
    assert found.notes == ("column 1 of rows.csv has no name; it is called column_1",)
    assert read(tmp_path, "a,b,\n1,2,\n3,4,\n").table.column_names == ["a", "b"]
    found = read(tmp_path, "a,b\n1,2,\n3,4,\n")
    assert found.table.to_pydict() == {"a": [1, 3], "b": [2, 4]}
    assert "every row ends in a delimiter" in found.notes[0]
    found = read(tmp_path, "x,y\nr1,2,3\nr2,5,6\n")
    assert found.table.to_pydict() == {"column_1": ["r1", "r2"], "x": [2, 5], "y": [3, 6]}
    assert "as R writes row names" in found.notes[0]


@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, line: str) -> None:
    content = line.join(["a,b", "1,x", "2,y", ""])
    assert read(tmp_path, content).table.to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert read(tmp_path, content.rstrip()).table.num_rows == 2


def zipped(content: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return out.getvalue()


def by_arrow(content: bytes, kind: str) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, kind) as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize("name", ["rows.csv.packed", "rows.csv"])
def test_compressed_text_whatever_its_name(tmp_path: Path, name: str) -> None:
    content = b"a,b\n1,x\n2,y\n"
    for packed in (
        gzip.compress(content),
        bz2.compress(content),
        lzma.compress(content),
        by_arrow(content, "zstd"),
        by_arrow(content, "lz4"),
        zipped(content, "rows.csv", "__MACOSX/rows.csv"),
    ):
        assert read(tmp_path, packed, name).table.to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert "holds 2 files (a.csv, b.csv); unpack it" in refused(tmp_path, zipped(content, "a.csv", "b.csv"))
    assert "can't be read as gzip" in refused(tmp_path, gzip.compress(content)[:-9])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html>", "is a web page; download the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS; run git lfs pull"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"SQLite format 3\0" + bytes(84), "is an SQLite database; write sqlite:///PATH?table=NAME"),
        (b"\x80\x04\x95" + bytes(20), "is a Python pickle, which can run code"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is a PNG image"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    assert f"rows.csv {message}" in refused(tmp_path, content)
