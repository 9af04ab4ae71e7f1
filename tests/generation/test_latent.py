"""Latent codes that can be set when sampling."""

import pytest
import torch

from image_cases import layout
from synthmill.data.codecs.pixels import PixelCodec, pixels_of
from synthmill.errors import ConditionError
from synthmill.generation.generator import Generator
from synthmill.models.base import build


def generator(name: str = "infogan", classes: int = 2, **config: object) -> Generator:
    torch.manual_seed(0)
    model = build(name, {"noise": 4, "channels": 4, **config}, layout(classes=classes)).eval()
    return Generator(model, PixelCodec(layout(classes=classes), tuple(range(classes))), "m@1", "", {})


def test_a_code_changes_the_image_and_nothing_else() -> None:
    made = generator()
    free, low, high = (made.sample(50, seed=1, latent=latent) for latent in (None, {"c1": -1.0}, {"c1": 1.0}))
    assert low["label"].equals(high["label"])
    assert low["label"].equals(free["label"])
    assert (pixels_of(low) != pixels_of(high)).any()
    assert made.sample(50, seed=1, latent={"c1": -1.0}).equals(low)
    assert set(made.sample(50, seed=1, latent={"c2": 0.0}, where="label=1")["label"].to_pylist()) == {1}


def test_without_classes_the_category_can_be_set() -> None:
    made = generator(classes=0, categories=3)
    zero, one = (
        pixels_of(made.sample(20, seed=1, latent={"category": value, "c1": 0.0, "c2": 0.0}))
        for value in (0, 1)
    )
    assert (zero != one).any()
    with pytest.raises(ConditionError, match="category is a whole number from 0 to 2"):
        made.sample(20, seed=1, latent={"category": 3})


def test_unknown_codes_and_texts_are_refused() -> None:
    with pytest.raises(ConditionError, match=r"--latent: no latent code named 'c9'.*there is c1, c2"):
        generator().sample(5, seed=1, latent={"c9": 0.0})
    with pytest.raises(ConditionError, match="this model has none"):
        generator("dcgan").sample(5, seed=1, latent={"c1": 0.0})
    with pytest.raises(ConditionError, match="c1 is a number from -2 to 2"):
        generator().sample(5, seed=1, latent={"c1": 2.5})
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ConditionError, match="sets no code; write NAME=NUMBER"):
            generator().sample(5, seed=1, latent={"c1": wrong})
