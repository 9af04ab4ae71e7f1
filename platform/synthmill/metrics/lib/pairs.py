"""Which pairs of columns are counted: the most associated ones of the training rows."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow as pa
from scipy import stats

from synthmill.metrics.lib.binning import Plan, chi_squared, count_pair, cramers_v
from synthmill.metrics.lib.columns import Ints
from synthmill.metrics.lib.view import PartView

MAX_PAIRS = 300
MAX_CANDIDATES = 20_000
"""Pairs among which the most associated are sought; the pairs of 200 columns are fewer."""
WIDE_ROWS = 5_000
"""Rows that association is measured on where there are more than 100 columns."""


def choose_pairs(plan: Plan, sample: pa.Table, seed: int) -> Plan:
    """The plan with its pairs, their association, and how many were looked at."""
    bins, names = plan.bins, list(plan.bins)
    view = PartView(sample if len(names) <= 100 else sample.slice(0, WIDE_ROWS), plan)
    strength: dict[tuple[str, str], float] = {}
    candidates = candidate_pairs(len(names), seed)
    for i, j in candidates:
        a, b = names[i], names[j]
        counts = count_pair(view.coarse(a), view.coarse(b), bins[a].coarse_size, bins[b].coarse_size)
        # The strongest of 20,000 pairs are strong by chance, and real rows would not show it again; narrow
        # tables, whose figures were calibrated without this, have too few pairs for it to matter.
        by_chance = len(candidates) == MAX_CANDIDATES and is_chance(counts, MAX_CANDIDATES)
        strength[(a, b)] = 0.0 if by_chance else cramers_v(counts)
    # Only associated pairs: independent ones are easy and would dilute the gap.
    strongest = set(sorted(strength, key=lambda pair: (-strength[pair], pair))[:MAX_PAIRS])
    pairs = tuple(pair for pair in strength if pair in strongest)
    association = {pair: strength[pair] for pair in pairs}
    return replace(plan, pairs=pairs, association=association, candidates=len(strength))


def is_chance(counts: Ints, among: int) -> bool:
    """Whether one of so many independent pairs would be expected to look as dependent (chi-squared test)."""
    chi2, table = chi_squared(counts)
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return freedom <= 0 or bool(stats.chi2.sf(chi2, freedom) > 1 / among)


def candidate_pairs(columns: int, seed: int) -> list[tuple[int, int]]:
    """Every pair of columns, in order; of a wide table a seeded sample of MAX_CANDIDATES pairs, so that
    neither time nor memory grows with the square of the columns."""
    if columns * (columns - 1) // 2 <= MAX_CANDIDATES:
        return list(combinations(range(columns), 2))
    rng = np.random.default_rng([seed & 0xFFFFFFFF, columns])
    # Neighbouring columns are often measurements of one thing: they take up to half of the places.
    picked = {(i, i + 1) for i in range(min(columns - 1, MAX_CANDIDATES // 2))}
    while len(picked) < MAX_CANDIDATES:
        drawn = np.sort(rng.integers(0, columns, (MAX_CANDIDATES, 2)), axis=1)
        fresh = (pair for pair in map(tuple, drawn[drawn[:, 0] < drawn[:, 1]].tolist()) if pair not in picked)
        for pair in fresh:
            picked.add(pair)
            if len(picked) == MAX_CANDIDATES:
                break
    return sorted(picked)


def sampled_pairs(plan: Plan) -> dict[str, int]:
    """How many pairs were looked at, where it was not all of them; a count for `Result.n`."""
    possible = len(plan.bins) * (len(plan.bins) - 1) // 2
    return {"pairs looked at": plan.candidates} if plan.candidates < possible else {}


def looked_at(plan: Plan) -> str:
    """The same in words."""
    possible = len(plan.bins) * (len(plan.bins) - 1) // 2
    if not sampled_pairs(plan):
        return ""
    return f", association measured on a seeded sample of {plan.candidates:,} of {possible:,} pairs"
