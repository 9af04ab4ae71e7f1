"""Makes `tests/golden/tables-1/`: small models, a dataset and its report as this version saves them.

Run once for each new format, into a folder of its own; what earlier versions saved is never made again, or
the test that it can still be read would prove nothing.

    PYTHONPATH=platform:tests .venv/bin/python tests/golden/make_tables.py tests/golden/tables-1
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from customers import write_customers
from synthmill import api
from synthmill.generation.compute import compute_class
from synthmill.runtime import cluster
from synthmill.runtime import fit as job
from synthmill.runtime.prepare import Prepared
from synthmill.storage.folder import Folder
from synthmill.training.artifact import Fitted, fitted
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.fit import fit
from synthmill.training.parallel import Single
from synthmill.training.reporter import Silent

CONFIGS = {
    "tvae": {"embedding_dim": 8, "compress_dims": [32], "decompress_dims": [32]},
    "ctgan": {"embedding_dim": 16, "generator_dim": [32], "discriminator_dim": [32]},
    "marginals": {},
    "bootstrap": {},
}
SAMPLE_ROWS, SEED = 300, 7


def main(target: Path) -> None:
    """Train, sample, publish, evaluate, and keep all of it but heartbeats and runs."""
    target = target.absolute()
    target.mkdir()
    os.chdir(tempfile.mkdtemp(prefix="golden-"))
    write_customers(Path("customers.csv"), rows=400)
    job.fit = fit_here
    with cluster.session():
        classes = make(target)
    expected = {"compute_class": classes, "rows": SAMPLE_ROWS, "seed": SEED}
    (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def make(target: Path) -> dict[str, str]:
    """Everything but `expected.json`; returns the compute class of each model."""
    classes = {}
    for name, config in CONFIGS.items():
        training = {"seed": 0, "max_steps": 40, "global_batch_rows": 100, "threads": 1, "precision": "fp32"}
        data = {"source": "customers.csv", "target": "churned"}
        api.train(
            {"name": name, "data": data, "model": {"name": name, "config": config}, "training": training},
            store="store",
        )
        generator = api.load(name, store="store").generator
        classes[name] = compute_class(generator.sampler)
        (target / "samples").mkdir(exist_ok=True)
        pq.write_table(
            plain(generator.sample(SAMPLE_ROWS, seed=SEED)), target / "samples" / f"{name}.parquet"
        )
    api.augment(
        "tvae", rows=500, seed=SEED, dataset="plain", store="store", shard_rows=200, where=("age>=30",)
    )
    api.augment("tvae", rows=200, seed=SEED, dataset="mixed", store="store", balance="churned", mix_real=True)
    api.evaluate_dataset("plain", store="store", profile="quick")
    for kind in ("models", "datasets", "reports"):
        shutil.copytree(
            Path("store") / kind,
            target / "store" / kind,
            ignore=shutil.ignore_patterns("_heartbeat.*", "_report.html"),
        )
    return classes


def fit_here(prepared: Prepared, folder: Folder, _: object) -> Fitted:
    """In place of Ray's workers, which would take minutes and save the same."""
    tables = prepared.rows.tables
    outcome = fit(
        prepared.recipe,
        tables.train,
        tables.validation,
        prepared.rows.codec,
        parallel=Single(),
        reporter=Silent(),
        checkpoints=Checkpoints(folder.child("checkpoints")),
    )
    return fitted(outcome)


def plain(table: pa.Table) -> pa.Table:
    """The table without metadata."""
    return table.replace_schema_metadata(None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
