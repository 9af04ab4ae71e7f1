"""Makes `tests/golden/images-1/`: small models of digits and a dataset of images as this version saves them.

Run once for each new format, into a folder of its own; what earlier versions saved is never made again, or
the test that it can still be read would prove nothing.

    PYTHONPATH=platform:tests .venv/bin/python tests/golden/make_images.py tests/golden/images-1
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from synthmill import api
from synthmill.catalog.manifest import Parent
from synthmill.catalog.provenance import labels
from synthmill.catalog.store import Store
from synthmill.config import Recipe, StorageConfig, parse_model
from synthmill.data.codecs.pixels import pixels_of
from synthmill.generation.compute import compute_class
from synthmill.generation.shards import ShardPlan
from synthmill.runtime.prepare import prepare
from synthmill.runtime.publish import publish
from synthmill.runtime.writers import Job, Part, write_part
from synthmill.training.artifact import fitted
from synthmill.training.fit import fit
from synthmill.training.parallel import Single
from synthmill.training.reporter import Silent

CONFIGS = {
    "mlp_gan": {"noise": 8, "generator_widths": [16], "discriminator_widths": [16]},
    "dcgan": {"noise": 8, "channels": 4},
    "wgan_gp": {"noise": 8, "channels": 4},
    "infogan": {"noise": 8, "channels": 4},
    "progressive_gan": {"noise": 8, "channels": 4, "most_channels": 8},
    "style_gan": {"noise": 8, "mapping_layers": 2, "channels": 4, "most_channels": 8},
    "vae": {"latent": 4, "channels": 4, "hidden": 16},
    "beta_vae": {"latent": 4, "channels": 4, "hidden": 16},
    "vq_vae": {
        "codes": 8,
        "code_width": 4,
        "channels": 8,
        "prior_width": 16,
        "prior_layers": 1,
        "prior_heads": 2,
    },
}
SAMPLE_ROWS, SEED = 20, 7


def main(target: Path) -> None:
    """Train, sample, publish, and keep all of it but heartbeats and runs."""
    target = target.absolute()
    target.mkdir()
    os.chdir(tempfile.mkdtemp(prefix="golden-"))
    samples, classes = {}, {}
    for name, config in CONFIGS.items():
        training = {"seed": 0, "max_steps": 60, "global_batch_rows": 64, "threads": 1, "precision": "fp32"}
        data = {"source": "sklearn://digits", "kind": "image", "target": "label"}
        recipe = {
            "name": name.replace("_", "-"),
            "data": data,
            "model": {"name": name, "config": config},
            "training": training,
        }
        trained(parse_model(Recipe, recipe))
        generator = api.load(recipe["name"], store="store").generator
        classes[name] = compute_class(generator.sampler)
        rows = generator.sample(SAMPLE_ROWS, seed=SEED)
        samples[name], samples[f"{name}-label"] = pixels_of(rows), rows["label"].to_numpy()
    np.savez_compressed(target / "samples.npz", **samples)
    published("vae")
    for kind in ("models", "datasets"):
        kept = shutil.ignore_patterns("_heartbeat.*", "_report.html", "report.html")
        shutil.copytree(Path("store") / kind, target / "store" / kind, ignore=kept)
    expected = {"compute_class": classes, "rows": SAMPLE_ROWS, "seed": SEED}
    (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def trained(recipe: Recipe) -> None:
    """What `api.train` does, in this process: the driver's steps and a worker's."""
    job = prepare(recipe, "store")
    tables = job.rows.tables
    outcome = fit(
        job.recipe, tables.train, tables.validation, job.rows.codec, parallel=Single(), reporter=Silent()
    )
    publish(job, fitted(outcome), run_id="golden")


def published(model: str) -> None:
    """What `api.augment` does, in this process: 120 images in three parts, none of a 3."""
    store = Store("store")
    generator = api.load(model, store="store").generator
    plan = ShardPlan(rows=120, seed=SEED, shard_rows=50, where=("label!=3",))
    job = Job({}, "store", StorageConfig(), generator.ref, generator.digest, plan, mixed=False)
    with store.begin("datasets", "pictures", run_key="golden", run_id="golden") as draft:
        here = compute_class(generator.sampler)
        files = tuple(
            write_part(job, Part(shard.index, None), draft.folder, draft.run_key, here)
            for shard in plan.shards()
        )
        parents = (Parent(kind="model", ref=generator.ref, digest=generator.digest),)
        told = {
            "parents": parents,
            "seed": SEED,
            "compute_class": here,
            "labels": labels(run_key=draft.run_key, mixed=False),
        }
        draft.commit(draft.manifest(files=files, schema=generator.schema, **told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
