"""Categories: levels by frequency, rare ones folded and never decoded to themselves, many levels in two
digits."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from synthmill.config import DataConfig
from synthmill.data.batch import Batch
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.schema import ColumnRule
from synthmill.errors import DataError


def codec_of(values: list[str | None], min_rows: int = 5, rule: ColumnRule | None = None) -> MixedCodec:
    config = DataConfig(source="x", min_category_rows=min_rows)
    return MixedCodec.fit(pa.table({"x": pa.array(values, pa.string())}), config, {"x": rule} if rule else {})


def test_levels_by_falling_frequency_then_name() -> None:
    codec = codec_of(["b"] * 9 + ["a"] * 9 + ["c"] * 20)
    assert codec.levels("x") == ["c", "a", "b"]
    assert codec.code_of("x", "a") == (0, 1)
    assert codec.encode(pa.table({"x": ["c", "a", "b"]}))["codes"][:, 0].tolist() == [0, 1, 2]


def test_rare_levels_share_a_code_and_come_out_as_frequent_ones() -> None:
    codec = codec_of(["a"] * 600 + ["b"] * 200 + [f"rare-{i}" for i in range(200)])
    assert codec.layout.discrete[0].width == 3
    assert codec.profile.column("x").folded_rows == 200
    assert codec.code_of("x", "rare-1") is None
    rng = torch.Generator().manual_seed(0)
    config = DataConfig(source="x")
    both = pa.table(
        {"x": ["a"] * 600 + ["b"] * 200 + [f"rare-{i}" for i in range(200)], "y": np.arange(1000.0)}
    )
    codec = MixedCodec.fit(both, config, {})
    batch = Batch(
        codes=torch.tensor([[2, i % 10] for i in range(4000)]),
        values=torch.rand(4000, 1, generator=rng) * 2 - 1,
    )
    rows = codec.decode(batch, first_row=0)["x"].to_pylist()
    assert set(rows) == {"a", "b"}
    assert rows.count("a") / 4000 == pytest.approx(0.75, abs=0.03)
    assert codec.decode(batch, first_row=5)["x"].to_pylist() == rows


def test_missing_has_a_code_only_if_training_had_it() -> None:
    assert codec_of(["a"] * 9 + ["b"] * 9).layout.discrete[0].width == 2
    codec = codec_of(["a"] * 9 + ["b"] * 9 + [None])
    assert codec.layout.discrete[0].width == 3
    assert codec.decode(Batch(codes=torch.tensor([[2], [0]]), values=torch.zeros(2, 0)), first_row=0)[
        "x"
    ].to_pylist() == [None, "a"]


def test_public_categories_keep_their_order_and_need_no_rows() -> None:
    codec = codec_of(["b"] * 3 + ["a"] * 3 + ["z"], rule=ColumnRule(categories=("a", "b", "c")))
    assert codec.levels("x") == ["a", "b", "c"]
    assert codec.profile.column("x").folded_rows == 1
    assert codec.layout.discrete[0].width == 4


def test_no_frequent_value_is_refused_with_the_fix() -> None:
    with pytest.raises(
        DataError, match=r"^data\.min_category_rows: no value of column 'x' has 5 training rows; lower"
    ):
        codec_of(["a", "b"] * 4)
    assert codec_of(["a", "b"] * 4, min_rows=1).levels("x") == ["a", "b"]


@pytest.mark.parametrize(("levels", "spans"), [(500, 1), (501, 2), (1000, 2)])
def test_above_500_codes_there_are_two_digits(levels: int, spans: int) -> None:
    values = [f"v{i:04d}" for i in range(levels)]
    codec = codec_of(values * 2, min_rows=1)
    assert [span.role for span in codec.layout.discrete] == (
        ["category"] if spans == 1 else ["group", "member"]
    )
    assert codec.decode(codec.encode(pa.table({"x": values})), first_row=0)["x"].to_pylist() == values
    assert (codec.code_of("x", "v0000") is None) == (spans == 2)


def test_groups_hold_levels_of_like_frequency() -> None:
    codec = codec_of([f"v{i:04d}" for i in range(900) for _ in range(1 + (i < 30) * 50)], min_rows=1)
    codes = codec.encode(pa.table({"x": [f"v{i:04d}" for i in range(30)]}))["codes"]
    assert codes[:, 0].tolist() == [0] * 30


def test_pairs_that_no_level_has_stay_in_their_group() -> None:
    codec = codec_of([f"v{i:04d}" for i in range(601)] * 2 + [None], min_rows=1)
    group, member = codec.layout.discrete
    pairs = torch.cartesian_prod(torch.arange(group.width), torch.arange(member.width))
    rows = codec.decode(Batch(codes=pairs, values=torch.zeros(len(pairs), 0)), first_row=0)["x"]
    assert len(pairs) > 602
    assert len(set(rows.to_pylist())) == 602
    assert rows.null_count <= 13


@pytest.mark.parametrize(
    ("values", "stated", "levels"),
    [
        (pa.array([True, False] * 10), ("False", "TRUE"), ["false", "true"]),
        (pa.array([1.0, 2.0] * 10), ("1.0", "2.0", "1"), ["1", "2"]),
        (pa.array([1.5, 2.0] * 10, pa.float32()), ("1.50", "3"), ["1.5", "3"]),
        (
            pa.array([29100, 0] * 10, pa.int32()).cast(pa.time32("s")),
            ("00:00", "08:05"),
            ["00:00:00", "08:05:00"],
        ),
    ],
)
def test_public_categories_are_read_as_the_column_writes_its_values(
    values: pa.Array, stated: tuple[str, ...], levels: list[str]
) -> None:
    table = pa.table({"x": values})
    codec = MixedCodec.fit(table, DataConfig(source="x"), {"x": ColumnRule(categories=stated)})
    assert codec.levels("x") == levels
    seen = set(values.cast(pa.string()).to_pylist())
    assert codec.profile.column("x").folded_rows == sum(
        word not in levels for word in values.cast(pa.string()).to_pylist()
    )
    assert set(
        codec.decode(codec.encode(table), first_row=0)["x"].cast(pa.string()).to_pylist()
    ) == seen & set(levels)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (("low", "high"), "[low, high]: not all of them are double; list values such as 2, 1.5"),
        (("3", "4"), "[3, 4]: none of them occurs; list values such as 2, 1.5"),
        ((), "[]: there are none; list values such as 2, 1.5"),
    ],
)
def test_public_categories_that_can_not_be_the_columns_are_refused(
    stated: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        MixedCodec.fit(
            pa.table({"x": [1.5, 2.0, 2.0] * 10}),
            DataConfig(source="x"),
            {"x": ColumnRule(categories=stated)},
        )
    assert str(caught.value) == f"data.schema: column 'x' can't have the stated `categories` {message}"
