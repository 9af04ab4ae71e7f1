import datetime
import io
import itertools
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.serving.formats import (
    END_KEY,
    FORMATS,
    Csv,
    Drawn,
    Json,
    Label,
    NdJson,
)
from synthmill.serving.json_rows import _few_objects, _many_objects, json_objects
from synthmill.serving.negotiation import NotAcceptableError, negotiate

LABEL = Label("adult@1", "d" * 64, 7, lambda: {"AIGC": '{"Label":"1"}'})
TABLE = pa.table(
    {
        "whole": pa.array([1, None, -3], pa.int64()),
        "real": [0.1, float("nan"), None],
        "text": ['say "hi"\n\\', "naive \u00e9", None],
        "plain": ["a", "b", "c"],
        "flag": [True, False, None],
        "day": [datetime.date(2024, 2, 29), None, datetime.date(1999, 12, 31)],
        "time": pa.array(
            [datetime.datetime(2024, 2, 29, 12, 30), None, datetime.datetime(1970, 1, 1)], pa.timestamp("ms")
        ),
        "money": pa.array([Decimal("1.50"), None, Decimal("-2.00")], pa.decimal128(8, 2)),
        "coded": pa.array(["x", None, "y"]).dictionary_encode(),
        "nested": [[1, 2], None, []],
    }
)
PLAIN = TABLE.drop_columns(["coded", "nested", "money"])


def encode(form, table: pa.Table, cuts: tuple[int, ...] = (1,)) -> bytes:
    """The answer with a piece boundary at each cut, and an empty piece."""
    encoder = form(table.schema, LABEL)
    edges = [0, *cuts, table.num_rows]
    pieces = [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    pieces.insert(1, table.slice(0, 0))
    return encoder.begin() + b"".join(encoder.piece(piece) for piece in pieces) + encoder.end()


EXPECTED = [
    {
        "whole": 1,
        "real": 0.1,
        "text": 'say "hi"\n\\',
        "plain": "a",
        "flag": True,
        "day": "2024-02-29",
        "time": "2024-02-29T12:30:00.000",
        "money": 1.5,
        "coded": "x",
        "nested": [1, 2],
    },
    dict.fromkeys(TABLE.column_names) | {"text": "naive \u00e9", "plain": "b", "flag": False},
    {
        "whole": -3,
        "real": None,
        "text": None,
        "plain": "c",
        "flag": None,
        "day": "1999-12-31",
        "time": "1970-01-01T00:00:00.000",
        "money": -2.0,
        "coded": "y",
        "nested": [],
    },
]


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2)])
def test_json_is_one_object_that_says_what_made_it(cuts: tuple[int, ...]):
    told = json.loads(encode(Json, TABLE, cuts))
    assert told.pop("rows") == EXPECTED
    assert told == {
        "object": "rows",
        "ai_generated": True,
        "model": "adult@1",
        "digest": "d" * 64,
        "seed": 7,
        "num_rows": 3,
    }


def test_ndjson_ends_in_a_count():
    *rows, end = [json.loads(line) for line in encode(NdJson, TABLE).splitlines()]
    assert rows == EXPECTED
    assert end[END_KEY]["num_rows"] == 3
    assert end[END_KEY]["ai_generated"] is True


def test_csv_reads_back():
    read = pa.csv.read_csv(
        io.BytesIO(encode(Csv, PLAIN)), convert_options=pa.csv.ConvertOptions(strings_can_be_null=True)
    )
    assert read.column_names == PLAIN.column_names
    assert read["text"].to_pylist() == PLAIN["text"].to_pylist()
    assert read["whole"].to_pylist() == [1, None, -3]
    assert encode(Csv, TABLE).count(b'"whole"') == 1


def test_arrow_keeps_types_and_carries_the_label():
    read = pa.ipc.open_stream(encode(FORMATS["application/vnd.apache.arrow.stream"], TABLE)).read_all()
    assert read.schema.equals(TABLE.schema)
    assert str(read.to_pydict()) == str(TABLE.to_pydict())  # NaN equals nothing, not even itself.
    assert read.schema.metadata == {b"AIGC": b'{"Label":"1"}'}


