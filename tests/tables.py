"""Tables whose distribution is stated, so that tests can say what a codec or a model must reproduce."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

CITIES = 40
FIRST_DAY = np.datetime64("2020-01-01")


def customers(rows: int = 1200, seed: int = 0) -> pa.Table:
    """One row a customer:

    customer   identifier, `C-00001` upwards
    age        integer, 18 + Gamma(4, 6) rounded, at most 90
    plan       basic 60%, pro 30%, team 10%
    visits     integer, 0 with 70%, else 1 + geometric(0.05): a point mass and a tail
    spend      2 decimals, lognormal(4 + 1 if pro or team, 1), missing with 8%: a heavy tail that depends on
    plan city       city-00 .. city-39 with share proportional to 1 / (1 + number): common and rare levels
    joined     date, uniform over 1,000 days from 2020-01-01
    last_seen  date and time on whole minutes, up to 400 days after `joined`, missing with 20%
    member     boolean, true with 80% where visits > 0, else 10%
    churned    boolean, true with probability logistic(2 - 3 [visits > 0] - [plan is not basic])
    country    always NL
    """
    rng = np.random.default_rng(seed)
    age = np.minimum(18 + rng.gamma(4.0, 6.0, rows), 90).round().astype(np.int64)
    plan = rng.choice(3, rows, p=[0.6, 0.3, 0.1])
    visits = np.where(rng.random(rows) < 0.7, 0, 1 + rng.geometric(0.05, rows))
    spend = rng.lognormal(4.0 + (plan > 0), 1.0).round(2)
    city_shares = 1 / (1 + np.arange(CITIES))
    city = rng.choice(CITIES, rows, p=city_shares / city_shares.sum())
    joined = FIRST_DAY + rng.integers(0, 1000, rows)
    last_seen = joined.astype("datetime64[s]") + 60 * rng.integers(0, 400 * 1440, rows)
    member = rng.random(rows) < np.where(visits > 0, 0.8, 0.1)
    churned = rng.random(rows) < 1 / (1 + np.exp(3.0 * (visits > 0) + 1.0 * (plan > 0) - 2))
    return pa.table(
        {
            "customer": [f"C-{i + 1:05d}" for i in range(rows)],
            "age": age,
            "plan": np.array(["basic", "pro", "team"], dtype=object)[plan],
            "visits": visits,
            "spend": pa.array(spend, mask=rng.random(rows) < 0.08),
            "city": [f"city-{i:02d}" for i in city],
            "joined": pa.array(joined.astype("datetime64[D]"), pa.date32()),
            "last_seen": pa.array(
                last_seen.astype("datetime64[ms]"), pa.timestamp("ms"), mask=rng.random(rows) < 0.2
            ),
            "member": member,
            "churned": churned,
            "country": ["NL"] * rows,
        }
    )


def write_customers(path: Path, rows: int = 1200, seed: int = 0) -> Path:
    """`customers` as a CSV file with unquoted cells, missing ones empty."""
    table = customers(rows, seed)
    texts = {
        name: column.cast(pa.string()) for name, column in zip(table.column_names, table.columns, strict=True)
    }
    texts["last_seen"] = pc.replace_substring(pc.replace_substring(texts["last_seen"], " ", "T"), ".000", "")
    with path.open("wb") as out:
        out.write((",".join(texts) + "\n").encode())
        csv.write_csv(pa.table(texts), out, csv.WriteOptions(quoting_style="none", include_header=False))
    return path


def overlap(real: pa.ChunkedArray, other: pa.ChunkedArray, bins: int = 10) -> float:
    """1 - total variation distance between two columns, over categories or over the real column's quantile
    bins; nulls are a bin."""
    if pa.types.is_string(real.type) or pa.types.is_boolean(real.type):
        left, right = (
            _shares(column.cast(pa.string()).fill_null("\0").to_pylist()) for column in (real, other)
        )
    else:
        ordered = _ordered(real)
        edges = np.unique(np.nanquantile(ordered, np.linspace(0, 1, bins + 1)[1:-1]))
        left, right = (
            _shares(np.where(np.isnan(x), -1, np.searchsorted(edges, x)).tolist())
            for x in (ordered, _ordered(other))
        )
    return 1 - sum(abs(left.get(key, 0) - right.get(key, 0)) for key in left.keys() | right.keys()) / 2


def _shares(values: list[object]) -> dict[object, float]:
    keys, counts = np.unique(np.array(values), return_counts=True)
    return dict(zip(keys.tolist(), (counts / counts.sum()).tolist(), strict=True))


def _ordered(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return column.cast(pa.float64()).to_numpy()
