"""The peers' side of tabular.py, conditional.py and low_data.py: TabularARGN (mostlyai-engine),
ForestDiffusion, adversarial random forests (arfpy) and SMOTE (imbalanced-learn) through their public
interfaces, with their default settings, in an environment of their own.

Called by harness.py as `python peer_tables.py TASK.json RESULT.json`; imports nothing of ours. A task says
what tabular_ours.py's says.
"""

import json
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MISSING = "?"


class TabularARGN:
    """Takes missing cells, dates and any strings."""

    package = "mostlyai-engine"
    completes = True

    def __init__(self, task: dict[str, Any]) -> None:
        from mostlyai.engine import TabularARGN as Engine

        self.folder = tempfile.TemporaryDirectory()
        self.model = Engine(
            device="cpu", random_state=task["seed"], workspace_dir=self.folder.name, **task.get("config", {})
        )

    def fit(self, rows: pd.DataFrame, target: str | None) -> None:
        self.model.fit(rows)

    def sample(self, num_rows: int) -> pa.Table:
        return pa.Table.from_pandas(self.model.sample(n_samples=num_rows), preserve_index=False)

    def complete(self, given: pd.DataFrame) -> pd.DataFrame:
        return self.model.sample(seed_data=given)

    def impute(self, rows: pd.DataFrame) -> pd.DataFrame:
        return self.model.impute(rows)


class Plain:
    """What the others share: missing categories become one, and numbers that are missing are refused where
    the peer takes none."""

    completes = False
    missing_numbers = False

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        self.columns = rows.columns
        self.discrete = [name for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])]
        rows = rows.copy()
        for name in self.discrete:
            rows[name] = rows[name].astype(object).where(rows[name].notna(), MISSING).astype(str)
        if not self.missing_numbers and rows.isna().any().any():
            sys.exit("missing numbers: the peer takes none")
        return rows

    def back(self, rows: pd.DataFrame) -> pa.Table:
        rows = rows[self.columns].copy()
        for name in self.discrete:
            rows[name] = rows[name].astype(object).where(rows[name] != MISSING, None)
        return pa.Table.from_pandas(rows, preserve_index=False)


class ForestDiffusion(Plain):
    """Gradient-boosted trees for every noise level and column; categories are given as codes."""

    package = "ForestDiffusion"
    missing_numbers = True

    def __init__(self, task: dict[str, Any]) -> None:
        from ForestDiffusion import ForestDiffusionModel

        self.kind, self.seed = ForestDiffusionModel, task["seed"]

    def fit(self, rows: pd.DataFrame, target: str | None) -> None:
        rows = self.table(rows)
        self.levels = {name: np.unique(rows[name]) for name in self.discrete}
        codes = rows.assign(
            **{name: np.searchsorted(levels, rows[name]) for name, levels in self.levels.items()}
        ).astype(float)
        places = [list(rows.columns).index(name) for name in self.discrete]
        two = [place for place in places if len(self.levels[rows.columns[place]]) <= 2]
        whole = [
            place
            for place, name in enumerate(rows.columns)
            if name not in self.levels and (rows[name].dropna() % 1 == 0).all()
        ]
        self.model = self.kind(
            codes.to_numpy(),
            bin_indexes=two,
            cat_indexes=[place for place in places if place not in two],
            int_indexes=whole,
            n_jobs=1,
            seed=self.seed,
        )

    def sample(self, num_rows: int) -> pa.Table:
        made = pd.DataFrame(self.model.generate(batch_size=num_rows), columns=self.columns)
        for name, levels in self.levels.items():
            made[name] = levels[made[name].round().clip(0, len(levels) - 1).astype(int)]
        return self.back(made)


class Arf(Plain):
    """Adversarial random forests."""

    package = "arfpy"

    def __init__(self, task: dict[str, Any]) -> None:
        from arfpy import arf

        self.kind, self.seed = arf.arf, task["seed"]

    def fit(self, rows: pd.DataFrame, target: str | None) -> None:
        rows = self.table(rows)
        for name in self.discrete:
            rows[name] = rows[name].astype("category")
        self.model = self.kind(x=rows, random_state=self.seed)
        self.model.forde()

    def sample(self, num_rows: int) -> pa.Table:
        return self.back(self.model.forge(n=num_rows))


PEERS = {"tabularargn": TabularARGN, "forest_diffusion": ForestDiffusion, "arf": Arf}


def smote(task: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    """Rows of the rarer class between neighbours of it, until there are as many of each."""
    from imblearn.over_sampling import SMOTE, SMOTENC

    plain = Plain()
    rows, target = plain.table(rows), task["target"]
    features, answers = rows.drop(columns=target), rows[target].astype(str)
    discrete = [name for name in plain.discrete if name != target]
    neighbours = min(5, answers.value_counts().min() - 1)
    given = {"k_neighbors": neighbours, "random_state": task["seed"]}
    kind = SMOTENC(categorical_features=discrete, **given) if discrete else SMOTE(**given)
    more, labels = kind.fit_resample(features, answers)
    made = more.assign(**{target: labels}).iloc[len(rows) :]
    pq.write_table(plain.back(made), task["synthetic"])
    return {"version": f"imbalanced-learn {version('imbalanced-learn')}", "rows": len(made)}


def run(task: dict[str, Any]) -> dict[str, Any]:
    rows = pd.read_parquet(task["train"])
    if task["model"] == "smote":
        return smote(task, rows)
    # It imports its package here: imports are no part of a fit, as on our side.
    peer = PEERS[task["model"]](task)
    passed, used = time.perf_counter(), cpu_seconds()
    peer.fit(rows, task.get("target"))
    passed, used = time.perf_counter() - passed, cpu_seconds() - used
    found: dict[str, Any] = {
        "fit_seconds": passed,
        "fit_cpu_seconds": used,
        "fit_peak_mib": peak_mib(),
        "version": f"{peer.package} {version(peer.package)}",
    }
    if task.get("rows"):
        peer.sample(64)
        passed, used = time.perf_counter(), cpu_seconds()
        made = peer.sample(task["rows"])
        passed, used = time.perf_counter() - passed, cpu_seconds() - used
        found |= {"rows_per_second": made.num_rows / passed, "rows_per_cpu_second": made.num_rows / used}
        pq.write_table(made, task["synthetic"])
    for name in ("complete", "impute"):
        for given, wanted in task.get(name, []):
            used = cpu_seconds()
            rows = getattr(peer, name)(pd.read_parquet(given))
            found.setdefault(f"{name}_cpu_seconds", []).append(cpu_seconds() - used)
            rows.to_parquet(wanted)
    return {**found, "peak_mib": peak_mib()}


def cpu_seconds() -> float:
    """CPU time of all threads of this process and of those it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_mib() -> float:
    """The most memory that this process or one of its children has had."""
    return (
        max(
            used.ru_maxrss
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        / 1024
    )


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(run(task)))


if __name__ == "__main__":
    main()
