"""What turns images into features."""

from pathlib import Path

import numpy as np
import pytest
import torch

from image_evidence import extractor, sides
from synthmill.errors import RecipeError
from synthmill.metrics.lib.classifier import accuracy
from synthmill.metrics.lib.extractor import ClassifierExtractor, make_extractor


def test_training_images_have_total_variance_one() -> None:
    train = sides()[0]
    for found in (extractor(), make_extractor("random", train.pixels, None, 0, seed=0)):
        assert float(found(train.pixels).astype(np.float64).var(0).sum()) == pytest.approx(1.0, rel=1e-3)


def test_the_classifier_is_good_and_always_the_same() -> None:
    train, holdout, _ = sides()
    assert isinstance(extractor(), ClassifierExtractor)
    right, count = accuracy(extractor().classifier, holdout.pixels, holdout.labels)  # type: ignore[attr-defined, arg-type]
    assert right / count > 0.93
    state = torch.get_rng_state()
    assert make_extractor("classifier", train.pixels, train.labels, 10, seed=0).name == extractor().name
    assert torch.equal(state, torch.get_rng_state()), "the caller's random numbers are left alone"
    assert make_extractor("classifier", train.pixels, train.labels, 10, seed=1).name != extractor().name


def test_without_classes_features_are_random_and_need_no_training() -> None:
    train = sides()[0]
    first, again = (make_extractor("auto", train.pixels, None, 0, seed=seed) for seed in (0, 1))
    assert first.name.startswith("random-")
    assert first.name == again.name
    with pytest.raises(RecipeError, match="needs images of at least two classes"):
        make_extractor("classifier", train.pixels, None, 0, seed=0)


class Halves(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, ::2]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_file_of_the_user(tmp_path: Path) -> None:
    train = sides()[0]
    path = tmp_path / "features.pt"
    torch.jit.trace(Halves(), torch.zeros(2, 1, 8, 8)).save(str(path))
    found = make_extractor(f"torchscript:{path}", train.pixels, None, 0, seed=0)
    assert found.name.startswith("torchscript-")
    assert found(train.pixels).shape == (len(train), 32)
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(RecipeError, match=r"junk\.pt does not turn these images into features"):
        make_extractor(f"torchscript:{tmp_path / 'junk.pt'}", train.pixels, None, 0, seed=0)
    with pytest.raises(RecipeError, match="no file at"):
        make_extractor("torchscript:nowhere.pt", train.pixels, None, 0, seed=0)
    with pytest.raises(RecipeError, match="must be auto, classifier, random or torchscript:PATH"):
        make_extractor("inception", train.pixels, None, 0, seed=0)
