"""What earlier versions saved of images can still be read: models sample, datasets verify."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from made_on import is_same_class
from synthmill import api, registry
from synthmill.catalog import admin
from synthmill.catalog.dataset import read_dataset
from synthmill.catalog.store import Store
from synthmill.data import png
from synthmill.data.codecs.pixels import pixels_of
from synthmill.generation.compute import compute_class
from synthmill.models.base import model_class

FOLDERS = sorted((Path(__file__).parents[1] / "golden").glob("images-*"))
MODELS = [name for name in registry.names("models") if "image" in model_class(name).modalities]


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, because a store may be written to."""
    return Path(shutil.copytree(request.param, tmp_path / "golden"))


def test_there_is_one() -> None:
    assert FOLDERS


@pytest.mark.parametrize("name", MODELS)
def test_a_model_samples_what_it_did(golden: Path, name: str) -> None:
    expected = json.loads((golden / "expected.json").read_text())
    generator = api.load(name.replace("_", "-"), store=str(golden / "store")).generator
    rows = generator.sample(expected["rows"], seed=expected["seed"])
    samples = np.load(golden / "samples.npz")
    pixels = pixels_of(rows)
    assert pixels.shape == samples[name].shape
    if is_same_class(compute_class(generator.sampler), expected["compute_class"][name]):
        assert np.array_equal(rows["label"].to_numpy(), samples[f"{name}-label"])
        assert np.array_equal(pixels, samples[name])


def test_the_dataset_is_intact_and_its_images_are_labelled(golden: Path) -> None:
    version = Store(str(golden / "store")).resolve("datasets", "pictures", field="dataset")
    assert admin.verify(version.uri) == []
    rows = read_dataset(version)
    assert rows.num_rows == 120
    assert 3 not in rows["label"].to_pylist()
    assert all(png.xmp_of(cell["bytes"]) is not None for cell in rows["image"].to_pylist())
    part = Path(version.uri.removeprefix("file://")) / "part-00000.parquet"
    features = json.loads(pq.read_schema(part).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
