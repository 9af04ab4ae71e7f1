"""Kinds of input that were damaged once, each from its reading to the rows that come out."""

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from synthmill.config import DataConfig
from synthmill.data.batch import Batch
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.readers.base import Source, inspect_source, read_source
from synthmill.data.schema import ColumnRule
from synthmill.errors import ColumnsError, DataError
from synthmill.generation.condition import Where

ROWS = 800
RNG = np.random.default_rng(3)
GROUPS = [("a", "b")[i] for i in RNG.integers(0, 2, ROWS)]


def read_csv(
    folder: Path, columns: dict[str, list[str]], schema: str | None = None, **data: object
) -> Source:
    names = [*columns, "g"]
    lines = [";".join(names), *(";".join(cells) for cells in zip(*columns.values(), GROUPS, strict=True))]
    (folder / "in.csv").write_text("\n".join(lines) + "\n")
    if schema is not None:
        (folder / "s.yaml").write_text(schema)
        data["schema"] = str(folder / "s.yaml")
    return read_source(DataConfig.model_validate({"source": str(folder / "in.csv"), **data}))


def read_parquet(folder: Path, **columns: object) -> Source:
    pq.write_table(pa.table({**columns, "g": GROUPS}), folder / "in.parquet")
    return read_source(DataConfig(source=str(folder / "in.parquet")))


def generate(source: Source, **rules: ColumnRule) -> pa.Table:
    """Rows as a perfect model of the codes alone would draw them, by a codec that went through its files."""
    fitted = MixedCodec.fit(source.table, DataConfig(source="x"), rules or source.rules)
    codec = codec_from_files(*fitted.to_files())
    return codec.decode(spread(codec.encode(source.table)), first_row=0)


