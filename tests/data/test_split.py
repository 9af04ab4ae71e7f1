"""Splits: exact shares, duplicates and groups on one side, the same sides again, a changed source refused."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import SplitConfig
from synthmill.data.readers.base import Source
from synthmill.data.split import SplitTables, open_split, row_hashes, split_table
from synthmill.errors import DataError
from tables import customers


def split(table: pa.Table, **options: object) -> SplitTables:
    return split_table(table, SplitConfig.model_validate(options), sha256="a" * 64)


def sides(tables: SplitTables, column: str) -> list[set[object]]:
    return [set(part[column].to_pylist()) for part in (tables.train, tables.validation, tables.holdout)]


@pytest.mark.parametrize("rows", [10, 569, 1000])
def test_shares_are_exact_where_rows_are_distinct(rows: int) -> None:
    tables = split(customers(rows))
    assert tables.split.counts == {
        "holdout": round(0.2 * rows),
        "validation": round(0.1 * rows),
        "train": rows - round(0.2 * rows) - round(0.1 * rows),
    }
    assert (tables.train.num_rows, tables.validation.num_rows, tables.holdout.num_rows) == tuple(
        tables.split.counts[name] for name in ("train", "validation", "holdout")
    )
    assert disjoint(sides(tables, "customer"))
    assert len(set.union(*sides(tables, "customer"))) == rows


def disjoint(parts: list[set[object]]) -> bool:
    return len(set.union(*parts)) == sum(map(len, parts))


def test_sides_do_not_depend_on_position_in_the_file() -> None:
    """A cut in the hash's order, not in the file's: neither half of the file is favoured."""
    holdout = split(pa.table({"x": np.arange(10_000)})).holdout["x"].to_numpy()
    assert abs((holdout < 5000).mean() - 0.5) < 0.05


def test_the_same_settings_give_the_same_sides_and_a_seed_others() -> None:
    table = customers(500)
    assert split(table).train.equals(split(table).train)
    assert not split(table).train.equals(split(table, seed=1).train)


def test_exact_duplicates_stay_together() -> None:
    once = pa.table({"x": np.arange(300), "y": pa.array([None, "a", "b"] * 100)})
    tables = split(pa.concat_tables([once, once.take(pa.array(np.arange(299, -1, -1))), once]))
    parts = sides(tables, "x")
    assert [len(part) * 3 for part in parts] == [
        part.num_rows for part in (tables.train, tables.validation, tables.holdout)
    ]
    assert sum(map(len, parts)) == 300


def test_common_rows_are_dealt_out_or_a_table_of_few_categories_would_lose_whole_combinations() -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "class": rng.choice(["1st", "2nd", "crew"], 2000),
            "died": rng.choice(["no", "yes"], 2000, p=[0.3, 0.7]),
        }
    )
    tables = split(table)
    assert tables.split.counts == {"train": 1400, "validation": 200, "holdout": 400}
    for part in (tables.train, tables.validation, tables.holdout):
        assert part.group_by(["class", "died"]).aggregate([]).num_rows == 6
        assert pc.mean(pc.equal(part["died"], "yes")).as_py() == pytest.approx(0.7, abs=0.1)


def test_copies_that_are_many_but_a_small_part_of_the_table_stay_together() -> None:
    """A class that was oversampled by copying its rows must not leak into the holdout."""
    tables = split(
        pa.table({"x": np.concatenate([np.arange(5_000), np.repeat(np.arange(5_000, 5_100), 40)])})
    )
    assert disjoint(sides(tables, "x"))


def test_a_image_under_two_labels_stays_on_one_side() -> None:
    images = [{"bytes": bytes([i // 256, i % 256]), "path": None} for i in range(300)] * 2
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    tables = split(pa.table({"image": pa.array(images, kind), "label": [0] * 300 + [1] * 300}))
    seen = [
        {cell["bytes"] for cell in part["image"].to_pylist()}
        for part in (tables.train, tables.validation, tables.holdout)
    ]
    assert disjoint(seen)  # type: ignore[arg-type]


def test_a_model_of_before_finds_its_own_split_again() -> None:
    source = Source(pa.table({"x": [1] * 100 + [2] * 50}), "a" * 64, "few.csv")
    old = split_table(source.table, SplitConfig(), sha256=source.sha256, rule="ordered-first-row-hash")
    assert open_split(source, old.split).split == old.split
    assert disjoint(sides(old, "x"))
    assert split(source.table).split.rule == "ordered-first-row-hash/2"
    assert split(source.table).split.counts == {"train": 105, "validation": 15, "holdout": 30}


def test_groups_stay_together_and_rows_without_one_stand_alone() -> None:
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 200, 2000)
    missing = rng.random(2000) < 0.1
    tables = split(
        pa.table({"patient": pa.array(patient, mask=missing), "x": rng.random(2000)}), group="patient"
    )
    assert disjoint([part - {None} for part in sides(tables, "patient")])
    assert 0 < tables.holdout["patient"].null_count < missing.sum()
    assert abs(tables.holdout.num_rows - 400) < 30


@pytest.mark.parametrize(
    ("table", "counts"),
    [
        (pa.table({"x": [1, 2]}), {"train": 2, "validation": 0, "holdout": 0}),
        (pa.table({"x": [1] * 19}), {"train": 19, "validation": 0, "holdout": 0}),
        (pa.table({"x": [1, 2, 3]}), {"train": 2, "validation": 0, "holdout": 1}),
    ],
)
def test_small_tables_keep_something_to_train_on(table: pa.Table, counts: dict[str, int]) -> None:
    tables = split(table)
    assert tables.split.counts == counts
    assert tables.selection.equals(tables.train)


def test_selection_is_validation_where_there_is_one() -> None:
    tables = split(customers(100))
    assert tables.selection is tables.validation


def test_shares_of_zero_and_impossible_shares() -> None:
    assert split(customers(100), holdout=0.0).split.counts == {"train": 90, "validation": 10, "holdout": 0}
    with pytest.raises(DataError, match=r"^data\.split: validation and holdout leave no rows to train on"):
        split(customers(100), holdout=0.5, validation=0.5)
    with pytest.raises(DataError, match=r"^data\.split\.group: no column named 'plam'; did you mean 'plan'"):
        split(customers(100), group="plam")


def test_a_split_is_opened_again_only_on_the_same_bytes() -> None:
    source = Source(customers(300), "a" * 64, "customers.csv")
    tables = split(source.table, seed=3)
    record = type(tables.split).model_validate_json(tables.split.model_dump_json())
    assert open_split(source, record).holdout.equals(tables.holdout)
    with pytest.raises(
        DataError, match=r"^data\.source: customers\.csv has changed since the model was trained"
    ):
        open_split(Source(source.table, "b" * 64, source.uri), record)


def test_no_row_ids_are_recorded() -> None:
    record = split(customers(1000)).split.model_dump_json()
    assert len(record) < 400
    assert "C-0" not in record


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", None])), min_size=2, max_size=60),
    st.integers(0, 5),
)
def test_any_table_splits_into_disjoint_contents(rows: list[tuple[int, str | None]], seed: int) -> None:
    table = pa.table({"x": pa.array([x for x, _ in rows]), "y": pa.array([y for _, y in rows], pa.string())})
    tables = split(table, seed=seed)
    parts: list[set[object]] = [
        set(map(str, part.to_pylist())) for part in (tables.train, tables.validation, tables.holdout)
    ]
    common = {str({"x": x, "y": y}) for (x, y), count in Counter(rows).items() if count >= 20}
    assert tables.train.num_rows > 0
    assert sum(tables.split.counts.values()) == len(rows)
    assert disjoint([part - common for part in parts])


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.set_column(1, "age", pc.add(table["age"], 1)),
        lambda table: table.set_column(0, "customer", pc.utf8_lower(table["customer"])),
        lambda table: table.set_column(4, "spend", pc.add(table["spend"], 0.01)),
        lambda table: table.set_column(8, "member", pc.invert(table["member"])),
    ],
    ids=["integer", "text", "decimal", "boolean"],
)
def test_row_hashes_follow_content(change: Callable[[pa.Table], pa.Table]) -> None:
    table = customers(200)
    changed = row_hashes(change(table)) != row_hashes(table)
    assert changed.mean() > 0.9


def test_row_hashes_are_those_of_earlier_versions() -> None:
    """Recorded models must find their split again after an upgrade."""
    table = pa.table(
        {
            "a": pa.array([1, None]),
            "b": pa.array([0.5, -0.0]),
            "c": pa.array(["x", "y"]),
            "d": pa.array([True, None]),
        }
    )
    assert row_hashes(table).tolist() == [2929097266274122989, 15039386612506189080]
