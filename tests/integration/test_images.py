"""Images through the jobs: one seed, one image whatever the workers; labelled files; a report that shows
them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from synthmill import api
from synthmill.catalog.images import export_images
from synthmill.catalog.store import Store, Version
from synthmill.config import ImageConfig
from synthmill.data import png
from synthmill.data.codecs.pixels import pixels_of
from synthmill.data.image_file import read_image


@pytest.fixture(scope="module")
def model(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A small `infogan` of digits, trained by two workers, in a store of its own."""
    recipe = {
        "name": "digits",
        "data": {"source": "sklearn://digits", "kind": "image", "target": "label"},
        "model": {"name": "infogan", "config": {"noise": 8, "channels": 8}},
        "training": {
            "max_steps": 40,
            "global_batch_rows": 64,
            "threads": 1,
            "workers": 2,
            "check_every_steps": 20,
        },
    }
    return api.train(recipe, store=str(tmp_path_factory.mktemp("store")))


def store_of(version: Version) -> str:
    return version.uri.rsplit("/models/", 1)[0]


def publish(model: Version, name: str, **options: object) -> Version:
    settings: dict[str, object] = {"rows": 5000, "seed": 7, "shard_rows": 2048, **options}
    return api.augment(model.ref, dataset=name, store=store_of(model), **settings)  # type: ignore[arg-type]


def test_any_number_of_workers_draws_the_same_images(model: Version) -> None:
    versions = [publish(model, "same", workers=workers, latent=("c1=0.5",)) for workers in (1, 3)]
    assert len({version.manifest.content_digest for version in versions}) == 1
    rows = pq.read_table(versions[0].uri.removeprefix("file://"))
    first = api.load(model.ref, store=store_of(model)).sample(100, seed=7, latent={"c1": 0.5})
    assert rows.slice(0, 100)["image"].equals(first["image"])
    assert not rows.slice(0, 100)["image"].equals(
        api.load(model.ref, store=store_of(model)).sample(100, seed=7)["image"]
    )


def test_published_images_are_files_that_say_what_they_are(model: Version, tmp_path: Path) -> None:
    version = publish(model, "threes", rows=60, where=("label=3",))
    report = json.loads(version.folder.read_bytes("_report.json"))
    assert report["inputs"]["asked"] == "label=3"
    assert report["inputs"]["train_rows"] < 200
    assert export_images(version, tmp_path) == 60
    files = sorted(tmp_path.rglob("*"))
    assert [file.name for file in files if file.is_dir()] == ["3"]
    packets = [png.xmp_of(file.read_bytes()) for file in files if file.is_file()]
    assert len(packets) == 60
    assert all(packet is not None and b"trainedAlgorithmicMedia" in packet for packet in packets)
    stored = pixels_of(pq.read_table(version.uri.removeprefix("file://")))
    assert np.array_equal(
        read_image((tmp_path / "3" / "000000007.png").read_bytes(), ImageConfig()), stored[7, 0]
    )


def test_samples_of_every_check_are_in_the_run_s_folder(model: Version) -> None:
    [run] = Store(store_of(model)).runs()
    folder = run.folder
    sheets = sorted(entry.path for entry in folder.list() if entry.path.startswith("samples/"))
    assert sheets == ["samples/latest.png", "samples/step-0000000020.png", "samples/step-0000000040.png"]
    page = read_image(folder.read_bytes("samples/latest.png"), ImageConfig())
    assert page is not None
    assert page.shape[1] == 10 * (8 + 2) + 2
    events = [entry.path for entry in folder.list() if entry.path.startswith("tensorboard/")]
    assert any(b"samples" in folder.read_bytes(path) for path in events)


def test_the_report_shows_samples_a_walk_and_neighbours(model: Version) -> None:
    publish(model, "told", rows=1500)
    done = api.evaluate_dataset("told", store=store_of(model), profile="quick", neighbours=True)
    assert set(done.report.images) == {"samples", "latent", "neighbours"}
    assert done.report.metrics["image.label_fidelity"].value is not None
    assert done.report.metrics["image.fd"].metric.startswith("image.fd@classifier-")
