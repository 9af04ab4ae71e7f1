"""Compute the values that tests compare with, by other people's software, in an environment of its own.

    python3.11 -m venv /tmp/oracles && /tmp/oracles/bin/pip install "pandas<3" sdmetrics prdc scipy
    scikit-learn statsmodels /tmp/oracles/bin/python tests/oracles/make_oracles.py

Writes `tables.json` (the inputs, drawn here) and `values.json` (the outputs, with the versions that gave
them) beside itself. Nothing of this package is imported.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pandas as pd
from prdc import compute_prdc
from scipy import stats
from scipy.stats.contingency import association
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.reports.single_table import QualityReport
from sdmetrics.reports.single_table._properties import ColumnPairTrends
from sdmetrics.single_column import (
    BoundaryAdherence,
    CategoryCoverage,
    KSComplement,
    MissingValueSimilarity,
    TVComplement,
)
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

HERE = Path(__file__).parent
NUMERIC, CATEGORY = ["age", "pay"], ["city", "smoker"]
METADATA = {
    "columns": {
        **{c: {"sdtype": "numerical"} for c in NUMERIC},
        **{c: {"sdtype": "categorical"} for c in CATEGORY},
    }
}


def draw(seed: int, rows: int, slope: float) -> pd.DataFrame:
    """Two numbers and two categories that depend on each other, some values missing."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows).astype(float)
    pay = np.round(np.exp(rng.normal(7 + slope * age / 40, 0.4)), 2)
    city = rng.choice(
        ["Aachen", "Bern", "Graz", "Linz"], rows, p=[0.5, 0.3, 0.15, 0.05] if slope else [0.4, 0.3, 0.2, 0.1]
    )
    smoker = np.where(rng.random(rows) < 0.1 + 0.6 * (age > 50), "yes", "no").astype(object)
    pay[rng.random(rows) < 0.05] = np.nan
    smoker[rng.random(rows) < 0.1] = None
    return pd.DataFrame({"age": age, "pay": pay, "city": city, "smoker": smoker})


def plain(table: pd.DataFrame) -> dict:
    """Column -> values, None where missing."""
    return table.astype(object).where(table.notna(), None).to_dict("list")


def sdmetrics_values(real: pd.DataFrame, fake: pd.DataFrame) -> dict:
    report = QualityReport()
    report.generate(real, fake, METADATA, verbose=False)
    properties = report.get_properties().set_index("Property")["Score"]
    shapes = report.get_details("Column Shapes").set_index("Column")["Score"]
    trends = ColumnPairTrends()
    mean_of_pairs = trends.get_score(real, fake, METADATA)
    pairs = trends.details
    return {
        "column_shapes": float(properties["Column Shapes"]),
        "column_pair_trends": float(mean_of_pairs),
        "associated_pairs": float(properties["Column Pair Trends"]),
        "shape": {name: float(score) for name, score in shapes.items()},
        "pair": {
            f"{a}|{b}": float(s)
            for a, b, s in zip(pairs["Column 1"], pairs["Column 2"], pairs["Score"], strict=True)
        },
        "ks": {c: KSComplement.compute(real[c], fake[c]) for c in NUMERIC},
        "tv": {c: TVComplement.compute(real[c], fake[c]) for c in CATEGORY},
        "category_coverage": {
            c: CategoryCoverage.compute(real[c].dropna(), fake[c].dropna()) for c in CATEGORY
        },
        "boundary_adherence": {c: BoundaryAdherence.compute(real[c], fake[c].dropna()) for c in NUMERIC},
        "missing_similarity": {c: MissingValueSimilarity.compute(real[c], fake[c]) for c in real},
        "correlation": CorrelationSimilarity.compute(real[NUMERIC], fake[NUMERIC]),
        "contingency": ContingencySimilarity.compute(real[CATEGORY], fake[CATEGORY]),
    }


def prdc_values(real: np.ndarray, fake: np.ndarray) -> dict:
    found = compute_prdc(real_features=real, fake_features=fake, nearest_k=5)
    return {key: float(found[key]) for key in ("density", "coverage")}


def scipy_values(real: pd.DataFrame) -> dict:
    both = real[["age", "pay"]].dropna()
    table = pd.crosstab(real["city"], real["smoker"])
    rng = np.random.default_rng(5)
    positive, negative = rng.normal(0.5, 1, 60).round(1), rng.normal(0, 1, 90).round(1)
    truth, score = np.r_[np.ones(60), np.zeros(90)], np.r_[positive, negative]
    return {
        "spearman": float(stats.spearmanr(both["age"], both["pay"]).statistic),
        "cramers_v": float(association(table.to_numpy(), method="cramer")),
        "fisher_greater": {
            "7,2,100,80": float(stats.fisher_exact([[7, 93], [2, 78]], alternative="greater").pvalue)
        },
        "binomial_greater": {"60,19": float(stats.binomtest(60, 79, 0.5, alternative="greater").pvalue)},
        "auc": {
            "positive": positive.tolist(),
            "negative": negative.tolist(),
            "value": float(roc_auc_score(truth, score)),
        },
        "clopper_pearson": {
            "7,700": list(proportion_confint(7, 700, method="beta")),
            "0,50": list(proportion_confint(0, 50, method="beta")),
        },
        "wilson": {"7,700": list(proportion_confint(7, 700, method="wilson"))},
        "newcombe": {
            "12,100,5,80": list(confint_proportions_2indep(12, 100, 5, 80, method="newcomb", compare="diff"))
        },
        "holm": {
            "p": [0.01, 0.04, 0.03, 0.2],
            "adjusted": multipletests([0.01, 0.04, 0.03, 0.2], method="holm")[1].tolist(),
        },
    }


def main() -> None:
    real, fake = draw(1, 400, 1.0), draw(2, 300, 0.0)
    rng = np.random.default_rng(3)
    cloud, other = rng.normal(size=(120, 3)).round(4), rng.normal(0.4, 1.3, size=(90, 3)).round(4)
    tables = {
        "real": plain(real),
        "fake": plain(fake),
        "cloud": cloud.tolist(),
        "other": other.tolist(),
    }
    packages = ("sdmetrics", "prdc", "scipy", "scikit-learn", "statsmodels", "pandas", "numpy")
    values = {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "sdmetrics": sdmetrics_values(real, fake),
        "prdc": prdc_values(cloud, other),
        "scipy": scipy_values(real),
    }
    (HERE / "tables.json").write_text(json.dumps(tables) + "\n")
    (HERE / "values.json").write_text(json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
