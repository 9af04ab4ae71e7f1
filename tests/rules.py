"""Tables whose rows meet constraints of every type, and rows as a model that knows nothing gives them."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from synthmill.data.batch import Batch, with_noise
from synthmill.data.codecs.base import Codec

LARGE = 2**60
NEVER = date(9999, 12, 31)


def orders(rows: int = 2000, seed: int = 0) -> pa.Table:
    """`start <= end <= paid` are dates, times and dates, with cells missing and a date that stands for none;
    `low <= high` are beyond 2**53; `net + tax - cut = gross` are decimals; `a + b = ab` floats of two digits,
    `raw < more` floats without a last digit; `city` and `land` go together; one of `hot 0` to `hot 2` is 1;
    `size` is in steps of 0.25 and `pack` of 12; `age` lies between 18 and 65; `x` and `y` are free, `key` is
    another in each row."""
    rng = np.random.default_rng(seed)

    def holes(share: float) -> Any:
        return rng.random(rows) < share

    start = np.datetime64("2020-01-01") + rng.integers(0, 1000, rows)
    end = start.astype("datetime64[us]") + 60_000_000 * rng.integers(0, 90 * 1440, rows)
    paid = (end.astype("datetime64[D]") + 1 + rng.geometric(0.05, rows)).astype("datetime64[D]")
    paid = np.where(holes(0.1), np.datetime64(NEVER), paid)
    low = LARGE + rng.integers(0, 10_000, rows)
    net, tax, cut = rng.integers(0, 10**6, rows), rng.integers(0, 10**5, rows), rng.integers(0, 100, rows)
    a, b = rng.integers(0, 5000, rows) / 100, rng.integers(0, 5000, rows) / 100
    raw = rng.normal(size=rows)
    city, hot = rng.integers(0, 6, rows), rng.integers(0, 3, rows)

    def money(cents: Any) -> pa.Array:
        return pa.array(cents).cast(pa.decimal128(20, 0)).cast(pa.decimal128(20, 2))

    gross = money(net + tax - cut)
    return pa.table(
        {
            "key": pa.array(rng.permutation(7 * rows)[:rows]),
            "start": pa.array(start.astype("datetime64[D]"), pa.date32(), mask=holes(0.05)),
            "end": pa.array(end, pa.timestamp("us"), mask=holes(0.1)),
            "paid": pa.array(paid.astype("datetime64[D]"), pa.date32(), mask=holes(0.1)),
            "low": pa.array(low, mask=holes(0.03)),
            "high": pa.array(low + rng.integers(0, 40, rows), mask=holes(0.03)),
            "net": money(net),
            "tax": money(tax),
            "cut": money(cut),
            "gross": pa.compute.if_else(pa.array(holes(0.05)), pa.scalar(None, gross.type), gross),
            "a": pa.array(a, mask=holes(0.05)),
            "b": b,
            "ab": np.round(a + b, 2),
            "raw": raw,
            "more": raw + rng.exponential(size=rows) + 1e-9,
            "city": np.array(list("abcdef"), dtype=object)[city],
            "land": pa.array(np.array(["x", "y", None], dtype=object)[city // 2].tolist(), pa.string()),
            **{f"hot {at}": pa.array((hot == at).astype(np.int8)) for at in range(3)},
            "size": pa.array(rng.integers(0, 40, rows) * 0.25, mask=holes(0.05)),
            "pack": 12 * rng.integers(1, 500, rows),
            "age": rng.integers(18, 66, rows),
            "x": rng.normal(size=rows).round(3),
            "y": rng.integers(0, 50, rows),
        }
    )


CONSTRAINTS: tuple[dict[str, Any], ...] = (
    {"type": "inequality", "columns": ["start", "end", "paid"]},
    {"type": "inequality", "columns": ["low", "high"]},
    {"type": "inequality", "columns": ["raw", "more"], "strict": True},
    {"type": "sum", "total": "gross", "plus": ["net", "tax"], "minus": ["cut"]},
    {"type": "sum", "total": "ab", "plus": ["a", "b"]},
    {"type": "fixed_combinations", "columns": ["city", "land"]},
    {"type": "one_hot", "columns": ["hot 0", "hot 1", "hot 2"]},
    {"type": "fixed_increments", "column": "size", "step": 0.25},
    {"type": "fixed_increments", "column": "pack", "step": 12},
    {"type": "range", "column": "age", "minimum": 18, "maximum": 65},
    {"type": "unique", "columns": ["key"]},
)
"""All that `orders` meets by construction; `x` and `y` are left to others."""


def odd(rows: int = 800, seed: int = 0) -> pa.Table:
    """Pairs of columns in order whose types differ in width, unit, zone or scale, and a sum of bytes."""
    rng = np.random.default_rng(seed)
    number, gap = rng.integers(0, 10**6, rows), rng.integers(0, 500, rows)
    seconds = rng.integers(10**9, 2 * 10**9, rows)
    few, some = (gap % 50).astype(np.int8), (number % 40).astype(np.int8)
    cents = pa.array(number).cast(pa.decimal128(20, 0)).cast(pa.decimal128(20, 2))
    return pa.table(
        {
            "f": pa.array((number / 100).astype(np.float32), mask=rng.random(rows) < 0.05),
            "f2": ((number + gap) / 100).astype(np.float32),
            "i": number,
            "i2": number + rng.exponential(size=rows),
            "zone": pa.array(seconds * 10**6, pa.timestamp("us", tz="Europe/Berlin")),
            "zone2": pa.array((seconds + gap) * 1000, pa.timestamp("ms", tz="UTC")),
            "long": pa.array(gap, pa.duration("s")),
            "long2": pa.array((gap + number % 50) * 10**9, pa.duration("ns")),
            "clock": pa.array((gap * 60).astype(np.int32), pa.time32("s")),
            "clock2": pa.array((gap * 60 + number % 50) * 10**6, pa.time64("us")),
            "nano": pa.array(seconds * 10**9, pa.timestamp("ns")),
            "nano2": pa.array((seconds // 86_400 + 1 + gap).astype(np.int32), pa.date32()),
            "cents": cents,
            "cents2": (number + gap) / 1.0,
            "few": few,
            "some": some,
            "all": few + some,
            "share": rng.random(rows) * 0.9 + 0.05,
            "size": rng.lognormal(0, 3, rows),
        }
    )


ODD: tuple[dict[str, Any], ...] = (
    *(
        {"type": "inequality", "columns": [name, f"{name}2"]}
        for name in ("f", "i", "zone", "long", "clock", "cents")
    ),
    {"type": "inequality", "columns": ["nano", "nano2"], "strict": True},
    {"type": "sum", "total": "all", "plus": ["few", "some"]},
    {"type": "range", "column": "share", "minimum": 0.05, "maximum": 0.95, "strict": True},
    {"type": "range", "column": "size", "minimum": 0, "strict": True},
)


def wild(codec: Codec, rows: int, seed: int = 0) -> Batch:
    """Codes and places drawn uniformly: what no training has touched."""
    draws = torch.Generator().manual_seed(seed)
    layout: Any = codec.layout
    codes = [torch.randint(span.width, (rows,), generator=draws) for span in layout.discrete]
    values = torch.rand(rows, len(layout.numeric), generator=draws) * 2 - 1
    for at, span in enumerate(layout.numeric):
        values[:, at] = torch.where(codes[span.discrete] < span.segments, values[:, at], 0.0)
    return with_noise(Batch(codes=torch.stack(codes, 1), values=values), draws)
