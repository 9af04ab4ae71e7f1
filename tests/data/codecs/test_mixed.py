"""The table codec: what goes in comes out, per kind of column; nothing of validation or single rows is
kept."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig
from synthmill.data.batch import Batch
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.schema import ColumnRule
from synthmill.data.split import split_table
from synthmill.errors import DataError, IntegrityError
from tables import customers, overlap

CONFIG = DataConfig(source="x")


def fit(table: pa.Table, **rules: ColumnRule) -> MixedCodec:
    return MixedCodec.fit(table, CONFIG, rules)


def through(table: pa.Table, **rules: ColumnRule) -> pa.Table:
    codec = fit(table, **rules)
    return codec.decode(codec.encode(table), first_row=0)


def spread(codec: MixedCodec, table: pa.Table) -> Batch:
    """The table's codes with positions drawn uniformly: what a perfect model of the codes alone would
    sample."""
    batch = codec.encode(table)
    positions = torch.rand(batch["values"].shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return batch.with_(values=positions)


def test_types_order_and_marginals_survive() -> None:
    table = customers(4000)
    rows = through(table)
    assert rows.schema == table.schema
    for name in table.column_names:
        assert overlap(table[name], rows[name]) > 0.995, name


def test_uniform_positions_give_the_marginals_back() -> None:
    table = customers(4000)
    codec = fit(table)
    rows = codec.decode(spread(codec, table), first_row=0)
    for name in table.column_names:
        assert overlap(table[name], rows[name]) > 0.985, name


def test_values_are_uniform_in_their_range() -> None:
    codec = fit(customers(4000))
    batch = codec.encode(customers(4000))
    for i, span in enumerate(codec.layout.numeric):
        inside = batch["codes"][:, span.discrete] < span.segments
        values = batch["values"][:, i][inside]
        assert values.abs().max() <= 1, span.column
        if span.column in ("spend", "last_seen"):
            assert abs(float(values.mean())) < 0.05
            assert abs(float(values.std()) - 3**-0.5) < 0.03


def test_layout_matches_batches() -> None:
    table = customers(1500)
    codec = fit(table)
    batch = codec.encode(table)
    assert batch["codes"].dtype == torch.int64
    assert batch["values"].dtype == torch.float32
    assert batch["codes"].shape == (1500, len(codec.layout.discrete))
    assert batch["values"].shape == (1500, len(codec.layout.numeric))
    assert (batch["codes"].amax(0) < torch.tensor([span.width for span in codec.layout.discrete])).all()
    assert batch["codes"].min() >= 0
    for i, span in enumerate(codec.layout.numeric):
        assert codec.layout.discrete[span.discrete].column == span.column
        assert codec.layout.discrete[span.discrete].role == "segment"
        masked = batch["codes"][:, span.discrete] >= span.segments
        assert (batch["values"][:, i][masked] == 0).all()
    assert "country" not in {span.column for span in codec.layout.discrete}
    assert codec.layout.rows == 1500


def test_point_masses_have_codes_and_tails_are_kept() -> None:
    table = customers(4000)
    codec = fit(table)
    profile = codec.profile.column("visits")
    assert 0 in profile.points
    rows = codec.decode(spread(codec, table), first_row=0)
    for cut, tolerance in ((0.5, 0.05), (0.9, 0.05), (0.99, 0.15)):
        real, made = (np.nanquantile(t["spend"].to_numpy(), cut) for t in (table, rows))
        assert made == pytest.approx(real, rel=tolerance)
    assert (
        np.nanmax(rows["spend"].to_numpy())
        <= np.sort(table["spend"].drop_null().to_numpy())[-5:].mean() + 0.005
    )


def test_decimals_and_steps_are_kept() -> None:
    rows = customers(3000)
    codec = fit(rows)
    made = codec.decode(spread(codec, rows), first_row=0)
    spend = made["spend"].drop_null().to_numpy()
    assert np.array_equal(spend, np.round(spend, 2))
    assert set(pc.second(made["last_seen"].drop_null()).unique().to_pylist()) == {0}
    hundreds = pa.table({"x": np.random.default_rng(0).integers(10, 900, 500) * 100})
    codec = fit(hundreds)
    assert set(codec.decode(spread(codec, hundreds), first_row=0)["x"].to_numpy() % 100) == {0}


def test_rows_decode_alike_alone_in_a_block_and_after_a_filter() -> None:
    table = customers(700)
    codec = fit(table)
    assert codec.profile.column("city").folded_rows > 10
    batch = codec.encode(table)
    whole = codec.decode(batch, first_row=100).drop_columns("customer")
    keep = torch.arange(3, 700, 7)
    assert (
        codec.decode(batch.take(keep), first_row=0)
        .drop_columns("customer")
        .equals(whole.take(pa.array(keep.numpy())))
    )


def test_files_give_the_same_codec() -> None:
    table = customers(1000)
    codec = fit(table)
    config, tensors = codec.to_files()
    again = codec_from_files(json.loads(json.dumps(config)), tensors)
    assert isinstance(again, MixedCodec)
    assert (again.layout, again.profile, again.schema) == (codec.layout, codec.profile, codec.schema)
    batch = codec.encode(table)
    assert torch.equal(again.encode(table)["values"], batch["values"])
    assert again.decode(batch, first_row=7).equals(codec.decode(batch, first_row=7))
    assert fit(table).to_files()[0] == config


def test_a_newer_format_is_refused_by_name() -> None:
    config, tensors = fit(customers(200)).to_files()
    with pytest.raises(IntegrityError, match=r"synthmill\.codec\.tabular/9"):
        MixedCodec.from_files({**config, "format": "synthmill.codec.tabular/9"}, tensors)


def test_files_hold_no_single_value() -> None:
    """No identifier, no rare category, and no number that fewer than 5 rows share is in the files."""
    table = customers(1500)
    config, tensors = fit(table).to_files()
    text = json.dumps(config)
    assert not re.search(r"C-\d{5}", text)
    counts = table["city"].value_counts()
    for entry in counts.to_pylist():
        assert (entry["values"] in text) == (entry["counts"] >= CONFIG.min_category_rows)
    shared = {e["values"] for e in table["spend"].value_counts().to_pylist() if e["counts"] >= 5}
    singles = set(table["spend"].drop_null().to_pylist()) - shared
    knots = tensors[f"{table.column_names.index('spend')}.knots"][1].numpy()
    assert len(knots) > 50
    assert not singles & set(knots.tolist())


@pytest.mark.parametrize(
    ("column", "sentinel"),
    [
        ("plan", "SENTINEL"),
        ("spend", 918273645.5),
        ("age", 123456),
        ("customer", "SENTINEL"),
        ("joined", datetime(2222, 2, 2).date()),
    ],
)
def test_validation_and_holdout_leave_no_trace(column: str, sentinel: object) -> None:
    clean = customers(2000)
    side = split_table(clean, CONFIG.split, sha256="a" * 64)
    kept = pc.is_in(clean["customer"], value_set=side.train["customer"].combine_chunks())
    at = clean.column_names.index(column)
    poisoned = clean.set_column(
        at, column, pc.if_else(kept, clean[column], pa.scalar(sentinel, clean[column].type))
    )
    tables = split_table(poisoned, CONFIG.split, sha256="a" * 64)
    assert tables.train.equals(side.train)
    assert pc.sum(pc.equal(poisoned[column], pa.scalar(sentinel, clean[column].type))).as_py() == 600
    left, right = (fit(train).to_files() for train in (side.train, tables.train))
    assert left[0] == right[0]
    assert all(torch.equal(left[1][key], right[1][key]) for key in left[1])
    made = through(tables.train)[column].to_pylist()
    assert sentinel not in made
    assert str(sentinel) not in json.dumps(right[0])


TYPED = {
    "int8": pa.array([1, 2, None, 127] * 30, pa.int8()),
    "uint8": pa.array([0, 255, 7, 7] * 30, pa.uint8()),
    "int32": pa.array(range(-60, 60), pa.int32()),
    "uint64": pa.array([2**63 - 1, 2**40, 0, 5] * 30, pa.uint64()),
    "huge": pa.array([2**53 + 1 + i for i in range(120)], pa.int64()),
    "extreme": pa.array([-(2**63), 2**63 - 1, 0, None] * 30, pa.int64()),
    "float32": pa.array([0.1, 0.2, None, 1e30] * 30, pa.float32()),
    "float16": pa.array([0.5, 0.25, None, 2.0] * 30, pa.float32()).cast(pa.float16()),
    "decimal": pa.array(
        [Decimal("1.10"), Decimal("-2.25"), None, Decimal("99999.99")] * 30, pa.decimal128(12, 2)
    ),
    "bool": pa.array([True, False, None, True] * 30),
    "date32": pa.array([0, 19000, None, -5] * 30, pa.int32()).cast(pa.date32()),
    "date64": pa.array([0, 86400000, None, 172800000] * 30, pa.int64()).cast(pa.date64()),
    "time32": pa.array([0, 60, None, 86399] * 30, pa.int32()).cast(pa.time32("s")),
    "time64": pa.array([0, 60, None, 86399] * 30, pa.int64()).cast(pa.time64("us")),
    "duration": pa.array([0, 60, None, -3] * 30, pa.duration("ms")),
    "zoned": pa.array(
        [datetime(2024, 1, 1, 12, tzinfo=UTC), None] * 60, pa.timestamp("us", "Europe/Amsterdam")
    ),
    "nanos": pa.array(
        [1700000000000000001, 1700000000000000002, None, 1700000000000000003] * 30, pa.timestamp("ns")
    ),
    "large": pa.array(["a", "b", None, "a"] * 30, pa.large_string()),
    "dictionary": pa.array(["a", "b", None, "a"] * 30).dictionary_encode(),
    "view": pa.array(["a", "b", None, "a"] * 30, pa.string_view()),
}


@pytest.mark.parametrize("name", TYPED)
def test_arrow_types_and_exact_frequent_values_come_back(name: str) -> None:
    column = TYPED[name]
    rows = through(pa.table({"x": column, "y": pa.array(["a", "b"] * 60)}))
    expected = column.cast(pa.string()) if name in ("dictionary", "view") else column
    assert rows["x"].type == expected.type
    assert rows["x"].to_pylist() == expected.to_pylist() or name in ("huge", "int32")
    if name in ("huge", "int32"):
        assert np.abs(rows["x"].to_numpy() - column.to_numpy()).max() <= 3


def test_missing_is_a_pattern_in_every_kind() -> None:
    table = customers(1000)
    holes = np.random.default_rng(1).random((1000, table.num_columns)) < 0.3
    columns = [
        pc.if_else(pa.array(~holes[:, i]), column, pa.scalar(None, column.type))
        for i, column in enumerate(table.columns)
    ]
    sparse = pa.table(columns, names=table.column_names)
    rows = through(sparse)
    for name in table.column_names:
        assert rows[name].is_null().equals(sparse[name].is_null()), name


def test_not_a_number_is_missing_and_infinity_a_value() -> None:
    values = np.random.default_rng(0).normal(size=200)
    values[:4] = [np.nan, np.inf, -np.inf, 1e308]
    table = pa.table({"x": values})
    rows = through(table)
    assert rows["x"].null_count == 1
    made = rows["x"].drop_null().to_numpy()
    assert np.isinf(made).sum() == 2
    assert np.abs(made[np.isfinite(made)]).max() < 1e300
    config, tensors = fit(table).to_files()
    json.dumps(config, allow_nan=False)
    assert MixedCodec.from_files(config, tensors).profile.columns[0].points == (-np.inf, np.inf)


def test_few_numbers_beside_infinity_do_not_come_out() -> None:
    rows = through(pa.table({"x": [np.inf] * 97 + [1.5, 2.25, 7.125], "y": [1, 2] * 50}))
    assert rows["x"].null_count == 100


def test_values_of_fewer_than_five_rows_do_not_come_out() -> None:
    """A column that only a few rows fill is dropped to missing; numbers besides frequent ones join those."""
    few = pa.table(
        {
            "n": pa.array([17.25, 18.5] + [None] * 98),
            "s": pa.array(["Smith-1", "Lee-2"] + [None] * 98),
            "y": [1, 2] * 50,
        }
    )
    rows = through(few)
    assert rows["n"].null_count == 100
    assert rows["s"].drop_null().to_pylist() == ["s-1", "s-2"]
    near = pa.table({"x": [0] * 96 + [1_000_000, 17, 5, 9], "y": [1, 2] * 50})
    assert set(through(near)["x"].to_pylist()) == {0}


def test_unseen_values_are_encoded_without_fault() -> None:
    codec = fit(
        pa.table(
            {
                "x": np.arange(300) % 50 * 1.0,
                "s": ["a", "b"] * 150,
                "b": [True, False] * 150,
                "k": ["k"] * 300,
            }
        )
    )
    odd = pa.table(
        {
            "x": pa.array([-1e9, 1e9, float("nan"), None, float("inf")]),
            "s": ["c", None, "a", "a", "b"],
            "b": pa.array([None, True, False, None, None]),
            "k": ["z", None, "k", "k", "k"],
        }
    )
    rows = codec.decode(codec.encode(odd), first_row=0)
    assert rows["x"].to_pylist()[:2] == [0.0, 49.0]
    assert set(rows["s"].to_pylist()) <= {"a", "b"}
    assert rows["k"].to_pylist() == ["k"] * 5
    assert sum(column.null_count for column in rows.columns) == 0


def test_any_codes_decode_inside_the_domain() -> None:
    """An untrained model samples codes and values at random: every cell must still be a possible one."""
    table = customers(1500)
    codec = fit(table)
    rng = torch.Generator().manual_seed(0)
    codes = torch.stack(
        [torch.randint(span.width, (500,), generator=rng) for span in codec.layout.discrete], 1
    )
    values = torch.randn(500, len(codec.layout.numeric), generator=rng) * 3
    rows = codec.decode(Batch(codes=codes, values=values), first_row=0)
    rows.validate(full=True)
    for name in ("plan", "city", "member"):
        assert set(rows[name].to_pylist()) <= set(table[name].to_pylist())
    for name in ("age", "visits", "joined", "last_seen", "spend"):
        assert pc.min(rows[name]).as_py() >= pc.min(table[name]).as_py()
        assert pc.max(rows[name]).as_py() <= pc.max(table[name]).as_py()


def test_public_bounds_and_categories_override() -> None:
    table = customers(1000)
    rules = {
        "age": ColumnRule(minimum=30, maximum=40),
        "plan": ColumnRule(categories=("pro", "basic", "gold", "team")),
    }
    codec = fit(table, **rules)
    assert codec.levels("plan") == ["pro", "basic", "gold", "team"]
    rows = codec.decode(codec.encode(table), first_row=0)
    assert (pc.min(rows["age"]).as_py(), pc.max(rows["age"]).as_py()) == (30, 40)
    assert rows["plan"].equals(table["plan"])


def test_numbers_can_be_categories_and_keep_their_type() -> None:
    table = pa.table({"zip": pa.array([1011, 1012, 9999, 1011] * 50), "x": np.arange(200.0)})
    codec = fit(table, zip=ColumnRule(kind="categorical"))
    assert codec.profile.column("zip").kind == "categorical"
    assert codec.decode(codec.encode(table), first_row=0)["zip"].equals(table["zip"])


def test_nothing_to_learn_and_no_rows() -> None:
    with pytest.raises(DataError, match="there is nothing to learn"):
        fit(pa.table({"id": [f"u-{i:04d}" for i in range(100)], "k": [1] * 100}))
    with pytest.raises(
        DataError, match=r"^data\.source: 4 training rows are too few to learn from without copying one"
    ):
        fit(customers(10).slice(0, 4))


@pytest.mark.parametrize("rows", [5, 6, 7, 14, 20])
def test_tables_of_a_few_rows(rows: int) -> None:
    table = pa.table(
        {
            "x": np.linspace(0.0, 1.0, rows),
            "n": pa.array([None, *range(1, rows)], pa.int64()),
            "f": [0.25] * rows,
        }
    )
    made = through(table)
    assert made.schema == table.schema
    assert made["n"].null_count == (1 if rows > 5 else rows)


def column_of(
    kind: pa.DataType, values: st.SearchStrategy[object]
) -> st.SearchStrategy[tuple[pa.DataType, list[object]]]:
    return st.tuples(st.just(kind), st.lists(st.one_of(st.none(), values), min_size=1, max_size=60))


cells = st.one_of(
    column_of(pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    column_of(pa.int64(), st.integers(-3, 3)),
    column_of(pa.uint8(), st.integers(0, 255)),
    column_of(pa.float64(), st.floats()),
    column_of(pa.float32(), st.floats(width=32)),
    column_of(pa.bool_(), st.booleans()),
    column_of(pa.string(), st.sampled_from(["a", "b", "\u00e9", " ", ""])),
    column_of(pa.timestamp("us"), st.datetimes()),
    column_of(pa.decimal128(18, 3), st.decimals(-999, 999, places=3, allow_nan=False)),
)


@settings(max_examples=150, deadline=None)
@given(cells)
def test_any_column_encodes_and_decodes(drawn: tuple[pa.DataType, list[object]]) -> None:
    kind, values = drawn
    values = values * (1 + 60 // len(values))
    table = pa.table({"x": pa.array(values, kind), "y": pa.array((["a", "b"] * len(values))[: len(values)])})
    codec = MixedCodec.fit(table, DataConfig(source="x", min_category_rows=1))
    batch = codec.encode(table)
    rows = codec.decode(batch, first_row=0)
    rows.validate(full=True)
    assert rows.schema == table.schema
    assert bool(torch.isfinite(batch["values"]).all())
    assert bool((batch["values"].abs() <= 1).all())
    present = table["x"].is_valid().to_numpy()
    if pa.types.is_floating(kind):
        present = np.isfinite(table["x"].to_numpy().astype(float))
    if codec.profile.column("x").kind not in ("constant", "identifier") or present.all():
        assert rows["x"].is_valid().to_numpy().tolist() == present.tolist()
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        assert rows["x"].equals(table["x"])
    elif present.any():
        inside = rows["x"].filter(pa.array(present))
        finite = table["x"].filter(pa.array(present))
        if not pa.types.is_floating(kind) and inside.null_count < len(inside):
            assert pc.min(inside).as_py() >= pc.min(finite).as_py()
            assert pc.max(inside).as_py() <= pc.max(finite).as_py()
    config, tensors = codec.to_files()
    again = MixedCodec.from_files(json.loads(json.dumps(config)), tensors)
    assert again.decode(batch, first_row=0).equals(rows)


def test_a_column_of_many_levels_fits_in_memory() -> None:
    """200,000 rows with a 100,000-level column, fitted, encoded and decoded in a process of its own, below 2
    GiB."""
    script = """
