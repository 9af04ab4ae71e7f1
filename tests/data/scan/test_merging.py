"""Counts of parts of a source, merged: those of all of it, however it is divided and in whatever order."""

import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.scan import counting, tally
from synthmill.data.scan.block import Block
from synthmill.data.scan.counts import Counts
from synthmill.data.scan.tally import Ascending

ROWS = 600


def rows(seed: int) -> pa.Table:
    """A counter, grids, curves, points on them, texts, dates that stand for none, missing cells."""
    rng = np.random.default_rng(seed)
    day = 18_000 + rng.integers(0, 400, ROWS)
    day[rng.random(ROWS) < 0.05] = (np.datetime64("9999-12-31") - np.datetime64("1970-01-01")).astype(int)
    point = np.where(rng.random(ROWS) < 0.3, 7.25, rng.normal(size=ROWS).round(rng.integers(1, 4)))
    texts = [None if i % 11 == 0 else f"t{i}" for i in rng.zipf(1.5, ROWS).clip(max=200).tolist()]
    columns = {
        "serial": np.arange(ROWS) * 3 + 1,
        "who": rng.integers(0, 150, ROWS),
        "level": pa.array(rng.integers(0, 9, ROWS), mask=rng.random(ROWS) < 0.1),
        "wide": np.where(rng.random(ROWS) < 0.02, 10**12, rng.integers(0, 10**9, ROWS) * 10),
        "late": np.where(np.arange(ROWS) < 200, 5, rng.integers(0, 10**6, ROWS) * 60),
        "point": point + 0.0,
        "sum": np.where(rng.random(ROWS) < 0.03, np.inf, rng.lognormal(3, 2, ROWS)),
        "step": pa.array(rng.choice([0.5, 1.5, 2.25], ROWS)),
        "day": pa.array(day.astype(np.int32), pa.date32()),
        "text": pa.array(texts).dictionary_encode(),
        "flag": pa.array(rng.random(ROWS) < 0.4, mask=rng.random(ROWS) < 0.2),
    }
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def blocks(table: pa.Table, cuts: list[int]) -> list[Block]:
    edges = [0, *sorted(set(cuts)), ROWS]
    return [Block(table.slice(start, stop - start), start) for start, stop in itertools.pairwise(edges)]


def plain(table: pa.Table) -> pa.Table:
    return table.set_column(9, "text", table["text"].cast(pa.string()))


def told(counts: Counts, sample: pa.Table, config: DataConfig) -> dict[str, Any]:
    """All that follows from counts."""
    codec = MixedCodec.fit_scanned(sample, counts, config, {})
    files, tensors = codec.to_files()
    values = {name: tensor.tolist() for name, tensor in tensors.items()}
    summary = codec.summary_counted(sample, counts)
    return {"files": files, "tensors": values, "notes": codec.notes, "summary": summary}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few may be counted that counters change, and texts are left out."""
    monkeypatch.setattr(tally, "MOST_NUMBERS", 100)
    monkeypatch.setattr(tally, "MOST_TEXTS", 12)
    monkeypatch.setattr(tally, "_PENDING", 8)
    monkeypatch.setattr(counting, "WIDEST", 1 << 11)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 5),
    group=st.sampled_from([None, "who", "text"]),
    cuts=st.lists(st.integers(1, ROWS - 1), max_size=12),
    data=st.data(),
)
def test_counts_of_parts_are_those_of_all(
    seed: int, group: str | None, cuts: list[int], data: st.DataObject
) -> None:
    table = rows(seed)
    config = DataConfig.model_validate({"source": "x", "split": {"group": group}, "min_category_rows": 5})
    first, sample = plain(table.slice(0, 150)), plain(table)
    whole = Counts(first, config, {})
    whole.add(Block(table, 0), np.arange(ROWS))
    expected = told(whole, sample, config)
    # Every block goes to one of some counts, in any order, and they are merged in any order.
    pieces = data.draw(st.permutations(blocks(table, cuts)))
    parts = [Counts(first, config, {}) for _ in range(1 + data.draw(st.integers(0, 4)))]
    for block in pieces:
        parts[data.draw(st.integers(0, len(parts) - 1))].add(block, np.arange(block.table.num_rows))
    order = data.draw(st.permutations(parts))
    for other in order[1:]:
        order[0].merge(other)
    assert json.dumps(told(order[0], sample, config), default=str) == json.dumps(expected, default=str)
    assert order[0].covers(sample) == whole.covers(sample)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.data())
def test_ascending_numbers_are_told_in_any_order(values: list[int], data: st.DataObject) -> None:
    numbers = np.array(sorted(set(values)) if data.draw(st.booleans()) else values)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(numbers)), max_size=6)))
    edges = [0, *cuts, len(numbers)]
    parts = data.draw(st.permutations(list(itertools.pairwise(edges))))
    one, other = Ascending(), Ascending()
    for start, stop in parts:
        if start < stop:
            data.draw(st.sampled_from([one, other])).add(start, stop, numbers[start:stop])
    one.take_in(other)
    assert bool(one) == bool((np.diff(numbers) > 0).all())
