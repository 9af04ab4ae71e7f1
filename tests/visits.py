"""Sequences whose distribution is stated, so that tests can say what must come back."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

STAGES = ("browse", "buy", "return")
MOVES = np.array([[0.7, 0.25, 0.05], [0.3, 0.5, 0.2], [0.85, 0.1, 0.05]])
"""p(stage of the next visit | stage)."""
AUTOCORRELATION = 0.8
SHARE_OF_PRO = 0.4


def visits(sequences: int = 400, seed: int = 0, *, shuffled: bool = True) -> pa.Table:
    """Visits of customers, in no order:

    customer   identifier, `C-00001` upwards
    plan       basic 60%, pro 40%; one a customer
    joined     integer year, 2010 to 2020; one a customer
    when       date and time on whole minutes, the first in January 2024; gaps are 60 + geometric minutes, of
               a mean of a day (basic) or of six hours (pro)
    stage      a Markov chain by `MOVES`, begun at browse
    mood       AR(1) of autocorrelation 0.8, mean 0 (basic) or 3 (pro), sd 1; 2 decimals
    spend      2 decimals, lognormal, only where the stage is buy

    Lengths are 2 + Poisson(6), or 2 + Poisson(3) of basic customers.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {
        name: [] for name in ("customer", "plan", "joined", "when", "stage", "mood", "spend")
    }
    for number in range(sequences):
        is_pro = rng.random() < SHARE_OF_PRO
        length = 2 + rng.poisson(6 if is_pro else 3)
        joined = int(rng.integers(2010, 2021))
        at = np.datetime64("2024-01-01T00:00", "m") + rng.integers(0, 31 * 1440)
        stage, noise = 0, rng.normal()
        for row in range(length):
            if row:
                at = at + 60 + rng.geometric(1 / (360 if is_pro else 1440))
                stage = rng.choice(3, p=MOVES[stage])
                noise = AUTOCORRELATION * noise + rng.normal() * (1 - AUTOCORRELATION**2) ** 0.5
            columns["customer"].append(f"C-{number + 1:05d}")
            columns["plan"].append("pro" if is_pro else "basic")
            columns["joined"].append(joined)
            columns["when"].append(at.astype("datetime64[s]"))
            columns["stage"].append(STAGES[stage])
            columns["mood"].append(round(float(noise + 3 * is_pro), 2))
            columns["spend"].append(round(float(rng.lognormal(3, 0.5)), 2) if stage == 1 else None)
    table = pa.table({**columns, "when": pa.array(np.array(columns["when"]), pa.timestamp("s"))})
    return table.take(pa.array(rng.permutation(table.num_rows))) if shuffled else table


def per_sequence(table: pa.Table, name: str, key: str = "customer") -> list[np.ndarray]:
    """The values of a column by sequence, as the rows stand."""
    keys = np.asarray(table[key].to_pylist(), dtype=object)
    values = np.asarray(table[name].to_pylist(), dtype=object)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return np.split(values, starts[1:])


def autocorrelation(table: pa.Table, name: str = "mood", lag: int = 1) -> float:
    """Of all pairs of rows so far apart in one sequence, less the mean of the plan."""
    pairs = []
    for values, plans in zip(per_sequence(table, name), per_sequence(table, "plan"), strict=True):
        own = values.astype(float) - 3 * (plans == "pro")
        pairs += list(zip(own[:-lag], own[lag:], strict=True))
    first, second = np.array(pairs).T
    return float(np.corrcoef(first, second)[0, 1])


def moves(table: pa.Table, name: str = "stage") -> np.ndarray:
    """p(next | stage) as counted, (3, 3)."""
    counts = np.zeros((3, 3))
    for values in per_sequence(table, name):
        for a, b in pairwise(values):
            counts[STAGES.index(a), STAGES.index(b)] += 1
    return counts / counts.sum(1, keepdims=True)