import resource, sys
import numpy as np, pyarrow as pa
from synthmill.config import DataConfig
from synthmill.data.codecs.mixed import MixedCodec
rows = 200_000
rng = np.random.default_rng(0)
level = np.concatenate([np.arange(100_000), rng.integers(0, 100_000, rows - 100_000)])
table = pa.table({"x": [f"level {i:06d}" for i in level], "y": rng.normal(size=rows)})
codec = MixedCodec.fit(table, DataConfig(source="x", min_category_rows=1))
batch = codec.encode(table)
assert [span.role for span in codec.layout.discrete] == ["group", "member", "segment"]
assert max(span.width for span in codec.layout.discrete) == 317
assert codec.decode(batch, first_row=0)["x"].equals(table["x"])
codec.to_files()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "platform"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2 * 1024**2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1.0, 2.0, 2.0, None] * 50), {"1.0": 50, "2.0": 100}),
        (
            pa.array([Decimal("1.10"), Decimal("2.20"), Decimal("2.20")] * 50, pa.decimal128(9, 2)),
            {"1.1": 50, "2.2": 100},
        ),
        (pa.array([True, False, False] * 50), {"false": 100, "true": 50}),
        (pa.array([3, 4, 4] * 50, pa.int8()), {"3": 50, "4": 100}),
        (pa.array(["a", "b", "b"] * 50 + ["rare"]), {"b": 100, "a": 50}),
        (pa.array(["a"] * 150), {"a": 150}),
    ],
    ids=["float", "decimal", "boolean", "integer", "text", "constant"],
)
def test_levels_are_counted_in_the_words_that_name_them(values: pa.Array, expected: dict[str, int]) -> None:
    table = pa.table({"c": values, "x": np.arange(len(values)) * 0.5})
    codec = MixedCodec.fit(table, DataConfig(source="x"))
    assert (
        dict(zip(codec.levels("c") or [], codec.count_levels("c", table["c"].combine_chunks()), strict=True))
        == expected
    )
