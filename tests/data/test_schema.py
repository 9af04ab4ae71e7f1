"""Schema files: our own format, SDV metadata, and what a rule does to a table."""

import datetime
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from synthmill.config import DataConfig
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.conform import conform
from synthmill.data.readers.base import read_source
from synthmill.data.schema import ColumnRule, parse_rules
from synthmill.errors import DataError
from tables import customers, write_customers


def read(tmp_path: Path, cells: str, schema: str) -> pa.Table:
    (tmp_path / "rows.csv").write_text(cells)
    (tmp_path / "schema.yaml").write_text(schema)
    return read_source(
        DataConfig(source=str(tmp_path / "rows.csv"), schema=str(tmp_path / "schema.yaml"))
    ).table


def test_own_format() -> None:
    rules = parse_rules(
        "columns: {age: {kind: integer, minimum: 0, maximum: 120}, plan: {categories: [basic, pro]}}",
        name="s.yaml",
    )
    assert rules == {
        "age": ColumnRule(kind="integer", minimum=0, maximum=120),
        "plan": ColumnRule(categories=("basic", "pro")),
    }
    assert parse_rules(json.dumps({"columns": {"id": {"kind": "drop"}}}), name="s.json") == {
        "id": ColumnRule(kind="drop")
    }
    assert parse_rules("columns: {2020: {kind: drop}}", name="s.yaml") == {"2020": ColumnRule(kind="drop")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {age: {kind: integr}}", "data.schema.columns.age.kind: "),
        ("columns: {age: {minimun: 0}}", "data.schema.columns.age.minimun: unknown key"),
        ("{", "data.schema: s.yaml is neither YAML nor JSON"),
        ("[1]", "data.schema: s.yaml must be a mapping with `columns`"),
        (
            "columns: {on: {kind: drop}}",
            "data.schema: s.yaml has a column name that YAML reads as True; put it in quotes",
        ),
        ("columns: 3", "data.schema.columns: "),
        (
            "columns: {age: {minimum: .nan}}",
            ("data.schema.columns.age.minimum: a bound is a number from -1e+200 to 1e+200; leave it"),
        ),
        (
            "columns: {age: {maximum: .inf}}",
            ("data.schema.columns.age.maximum: a bound is a number from -1e+200 to 1e+200; leave it"),
        ),
        (
            "columns: {age: {maximum: 1" + 400 * "0" + "}}",
            "data.schema.columns.age.maximum: a bound is a number",
        ),
        (
            "columns: {age: {decimals: 400}}",
            "data.schema.columns.age.decimals: input should be less than or equal to 18, got 400",
        ),
        (
            "columns: {age: {decimals: -1}}",
            "data.schema.columns.age.decimals: input should be greater than or equal to 0, got -1",
        ),
        ('{"tables": {"t": null}}', "data.schema: s.yaml has no `columns`"),
        ('{"tables": [1]}', "data.schema: `tables` in s.yaml must be a mapping with one table by its name"),
        (
            '{"tables": {"a": {"columns": {}}, "b": {"columns": {}}}}',
            "data.schema: s.yaml describes 2 tables; give the metadata of one",
        ),
    ],
)
def test_a_malformed_schema_is_one_line(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_rules(text, name="s.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


SDV = {
    "METADATA_SPEC_VERSION": "SINGLE_TABLE_V1",
    "primary_key": "customer",
    "columns": {
        "customer": {"sdtype": "id", "regex_format": "C-[0-9]{5}"},
        "age": {"sdtype": "numerical", "computer_representation": "Int64"},
        "plan": {"sdtype": "categorical"},
        "spend": {"sdtype": "numerical", "computer_representation": "Float"},
        "joined": {"sdtype": "datetime", "datetime_format": "%Y-%m-%d"},
        "member": {"sdtype": "boolean"},
        "email": {"sdtype": "email", "pii": True},
        "state": {"sdtype": "administrative_unit", "pii": False},
        "other": {"sdtype": "unknown"},
        "notes": {"sdtype": "text"},
    },
}


SDV_TABLES = {
    "METADATA_SPEC_VERSION": "V1",
    "relationships": [],
    "tables": {"t": {k: SDV[k] for k in ("primary_key", "columns")}},
}


@pytest.mark.parametrize("metadata", [SDV, SDV_TABLES], ids=["single", "multi"])
def test_sdv_metadata(metadata: dict[str, object]) -> None:
    rules = parse_rules(json.dumps(metadata), name="metadata.json")
    assert {name: rule.kind for name, rule in rules.items()} == {
        "customer": "identifier",
        "age": "integer",
        "plan": "categorical",
        "spend": "numeric",
        "joined": "datetime",
        "member": "boolean",
        "email": "identifier",
        "state": None,
        "other": None,
        "notes": "text",
    }
    assert rules["joined"].datetime_format == "%Y-%m-%d"


def test_sdv_metadata_of_a_real_table_is_applied(tmp_path: Path) -> None:
    columns = {
        "customer": {"sdtype": "id"},
        "age": {"sdtype": "categorical"},
        "joined": {"sdtype": "datetime", "datetime_format": "%Y-%m-%d"},
    }
    (tmp_path / "m.json").write_text(
        json.dumps(
            {"METADATA_SPEC_VERSION": "SINGLE_TABLE_V1", "columns": columns, "primary_key": "customer"}
        )
    )
    config = DataConfig(
        source=str(write_customers(tmp_path / "c.csv", rows=400)), schema=str(tmp_path / "m.json")
    )
    source = read_source(config)
    assert source.table.schema.field("age").type == pa.int64()
    assert source.table.schema.field("joined").type == pa.timestamp("ms")
    kinds = {
        column.name: column.kind
        for column in MixedCodec.fit(source.table, config, source.rules).profile.columns
    }
    assert (kinds["customer"], kinds["age"], kinds["joined"]) == ("identifier", "categorical", "datetime")


def test_rules_cast_text(tmp_path: Path) -> None:
    cells = "zip,on,when,n,gone\n00123,yes,31.01.2024,1,x\n99999,no,01.02.2024,2.0,y\n,,,,\n"
    schema = """columns:
      zip: {kind: categorical}
      "on": {kind: boolean}
      when: {kind: date, datetime_format: "%d.%m.%Y"}
      n: {kind: integer}
      gone: {kind: drop}
    """
    assert read(tmp_path, cells, schema).to_pydict() == {
        "zip": ["00123", "99999", None],
        "on": [True, False, None],
        "when": [datetime.date(2024, 1, 31), datetime.date(2024, 2, 1), None],
        "n": [1, 2, None],
    }


def test_a_column_of_missing_values_can_be_dropped(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n1,\n2,\n", "columns: {b: {kind: drop}}").column_names == ["a"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"plan": ColumnRule(kind="integer")},
            r"column 'plan' is stated to be integer, but holds '\w+' \(row 1\)",
        ),
        (
            {"plan": ColumnRule(kind="boolean")},
            r"column 'plan' is stated to be boolean but holds '\w+' \(row 1\)",
        ),
        ({"plan": ColumnRule(kind="date")}, r"column 'plan' is stated to be date, but holds '\w+' \(row 1\)"),
        (
            {"spend": ColumnRule(kind="integer")},
            r"column 'spend' is stated to be integer but holds \d+\.\d+ \(row",
        ),
    ],
)
def test_a_rule_that_does_not_fit_names_the_column(rule: dict[str, ColumnRule], message: str) -> None:
    (fault,) = conform(customers(50), rule).faults.values()
    assert re.match(message, fault)


def test_a_rule_for_an_unknown_column_is_refused() -> None:
    with pytest.raises(DataError, match="no column named 'agee'; did you mean 'age'"):
        conform(customers(50), {"agee": ColumnRule(kind="integer")})


def test_every_column_dropped() -> None:
    with pytest.raises(DataError, match="every column is dropped"):
        conform(pa.table({"a": [1]}), {"a": ColumnRule(kind="drop")})