def test_parquet_keeps_types_and_carries_the_label():
    file = pa.parquet.ParquetFile(io.BytesIO(encode(FORMATS["application/vnd.apache.parquet"], PLAIN)))
    assert file.schema_arrow.equals(PLAIN.schema)
    assert str(file.read().to_pydict()) == str(PLAIN.to_pydict())
    assert file.schema_arrow.metadata[b"AIGC"] == b'{"Label":"1"}'


@pytest.mark.parametrize("media_type", [name for name in FORMATS if name != "text/csv"])
def test_a_cut_answer_can_be_told_from_a_whole_one(media_type: str):
    whole = encode(FORMATS[media_type], PLAIN, (1, 2))
    assert complete(media_type, whole)
    for keep in (0.3, 0.6, 0.95):
        assert not complete(media_type, whole[: int(len(whole) * keep)])


def complete(media_type: str, data: bytes) -> bool:
    """What a careful client checks."""
    try:
        if media_type == Json.media_type:
            return json.loads(data)["num_rows"] == 3
        if media_type == NdJson.media_type:
            lines = data.splitlines()
            return json.loads(lines[-1])[END_KEY]["num_rows"] == len(lines) - 1
        if "arrow" in media_type:
            return (
                data.endswith(b"\xff\xff\xff\xff\0\0\0\0")
                and pa.ipc.open_stream(data).read_all().num_rows == 3
            )
        return pa.parquet.read_table(io.BytesIO(data)).num_rows == 3
    except (ValueError, KeyError, IndexError, pa.ArrowException, OSError):
        return False


@pytest.mark.parametrize("form", [Json, NdJson])
@pytest.mark.parametrize("columns", [None, ["text", "whole"]])
def test_a_slice_of_a_shared_batch_is_an_answer_of_its_own(form, columns: list[str] | None):
    drawn = Drawn(pa.concat_tables([TABLE, TABLE]))
    schema = TABLE.schema if columns is None else pa.schema([TABLE.schema.field(name) for name in columns])
    expected = TABLE.slice(1, 2) if columns is None else TABLE.slice(1, 2).select(columns)
    assert form(schema, LABEL).whole(drawn, 4, 2, columns) == encode(form, expected, ())


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "text": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
                "number": st.none() | st.floats(),
                "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
            }
        ),
        min_size=1,
        max_size=200,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_row_survives_json(rows: list[dict[str, object]]):
    schema = pa.schema([("text", pa.string()), ("number", pa.float64()), ("whole", pa.int64())])
    table = pa.Table.from_pylist(rows, schema)
    read = [json.loads(line) for line in json_objects(table, "\n").to_pylist()]
    finite = [
        {
            **row,
            "number": row["number"]
            if row["number"] is not None and abs(row["number"]) < float("inf")
            else None,
        }
        for row in rows
    ]
    assert read == finite


@pytest.mark.parametrize("ending", ["\n", ",\n"])
def test_few_rows_and_many_have_the_same_text(ending: str):
    control = "".join(chr(byte) for byte in range(32)) + "\x7f\u2028"
    odd = pa.table(
        {
            'a "name"': [control, "</script>"],
            "real": [1e300, -0.0],
            "short": pa.array([0.1, 2.5], pa.float32()),
        }
    )
    for table in (TABLE, odd, TABLE.slice(1, 1)):
        assert _few_objects(table, ending).equals(_many_objects(table, ending))


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("text/html, text/*;q=0.5", "text/csv"),
        ("application/json;q=0.1, application/x-ndjson", "application/x-ndjson"),
        ("APPLICATION/VND.APACHE.PARQUET; v=1", "application/vnd.apache.parquet"),
        ("application/json;q=0, */*;q=0.1", "application/x-ndjson"),
        ("*/*, application/json;q=0.1", "application/x-ndjson"),
        ("application/*;q=0, */*", "text/csv"),
        ("*/*;q=0, text/*", "text/csv"),
        ("text/html, text/csv", "text/csv"),
    ],
)
def test_accept_chooses_the_format(accept: str | None, media_type: str):
    assert negotiate(accept, tuple(FORMATS.values())).media_type == media_type


@pytest.mark.parametrize(
    "accept", ["text/html", "image/png", "application/json;q=0", ";;;", "application/json;q=x"]
)
def test_no_format_names_those_there_are(accept: str):
    with pytest.raises(NotAcceptableError, match=r"Accept: can't answer as .*application/x-ndjson"):
        negotiate(accept, tuple(FORMATS.values()))
