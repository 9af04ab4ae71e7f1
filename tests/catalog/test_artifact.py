"""Model artifacts: everything back, nothing changed unnoticed, no pickle."""

import pytest
import torch

from synthmill.catalog.artifact import FILES, read_artifact, write_artifact
from synthmill.catalog.store import Store
from synthmill.errors import IntegrityError, MissingError, StorageError
from synthmill.storage.folder import Folder
from versions import ARTIFACT, publish_dataset, publish_model


def test_an_artifact_comes_back(every_store: str) -> None:
    version = publish_model(Store(every_store), "m")
    found = read_artifact(version)
    assert found.config == {"format": "synthmill.artifact/1", **ARTIFACT.config}
    assert (found.codec, found.card) == (ARTIFACT.codec, ARTIFACT.card)
    assert found.history == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    for one, other in [(found.weights, ARTIFACT.weights), (found.codec_tensors, ARTIFACT.codec_tensors)]:
        assert one.keys() == other.keys()
        assert all(
            torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in other
        )


def test_equal_artifacts_have_equal_bytes(tmp_path) -> None:
    turned = ARTIFACT.__class__(
        config=dict(reversed(ARTIFACT.config.items())),
        weights=dict(reversed(ARTIFACT.weights.items())),
        codec=ARTIFACT.codec,
        codec_tensors=ARTIFACT.codec_tensors,
        history=ARTIFACT.history,
        card=ARTIFACT.card,
    )
    assert write_artifact(Folder(tmp_path / "a"), ARTIFACT) == write_artifact(Folder(tmp_path / "b"), turned)


@pytest.mark.parametrize("path", FILES)
def test_a_changed_byte_is_refused_with_the_files_name(every_store: str, path: str) -> None:
    version = publish_model(Store(every_store), "m")
    data = bytearray(version.folder.read_bytes(path))
    data[len(data) // 2] ^= 1
    version.folder.write_bytes(path, bytes(data))
    with pytest.raises(IntegrityError, match=f"m/1/{path}: the bytes do not match"):
        read_artifact(version)


def test_a_missing_file_is_named(every_store: str) -> None:
    version = publish_model(Store(every_store), "m")
    version.folder.delete("codec.json")
    with pytest.raises(MissingError, match=r"m/1/codec\.json"):
        read_artifact(version)


def test_a_newer_artifact_is_refused(tmp_path) -> None:
    newer = ARTIFACT.__class__(config={"format": "synthmill.artifact/2"}, weights={}, codec={})
    with pytest.raises(StorageError, match=r"config\.json: has format 'synthmill\.artifact/2'"):
        write_artifact(Folder(tmp_path), newer)


def test_a_dataset_is_no_model(tmp_path) -> None:
    with pytest.raises(StorageError, match="not a model artifact"):
        read_artifact(publish_dataset(Store(tmp_path), "d"))
