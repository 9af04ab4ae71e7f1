"""What every type of constraint promises: rows of a model that knows nothing meet it, exactly."""

import json
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rules import CONSTRAINTS, NEVER, ODD, odd, orders, wild
from synthmill import registry
from synthmill.config import DataConfig
from synthmill.constraint_config import TYPES
from synthmill.data.codecs.base import Codec, codec_from_files
from synthmill.data.codecs.constrained import ConstrainedCodec, fit_codec
from synthmill.data.constraints.base import FOLDER
from synthmill.data.schema import ColumnRule
from synthmill.generation.rejection import Once, kept_rows

ROWS = 20_480


@pytest.fixture(scope="module", params=["mixed", "discrete"])
def codec(request: pytest.FixtureRequest) -> Codec:
    rules = {"key": ColumnRule()}
    return fit_codec(request.param, orders(), DataConfig(source="x", constraints=CONSTRAINTS), rules)


@pytest.fixture(scope="module")
def made(codec: Codec) -> pa.Table:
    return codec.decode(wild(codec, ROWS), first_row=0)


def test_every_type_has_a_file_and_a_configuration() -> None:
    assert set(registry.names(FOLDER)) == set(TYPES)
    assert {cls.model_fields["type"].default for cls in TYPES.values()} == set(TYPES)
    assert all(get_args(cls.model_fields["type"].annotation) == (name,) for name, cls in TYPES.items())


def test_every_row_meets_every_constraint(codec: Codec, made: pa.Table) -> None:
    assert {one.config.type for one in codec.constraints} >= set(TYPES) - {"formula"}
    assert {one.text: int((~one.holds(made)).sum()) for one in codec.constraints} == {
        one.text: 0 for one in codec.constraints
    }


def test_they_are_met_as_somebody_else_would_check_them(made: pa.Table) -> None:
    frame = {name: made[name].to_pylist() for name in made.column_names}
    whole = [
        (low, high) for low, high in zip(frame["low"], frame["high"], strict=True) if None not in (low, high)
    ]
    assert all(low <= high for low, high in whole)
    assert max(low for low, _ in whole) > 2**59
    days = zip(frame["start"], frame["end"], frame["paid"], strict=True)
    for start, end, paid in days:
        assert start is None or end is None or start <= end.date()
        assert (
            end is None or paid is None or end.date() < paid or (end.date() == paid and end.time().hour == 0)
        )
        assert start is None or paid is None or start <= paid
    for net, tax, cut, gross in zip(*(frame[name] for name in ("net", "tax", "cut", "gross")), strict=True):
        assert gross is None or None in (net, tax, cut) or net + tax - cut == gross
    for a, b, ab in zip(frame["a"], frame["b"], frame["ab"], strict=True):
        assert a is None or b is None or round(a + b, 2) == ab
    assert all(raw < more for raw, more in zip(frame["raw"], frame["more"], strict=True))
    real = set(zip(*(orders()[name].to_pylist() for name in ("city", "land")), strict=True))
    assert set(zip(frame["city"], frame["land"], strict=True)) <= real
    assert {sum(row) for row in zip(*(frame[f"hot {at}"] for at in range(3)), strict=True)} == {1}
    assert all(size is None or (4 * size).is_integer() for size in frame["size"])
    assert all(pack % 12 == 0 for pack in frame["pack"])
    assert all(18 <= age <= 65 for age in frame["age"])
    assert len(set(frame["key"])) == ROWS


def test_missing_cells_keep_their_pattern(made: pa.Table) -> None:
    """Each pattern of the source is there; a total of known parts is missing where it was among the real
    rows."""
    assert made["gross"].null_count
    assert made["end"].null_count
    assert pc.any(pc.and_(pc.is_valid(made["paid"]), pc.is_null(made["end"]))).as_py()
    assert pc.any(pc.equal(made["paid"], pa.scalar(NEVER, pa.date32()))).as_py()
    both = pc.and_(pc.is_valid(made["a"]), pc.is_null(made["ab"]))
    assert not pc.any(both).as_py()


def test_columns_and_types_are_those_of_the_source(codec: Codec, made: pa.Table) -> None:
    assert made.schema.equals(orders().schema)
    assert codec.schema.equals(orders().schema)


def test_the_codec_is_the_same_once_it_is_saved(codec: Codec, made: pa.Table) -> None:
    config, tensors = codec.to_files()
    again = codec_from_files(json.loads(json.dumps(config)), tensors)
    assert again.decode(wild(codec, ROWS), first_row=0).equals(made)
    assert again.encode(orders())["codes"].equal(codec.encode(orders())["codes"])
    assert again.to_files()[0] == config


def test_a_codec_without_constraints_is_what_it_was(codec: Codec) -> None:
    assert isinstance(codec, ConstrainedCodec)
    plain = fit_codec("mixed", orders(), DataConfig(source="x"))
    assert plain.to_files()[0]["format"] == "synthmill.codec.tabular/1"
    assert "constraints" not in DataConfig(source="x").model_dump(mode="json")


def test_rows_are_rejected_for_what_no_construction_meets() -> None:
    own = (
        {"type": "formula", "expression": "x < 1 or y > 20"},
        {"type": "unique", "columns": ["x", "city"]},
    )
    table = orders()
    table = table.filter(pc.or_(pc.less(table["x"], 1), pc.greater(table["y"], 20)))
    codec = fit_codec("mixed", table, DataConfig(source="x", constraints=own))
    shards = []
    for shard in range(3):
        rows = codec.decode(wild(codec, ROWS, shard), first_row=0)
        once = Once(codec, shard, 3)
        keep = kept_rows(codec, rows, once, np.ones(ROWS, dtype=bool), 1024)
        shards.append(rows.filter(pa.array(keep)))
    together = pa.concat_tables(shards)
    assert together.num_rows > 100
    assert all(one.holds(together).all() for one in codec.constraints)
    pairs = list(zip(together["x"].to_pylist(), together["city"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("encoding", ["mixed", "discrete"])
def test_types_of_any_width_unit_zone_and_scale(encoding: str) -> None:
    """Compared as Python compares them."""
    codec = fit_codec(encoding, odd(), DataConfig(source="x", constraints=ODD))
    made = codec.decode(wild(codec, ROWS), first_row=0)
    assert made.schema.equals(odd().schema)
    for name in ("f", "i", "zone", "long", "clock", "cents"):
        pairs = zip(made[name].to_pylist(), made[f"{name}2"].to_pylist(), strict=True)
        assert not [pair for pair in pairs if None not in pair and pair[0] > pair[1]], name
    # A sum of bytes may not fit into one: such rows are drawn again.
    assert [one.text for one in codec.checked] == ["all = few + some"]
    met = codec.accepts(made)
    assert met is not None
    few, some, all_ = (np.asarray(made[name]).astype(int) for name in ("few", "some", "all"))
    assert (met == (few + some == all_)).all()
    others = [one for one in codec.constraints if one not in codec.checked]
    assert all(one.holds(made).all() for one in others)
    back = codec.plan.rebuilt(codec.plan.learnt(odd())[0], bounded=False)  # type: ignore[attr-defined]
    assert back.equals(odd())
