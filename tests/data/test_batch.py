"""Batches of one and of several kinds of data, and conditions on them."""

import pytest
import torch

from synthmill.data.batch import Batch, Condition, concat, join


def test_parts_of_a_batch_come_back_as_they_went_in() -> None:
    image = Batch(pixels=torch.zeros(3, 1, 2, 2), label=torch.arange(3))
    text = Batch(tokens=torch.ones(3, 4, dtype=torch.int64))
    both = join({"image": image, "text": text})
    assert sorted(both) == ["image.label", "image.pixels", "text.tokens"]
    assert torch.equal(both.part("image")["label"], image["label"])
    assert dict(both.take(slice(1, 2)).part("text"))["tokens"].shape == (1, 4)
    assert concat([both, both]).num_rows == 6


def test_parts_of_different_length_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="differ in rows"):
        join({"a": Batch(label=torch.arange(2)), "b": Batch(label=torch.arange(3))})
    with pytest.raises(AssertionError, match="unknown batch keys"):
        Batch(**{"image.colour": torch.zeros(1)})


def test_conditions_are_merged_and_the_later_counts() -> None:
    first = Condition(codes={0: 1, 1: 2}, latent={"c1": 0.5})
    both = first.merge(Condition(codes={1: 3}, label=4, parts={"text": Condition(label=1)}))
    assert both == Condition(
        codes={0: 1, 1: 3}, label=4, latent={"c1": 0.5}, parts={"text": Condition(label=1)}
    )