def spread(batch: Batch) -> Batch:
    places = torch.rand(batch["values"].shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return batch.with_(values=places)


def holes(cells: list[str], word: str) -> list[str]:
    return [word if i % 9 == 0 else cell for i, cell in enumerate(cells)]


@pytest.mark.parametrize("word", ["NA", "NULL"])
@pytest.mark.parametrize(
    "schema",
    [None, "columns: {weight: {kind: numeric}, age: {kind: integer}, smoker: {kind: boolean}}"],
)
def test_missing_as_r_and_sql_write_it(tmp_path: Path, word: str, schema: str | None) -> None:
    cells = {
        "weight": holes([f"{w:.2f}" for w in RNG.normal(60, 9, ROWS)], word),
        "age": holes([str(a) for a in RNG.integers(18, 90, ROWS)], word),
        "smoker": holes([("TRUE", "FALSE")[i] for i in RNG.integers(0, 2, ROWS)], word),
    }
    made = generate(read_csv(tmp_path, cells, schema))
    assert [str(made.schema.field(name).type) for name in cells] == ["double", "int64", "bool"]
    assert all(made[name].null_count == 89 for name in cells)


def test_dates_money_shares_and_decimal_commas(tmp_path: Path) -> None:
    days = [datetime(2020, 1, 1) + timedelta(hours=int(h)) for h in RNG.integers(0, 40_000, ROWS)]
    money = np.round(RNG.gamma(2, 700, ROWS), 2)
    cells = {
        "us": [day.strftime("%m/%d/%Y") for day in days],
        "eu": [day.strftime("%d.%m.%Y") for day in days],
        "utc": [day.strftime("%Y-%m-%d %H:%M:%S UTC") for day in days],
        "usd": [f"${value:,.2f}" for value in money],
        "share": [f"{value:.1f}%" for value in money % 100],
        "wert": [f"{value:.2f}".replace(".", ",") for value in money],
    }
    made = generate(read_csv(tmp_path, cells))
    patterns = [r"\d\d/\d\d/\d{4}", r"\d\d\.\d\d\.\d{4}", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"]
    patterns += [r"\$[\d,]+\.\d\d", r"\d+\.\d%", r"\d+,\d\d"]
    for name, pattern in zip(cells, patterns, strict=True):
        assert pc.all(pc.match_substring_regex(made[name], f"^{pattern}$")).as_py(), name
        assert len(set(made[name].to_pylist())) > 300
    assert {text[-4:] for text in made["us"].to_pylist()} == {"2020", "2021", "2022", "2023", "2024"}


@pytest.mark.parametrize("kind", [None, "identifier"])
def test_telephone_numbers_keep_their_plus(tmp_path: Path, kind: str | None) -> None:
    numbers = RNG.choice(10**8, ROWS, replace=False)
    cells = {
        "phone": [f"+4915{number:09d}" for number in numbers],
        "zip": [("02139", "94105")[i % 2] for i in range(ROWS)],
    }
    schema = None if kind is None else f"columns: {{phone: {{kind: {kind}}}}}"
    made = generate(read_csv(tmp_path, cells, schema))
    assert pc.all(pc.match_substring_regex(made["phone"], r"^\+4915\d{9}$")).as_py()
    assert len(set(made["phone"].to_pylist())) == ROWS
    assert set(made["zip"].to_pylist()) == {"02139", "94105"}


def test_unsigned_integers_reach_to_their_end(tmp_path: Path) -> None:
    hashes = RNG.integers(0, 2**64 - 1, ROWS, dtype=np.uint64)
    source = read_parquet(tmp_path, h=hashes)
    made = generate(source)["h"].to_numpy()
    assert made.dtype == np.uint64
    assert Counter(made.tolist()).most_common(1)[0][1] < 5
    assert abs(float((made > np.uint64(2**63)).mean()) - 0.5) < 0.05
    codec = MixedCodec.fit(source.table, DataConfig(source="x"))
    where = Where.parse(["h>=9223372036854775808"])
    where.check(codec)
    assert 0.4 < where.mask(codec.condition_table(codec.encode(source.table))).mean() < 0.6


@pytest.mark.parametrize("often", [3, 320])
@pytest.mark.parametrize("maximum", [None, "2025-01-01"])
def test_a_date_that_stands_for_never_is_a_value_of_its_own(
    tmp_path: Path, often: int, maximum: str | None
) -> None:
    days = [datetime(2021, 1, 1) + timedelta(days=int(d)) for d in RNG.integers(0, 900, ROWS)]
    days[:often] = [datetime(9999, 12, 31)] * often
    source = read_parquet(tmp_path, valid_to=pa.array(days, pa.timestamp("us")))
    made = generate(source, valid_to=ColumnRule(kind="datetime", maximum=maximum))["valid_to"].to_pylist()
    never = [day for day in made if day.year > 2024]
    assert set(never) == {datetime(9999, 12, 31)}
    assert len(never) == often
    assert min(made) >= datetime(2021, 1, 1)


def test_far_dates_of_few_rows_count_as_the_nearest(tmp_path: Path) -> None:
    days = [datetime(2021, 1, 1) + timedelta(days=int(d)) for d in RNG.integers(0, 900, ROWS)]
    days[0] = datetime(2747, 5, 5)
    made = generate(read_parquet(tmp_path, seen=pa.array(days, pa.timestamp("us"))))["seen"].to_pylist()
    assert max(made) < datetime(2024, 1, 1)


def test_midnights_are_those_of_the_zone(tmp_path: Path) -> None:
    zone = ZoneInfo("America/New_York")
    days = [datetime(2021, 1, 1, tzinfo=zone) + timedelta(days=int(d)) for d in RNG.integers(0, 900, ROWS)]
    made = generate(read_parquet(tmp_path, day=pa.array(days, pa.timestamp("us", "America/New_York"))))
    assert str(made.schema.field("day").type) == "timestamp[us, tz=America/New_York]"
    local = [moment.astimezone(zone) for moment in made["day"].to_pylist()]
    assert {(moment.hour, moment.minute) for moment in local} == {(0, 0)}
    assert len(set(local)) > 300


@pytest.mark.parametrize("cells", [["0"] * 797 + ["1"] * 3, ["no"] * 798 + ["yes"] * 2])
def test_a_rare_class_of_the_target_never_vanishes_unsaid(tmp_path: Path, cells: list[str]) -> None:
    source = read_csv(tmp_path, {"fraud": cells, "x": [str(v) for v in RNG.normal(size=ROWS)]})
    with pytest.raises(DataError, match=r"data\.target 'fraud': 1 class has too few training rows .* `keep`"):
        MixedCodec.fit(source.table, DataConfig(source="x", target="fraud"))
    kept = MixedCodec.fit(source.table, DataConfig(source="x", target="fraud", rare_target="keep"))
    made = kept.decode(kept.encode(source.table), first_row=0)["fraud"]
    assert made.to_pylist() == source.table["fraud"].to_pylist()
    assert any("1 rare classes (" in note and "are kept" in note for note in kept.notes)
    folded = MixedCodec.fit(source.table, DataConfig(source="x", target="fraud", rare_target="fold"))
    assert len(set(folded.decode(folded.encode(source.table), first_row=0)["fraud"].to_pylist())) == 1
    assert any("become other classes" in note for note in folded.notes)


def test_categories_of_metadata_keep_their_types(tmp_path: Path) -> None:
    cells = {
        "rooms": [str(n) for n in RNG.integers(1, 5, ROWS)],
        "vip": [("True", "False")[i] for i in RNG.integers(0, 2, ROWS)],
        "rate": [("9.99", "19.99")[i] for i in RNG.integers(0, 2, ROWS)],
    }
    sdtypes = ", ".join(f'"{name}": {{"sdtype": "categorical"}}' for name in cells)
    schema = f'{{"METADATA_SPEC_VERSION": "SINGLE_TABLE_V1", "columns": {{{sdtypes}}}}}'
    made = generate(read_csv(tmp_path, cells, schema))
    assert [str(made.schema.field(name).type) for name in cells] == ["int64", "bool", "double"]
    assert set(made["rooms"].to_pylist()) == {1, 2, 3, 4}
    assert set(made["rate"].to_pylist()) == {9.99, 19.99}


def test_years_and_indices_are_no_identifiers(tmp_path: Path) -> None:
    cells = {
        "YEAR": [str(1209 + i) for i in range(ROWS)],
        "price_index": [str(1000 + 2 * i - (i % 3 == 0)) for i in range(ROWS)],
        "order_id": [str(700_001 + i) for i in range(ROWS)],
    }
    source = read_csv(tmp_path, cells)
    made = generate(source)
    assert 1209 <= min(made["YEAR"].to_pylist()) < max(made["YEAR"].to_pylist()) <= 2008
    assert min(made["price_index"].to_pylist()) > 900
    kinds = {column.name: column.kind for column in inspect_source(DataConfig(source=source.uri)).columns}
    assert kinds == {
        "YEAR": "integer",
        "price_index": "integer",
        "order_id": "identifier",
        "g": "categorical",
    }


def test_all_columns_at_fault_are_named_at_once(tmp_path: Path) -> None:
    cells = {
        "v": [f"{w:.2f}" for w in RNG.normal(60, 9, ROWS)],
        "d": [str(date(2021, 1, 1) + timedelta(days=int(i))) for i in RNG.integers(0, 900, ROWS)],
        "notes": [f"patient {i} was seen and all is well today" for i in range(ROWS)],
    }
    cells["v"][3], cells["d"][5] = "50,1", "2022-02-30"
    with pytest.raises(ColumnsError) as caught:
        read_csv(tmp_path, cells)
    v, d, notes = caught.value.faults
    assert v.startswith(
        "column 'v' holds numbers, but also '50,1' (row 4); correct them, take them for missing"
    )
    assert d.startswith("column 'd' holds dates, but also '2022-02-30' (row 6)")
    assert notes.startswith("column 'notes' is free text")
    del cells["notes"]
    mended = read_csv(tmp_path, cells, null_values=("", "50,1", "2022-02-30"))
    assert [str(kind) for kind in mended.table.schema.types] == ["double", "date32[day]", "string"]


def test_a_stated_format_names_what_does_not_follow_it(tmp_path: Path) -> None:
    schema = "columns: {end: {kind: date, datetime_format: '%d/%m/%Y'}}"
    cells = {"end": [("15/01/2022", "31/12/9999", "05/06/2023")[i % 3] for i in range(ROWS)]}
    made = generate(read_csv(tmp_path, cells, schema))
    assert set(made["end"].to_pylist()) == {"15/01/2022", "31/12/9999", "05/06/2023"}
    cells["end"][7] = "2022-01-15"
    with pytest.raises(
        DataError, match=r"column 'end' is stated to be date, but holds '2022-01-15' \(row 8\)"
    ):
        read_csv(tmp_path, cells, schema)
    with pytest.raises(DataError, match="has a datetime_format with %Q, which is not known"):
        read_csv(tmp_path, cells, "columns: {end: {kind: date, datetime_format: '%Q'}}")


def test_a_condition_may_be_written_as_the_column_is(tmp_path: Path) -> None:
    source = read_csv(tmp_path, {"usd": [f"${value:,.2f}" for value in RNG.gamma(2, 700, ROWS)]})
    codec = MixedCodec.fit(source.table, DataConfig(source="x"))
    typed = codec.condition_table(codec.encode(source.table))
    masks = [Where.parse([text]).mask(typed) for text in ("usd>=$1,000.00", "usd>=1000")]
    assert 0.2 < masks[0].mean() < 0.8
    assert (masks[0] == masks[1]).all()


def test_times_since_1970_that_a_schema_file_names(tmp_path: Path) -> None:
    cells = {"at": [str(1_600_000_000 + 3600 * int(h)) for h in RNG.integers(0, 9000, ROWS)]}
    source = read_csv(tmp_path, cells, "columns: {at: {kind: datetime, datetime_format: epoch_s}}")
    assert str(source.table.schema.field("at").type) == "timestamp[s, tz=UTC]"
    made = generate(source)["at"]
    assert made.type == pa.int64()
    assert 1_600_000_000 <= min(made.to_pylist()) < max(made.to_pylist()) <= 1_632_400_000
    with pytest.raises(DataError, match="state `datetime_format: epoch_s`"):
        read_csv(tmp_path, cells, "columns: {at: {kind: datetime}}")


def test_an_inspection_says_what_becomes_of_each_column(tmp_path: Path) -> None:
    cells = {
        "usd": [f"${value:,.2f}" for value in RNG.gamma(2, 700, ROWS)],
        "v": [str(v) for v in RNG.normal(size=ROWS)],
    }
    cells["v"][0] = "x1"
    with pytest.raises(DataError):
        read_csv(tmp_path, cells)
    seen = inspect_source(DataConfig(source=str(tmp_path / "in.csv")))
    assert [(column.name, column.kind) for column in seen.columns] == [
        ("usd", "numeric"),
        ("v", "?"),
        ("g", "categorical"),
    ]
    assert seen.columns[0].form == "-$1,234.50"
    assert "'x1' (row 1)" in seen.faults[0]
    assert "learnt as a curve" in seen.to_text()
    (tmp_path / "s.yaml").write_text(seen.to_schema().replace("columns:", "columns:\n  v: {kind: drop}"))
    again = read_source(DataConfig(source=str(tmp_path / "in.csv"), schema=str(tmp_path / "s.yaml")))
    assert again.table.column_names == ["usd", "g"]
