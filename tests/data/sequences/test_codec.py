"""Rows to wide rows and back: the order holds, keys are new, what is equal in a sequence stays so."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig, parse_model
from synthmill.data.batch import Batch
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.sequences.codec import SequenceCodec
from synthmill.data.sequences.order import runs_of
from synthmill.data.sequences.plan import position_edges
from visits import visits


def config(**fields: object) -> DataConfig:
    return parse_model(DataConfig, {"source": "-", "group_by": "customer", "order_by": "when", **fields})


def encoded(codec: SequenceCodec, table: pa.Table) -> Batch:
    """The rows of a table as a model would give them."""
    batch = codec.encode(codec.unroll(table))
    position = runs_of(table, codec.plan.keys, codec.plan.order).position
    noise = torch.randint(2**62, (batch.num_rows,), generator=torch.Generator().manual_seed(0))
    return batch.with_(position=torch.from_numpy(position), noise=noise)


TABLE = visits(120)
CODEC = SequenceCodec.fit(TABLE, config()).beside(TABLE)
SORTED = TABLE.take(pa.array(runs_of(TABLE, ("customer",), "when").rows))


def test_columns_are_told_apart() -> None:
    assert CODEC.plan.static == ("plan", "joined")
    assert CODEC.plan.changing == ("stage", "mood", "spend")
    assert CODEC.plan.unit == 60
    assert CODEC.condition_columns() == ["plan", "joined"]


def test_rows_come_back_with_new_keys_and_in_order() -> None:
    back = CODEC.decode(encoded(CODEC, TABLE), first_row=7)
    assert back.schema.equals(TABLE.schema)
    assert back.num_rows == TABLE.num_rows
    assert not set(back["customer"].to_pylist()) & set(TABLE["customer"].to_pylist())
    runs = runs_of(back, ("customer",), None)
    assert (runs.rows == np.arange(back.num_rows)).all(), "a sequence's rows stand together"
    when = back["when"].cast(pa.int64()).to_numpy()
    assert (np.diff(when)[runs.position[1:] > 0] >= 0).all()
    for name in ("plan", "joined", "stage"):
        assert back[name].equals(SORTED[name]), name


def test_what_is_equal_in_a_sequence_stays_so_also_where_a_rare_value_is_drawn() -> None:
    numbers = [int(key[2:]) for key in TABLE["customer"].to_pylist()]
    rare = pa.array([f"city-{n % 30 if n % 3 == 0 else 90 + n % 3:02d}" for n in numbers])
    mail = pa.array([f"person{n}@example.org" for n in numbers])
    table = TABLE.append_column("city", rare).append_column("mail", mail)
    codec = SequenceCodec.fit(table, config()).beside(table)
    assert codec.profile.column("city").folded_rows
    back = codec.decode(encoded(codec, table), first_row=0)
    told = zip(*(back[name].to_pylist() for name in ("customer", "city", "mail")), strict=True)
    assert (
        len(set(told))
        == pc.count_distinct(back["customer"]).as_py()
        == pc.count_distinct(back["mail"]).as_py()
    )
    assert not set(back["mail"].to_pylist()) & set(mail.to_pylist())


def test_a_row_in_code_space_follows_as_the_encoder_has_it() -> None:
    unrolled = CODEC.unroll(TABLE)
    wide, totals = CODEC.encode(unrolled), CODEC.totals(unrolled)
    position = torch.from_numpy(runs_of(TABLE, ("customer",), "when").position)
    later = (position > 0).nonzero()[:, 0]
    codes = CODEC.steps.after(wide.take(later - 1).with_(memory=totals[later - 1]), position[later])
    given = CODEC.steps.is_given
    assert torch.equal(codes[:, given], wide["codes"][later][:, given])
    first = CODEC.steps.first.codes
    assert all((wide["codes"][position == 0][:, span] == code).all() for span, code in first.items())


def test_means_and_shares_so_far_are_those_of_all_rows_before() -> None:
    wide = CODEC.unroll(TABLE)
    first = np.array(wide[CODEC.plan.so_far(0, "stage")])
    runs = runs_of(TABLE, ("customer",), "when")
    levels = CODEC.levels("stage") or []
    stage = np.array(TABLE["stage"].to_pylist(), dtype=object)[runs.rows]
    shown = []
    for start, length in zip(runs.starts, runs.lengths, strict=True):
        for row in range(length):
            before = stage[start : start + row]
            # A code more says that there is none yet.
            shown.append(min(15, int((before == levels[0]).sum() * 16 // row)) if row else 16)
    assert first.tolist() == shown


def test_a_plan_of_before_remembers_nothing_and_gives_the_layout_of_before() -> None:
    files, tensors = CODEC.to_files()
    del files["plan"]["remembers"]
    old = codec_from_files(files, tensors)
    assert old.steps is not None
    assert old.steps.memory.places == ()
    names = [span.column for span in old.layout.discrete]
    assert names == [span.column for span in CODEC.layout.discrete if ", so far (" not in span.column]
    batch = old.encode(old.unroll(TABLE))  # type: ignore[attr-defined]
    assert batch["codes"].shape[1] == len(names)


def test_many_columns_have_no_more_figures_than_there_is_room_for() -> None:
    rng = np.random.default_rng(0)
    rows = TABLE.num_rows
    more = {f"c{n}": pa.array(rng.integers(0, 4, rows).astype(str)) for n in range(40)}
    codec = SequenceCodec.fit(
        pa.table({**dict(zip(TABLE.column_names, TABLE.columns, strict=True)), **more}), config()
    )
    columns = codec.steps.memory.columns
    assert len(columns) <= 64
    assert "mood" in columns, "means come before shares"
    assert all(columns.count(name) == 3 for name in columns if name.startswith("c"))


def test_wide_rows_decode_to_what_they_were() -> None:
    wide = CODEC.unroll(TABLE)
    back = CODEC.condition_table(CODEC.encode(wide))
    assert set(back.column_names) == set(wide.column_names)
    for name in ("plan", "stage", CODEC.plan.before(1, "stage"), CODEC.plan.position, CODEC.plan.last):
        assert back[name].combine_chunks().equals(wide[name].combine_chunks()), name


def test_files_give_the_same_codec() -> None:
    files, tensors = CODEC.to_files()
    again = codec_from_files(json.loads(json.dumps(files)), tensors)
    batch = encoded(CODEC, TABLE)
    assert again.decode(batch, first_row=3).equals(CODEC.decode(batch, first_row=3))
    assert again.layout == CODEC.layout
    assert again.to_files()[0] == files


def test_no_key_and_no_length_of_one_person_is_kept() -> None:
    table = pa.concat_tables([TABLE, TABLE.slice(0, 1).take(pa.array([0] * 90))])
    codec = SequenceCodec.fit(table, config())
    assert codec.plan.max_length < 30
    saved = json.dumps(codec.to_files()[0])
    assert not any(key in saved for key in TABLE["customer"].to_pylist())


ORDERS = {
    "int": pa.array(np.arange(40) * 7 + 2**60, pa.int64()),
    "int8": pa.array(np.arange(40), pa.int8()),
    "float": pa.array(np.round(np.arange(40) * 0.1, 1)),
    "date": pa.array([date.fromordinal(738000 + 3 * i) for i in range(40)]),
    "zone": pa.array(
        [datetime(2024, 1, 1, i // 2, tzinfo=UTC) for i in range(40)], pa.timestamp("us", "UTC")
    ),
    "decimal": pa.array([Decimal(i) / 4 for i in range(40)], pa.decimal128(12, 2)),
    "duration": pa.array(np.arange(40) * 5, pa.duration("s")),
    "uint64": pa.array(np.arange(40) + 2**62, pa.uint64()),
}


@pytest.mark.parametrize("kind", ORDERS)
def test_every_order_comes_back_in_its_type_and_never_falls(kind: str) -> None:
    at = pa.concat_arrays([ORDERS[kind].take(pa.array(np.arange(5) + g)) for g in range(30)])
    table = pa.table(
        {"k `\u00e9` \U0001f600": np.repeat(np.arange(30), 5), "at": at, "x": np.arange(150) % 3}
    )
    codec = SequenceCodec.fit(table, config(group_by=table.column_names[0], order_by="at"))
    back = codec.decode(encoded(codec, table), first_row=0)
    assert back.schema.equals(table.schema)
    again = runs_of(back, codec.plan.keys, "at")
    assert (again.rows == np.arange(back.num_rows)).all()


def test_several_keys_are_new_together() -> None:
    table = TABLE.append_column("shop", pa.array([int(k[2:]) % 3 for k in TABLE["customer"].to_pylist()]))
    codec = SequenceCodec.fit(table, config(group_by=["shop", "customer"])).beside(table)
    back = codec.decode(encoded(codec, table), first_row=0)
    assert codec.plan.made_anew == "customer"
    assert set(back["shop"].to_pylist()) == {0, 1, 2}
    assert pc.count_distinct(back["customer"]).as_py() == 120


def test_an_own_identifier_of_each_row_is_new_for_each() -> None:
    table = TABLE.append_column("visit_id", pa.array(np.arange(TABLE.num_rows) + 1))
    # As no generated sequence does, none here has more rows than the longest that five share.
    codec = SequenceCodec.fit(table, config(max_length=40)).beside(table)
    back = codec.decode(encoded(codec, table), first_row=0)
    assert pc.count_distinct(back["visit_id"]).as_py() == back.num_rows
    assert not set(back["visit_id"].to_pylist()) & set(table["visit_id"].to_pylist())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 10**6))
def test_positions_have_codes_that_rise_with_them(codes: int, position: int) -> None:
    edges = position_edges(codes)
    assert len(edges) == codes
    assert (np.diff(edges) > 0).all()
    at = int(np.searchsorted(edges, position, side="right")) - 1
    assert edges[at] <= position


def test_an_empty_side_is_unrolled_too() -> None:
    assert CODEC.unroll(TABLE.slice(0, 0)).num_rows == 0
