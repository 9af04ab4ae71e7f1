"""A CSV of customers with everything a table can have, made from a stated distribution."""

from pathlib import Path

import numpy as np


def write_customers(path: Path, *, rows: int) -> Path:
    """`customer` is an identifier, `spend` is 0 for 40% and else log-normal with 5% missing, `age` is 18 to
    90, `plan` is basic 60% pro 30% enterprise 10%, `joined` is a date, `vip` a boolean; `churned` is likelier
    for the young and for basic."""
    rng = np.random.default_rng(3)
    plan = rng.choice(["basic", "pro", "enterprise"], rows, p=[0.6, 0.3, 0.1])
    age = rng.integers(18, 91, rows)
    spend = np.where(rng.random(rows) < 0.4, 0.0, np.exp(rng.normal(4, 1, rows)))
    cells = [
        f"{value:.2f}" if keep else "?" for value, keep in zip(spend, rng.random(rows) > 0.05, strict=True)
    ]
    joined = np.datetime64("2020-01-01") + rng.integers(0, 1500, rows)
    vip = np.where((plan == "enterprise") & (rng.random(rows) < 0.8), "true", "false")
    churned = np.where(rng.random(rows) < 0.15 + 0.4 * (plan == "basic") + 0.2 * (age < 35), "yes", "no")
    columns = [[f"C-{i + 1:06d}" for i in range(rows)], age, cells, plan, joined, vip, churned]
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(["customer,age,spend,plan,joined,vip,churned", *lines]) + "\n")
    return path
