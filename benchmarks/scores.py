"""How good synthetic rows are, by one protocol for every system: uni, bi, C2ST, TSTR, near.

uni and bi: 1 - TVD from the training rows on deciles and on the ten most frequent categories, mean over
columns and over pairs of columns. C2ST: AUC of a gradient-boosting classifier, 5-fold, telling synthetic from
training rows; 0.5 is ideal. TSTR: AUC on the real holdout of the same classifier trained on synthetic rows.
near: share of synthetic rows that are nearer to any training row than the nearest hundredth of the holdout
is; 0.01 is neutral, more is copying. A holdout scored like synthetic rows gives the ceiling.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

BINS = 10
Codes = NDArray[np.int64]


def scores(
    train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, *, target: str, positive: str
) -> dict[str, float]:
    """All four figures; columns are matched by name and compared as the training table has them."""
    synthetic = synthetic[list(train.columns)]
    return {
        **accuracies(train, synthetic),
        "c2st": c2st(train, synthetic),
        "tstr": tstr(train, holdout, synthetic, target=target, positive=positive),
        "near": near(train, holdout, synthetic),
    }


def near(train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, rows: int = 4000) -> float:
    """Distances are sums over columns: of ranks among the training rows, or 1 where categories differ. All
    training rows are compared with `rows` others a side: against few of them copies can't be seen."""
    some = [other.sample(min(rows, len(other)), random_state=0) for other in (holdout, synthetic)]
    real, new, made = (_places(train, other) for other in (train, *some))
    tau = np.quantile(_nearest(real, new), 0.01)
    return float((_nearest(real, made) < tau).mean())


def _places(train: pd.DataFrame, rows: pd.DataFrame) -> list[tuple[bool, NDArray[np.float32]]]:
    """Of each column whether it is numeric, and its ranks or codes."""
    found = []
    for name in train.columns:
        if pd.api.types.is_numeric_dtype(train[name]):
            known = np.sort(train[name].dropna().to_numpy(float))
            values = pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
            ranks = (np.searchsorted(known, values) + np.searchsorted(known, values, side="right")) / 2
            found.append((True, (ranks / len(known)).astype(np.float32)))
        else:
            levels = {value: code for code, value in enumerate(train[name].astype(str).unique())}
            found.append((False, rows[name].astype(str).map(levels).fillna(-1).to_numpy(np.float32)))
    return found


def _nearest(
    train: list[tuple[bool, NDArray[np.float32]]], rows: list[tuple[bool, NDArray[np.float32]]]
) -> NDArray[np.float32]:
    """The distance of each row from the nearest training row."""
    nearest = []
    for first in range(0, len(rows[0][1]), 256):
        total = np.zeros((len(rows[0][1][first : first + 256]), len(train[0][1])), np.float32)
        for (numeric, real), (_, other) in zip(train, rows, strict=True):
            some = other[first : first + 256, None]
            total += np.abs(some - real) if numeric else some != real
        nearest.append(total.min(1))
    return np.concatenate(nearest)


def accuracies(train: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    """uni and bi."""
    real, made, sizes = [], [], []
    for left, right, size in (binned(train[name], synthetic[name]) for name in train.columns):
        real.append(left)
        made.append(right)
        sizes.append(size)
    single = [1 - tvd(real[i], made[i], sizes[i]) for i in range(len(sizes))]
    pairs = [
        1 - tvd(real[i] * sizes[j] + real[j], made[i] * sizes[j] + made[j], sizes[i] * sizes[j])
        for i, j in combinations(range(len(sizes)), 2)
    ]
    return {"uni": float(np.mean(single)), "bi": float(np.mean(pairs))}


def binned(train: pd.Series, other: pd.Series) -> tuple[Codes, Codes, int]:
    """Codes of both columns in the bins of the first, and the number of bins; the last one is for missing
    cells."""
    if pd.api.types.is_numeric_dtype(train):
        edges = np.unique(np.nanquantile(train.to_numpy(float), np.linspace(0, 1, BINS + 1)[1:-1]))
        size = len(edges) + 2

        def codes(column: pd.Series) -> Codes:
            values = pd.to_numeric(column, errors="coerce").to_numpy(float)
            return np.where(np.isnan(values), size - 1, np.searchsorted(edges, values, side="right")).astype(
                np.int64
            )
    else:
        levels = {
            value: rank for rank, value in enumerate(train.dropna().astype(str).value_counts().index[:BINS])
        }
        size = len(levels) + 2

        def codes(column: pd.Series) -> Codes:
            known = column.astype(object).map(
                lambda value: levels.get(str(value), size - 2), na_action="ignore"
            )
            return known.fillna(size - 1).to_numpy(np.int64)

    return codes(train), codes(other), size


def tvd(left: Codes, right: Codes, size: int) -> float:
    """Total variation distance between the histograms of two columns of codes."""
    p, q = (np.bincount(codes, minlength=size) / len(codes) for codes in (left, right))
    return float(np.abs(p - q).sum() / 2)


def c2st(train: pd.DataFrame, synthetic: pd.DataFrame, levels: pd.DataFrame | None = None) -> float:
    """Mean AUC over 5 folds, on equally many rows of each kind. Categories are those of `levels`, by default
    of `train`."""
    rows = min(len(train), len(synthetic))
    both = pd.concat(
        [train.sample(rows, random_state=0), synthetic.sample(rows, random_state=0)], ignore_index=True
    )
    features, is_synthetic = encoded(train if levels is None else levels, both), np.repeat([0, 1], rows)
    aucs = []
    # Not with the seed that drew the rows: the same permutation twice puts neighbours of the table into one
    # fold, and where a table is in order (by place, price, time) each fold's rows are then unlike the others.
    for fit, test in StratifiedKFold(5, shuffle=True, random_state=1).split(features, is_synthetic):
        guess = (
            classifier(features)
            .fit(features.iloc[fit], is_synthetic[fit])
            .predict_proba(features.iloc[test])[:, 1]
        )
        aucs.append(roc_auc_score(is_synthetic[test], guess))
    return float(np.mean(aucs))


def tstr(
    train: pd.DataFrame, holdout: pd.DataFrame, rows: pd.DataFrame, *, target: str, positive: str
) -> float:
    """AUC on the holdout after training on `rows`; 0.5 when they have one class only."""
    answers = rows[target].astype(str) == positive
    if answers.nunique() < 2:
        return 0.5
    features = encoded(train, rows).drop(columns=target)
    model = classifier(features).fit(features, answers)
    guess = model.predict_proba(encoded(train, holdout).drop(columns=target))[:, 1]
    return float(roc_auc_score(holdout[target].astype(str) == positive, guess))


def encoded(train: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats, categories as codes of the training table's levels (others and missing: -1 and
    NaN)."""
    return pd.DataFrame(dict(_encoded(train, rows)))


def _encoded(train: pd.DataFrame, rows: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    for name in train.columns:
        if pd.api.types.is_numeric_dtype(train[name]):
            yield name, pd.to_numeric(rows[name], errors="coerce").astype(float)
        else:
            levels = sorted(train[name].dropna().astype(str).unique())
            yield (
                name,
                pd.Categorical(
                    rows[name].astype(object).where(rows[name].isna(), rows[name].astype(str)),
                    categories=levels,
                ),
            )


def classifier(features: pd.DataFrame) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
