"""Where searches begin: chosen greedily beside the default, and every shipped point is one of its space."""

import json
from importlib import resources

import pytest

from synthmill.tuning.portfolio import FILE, choose, shipped
from synthmill.tuning.space import MODEL
from tuning_cases import space_of

CONTENT = json.loads((resources.files("synthmill") / "tuning" / FILE).read_text("utf-8"))


def test_what_the_default_has_already_is_no_gain() -> None:
    first = {"default": 0.9, "good here": 0.8, "good there": 0.1}
    second = {"default": 0.1, "good here": 0.3, "good there": 0.7}
    assert choose([first, second], 1, given="default") == ["good there"]


def test_the_first_complement_each_other_and_the_rest_are_good_everywhere() -> None:
    first = {"default": 0.0, "a": 0.9, "b": 0.2, "c": 0.8, "d": 0.1}
    second = {"default": 0.0, "a": 0.1, "b": 0.9, "c": 0.5, "d": 0.1}
    # c is best alone, then b; a adds the last tenth, and d nothing.
    assert choose([first, second], 4, given="default") == ["c", "b", "a", "d"]
    # A table that lacks a score is no reason to choose what it lacks.
    assert choose([first, {"default": 0.0, "d": 0.2}], 1, given="default") == ["a"]


@pytest.mark.parametrize("family", sorted(CONTENT["models"]))
def test_the_portfolio_holds_points_of_what_the_model_declares(family: str) -> None:
    space = space_of(model={"name": family})
    configs = CONTENT["models"][family]
    assert [first.point for first in shipped(space)] == [{MODEL: family, **config} for config in configs]
    assert 4 <= len(configs) <= 8
    # What the gain of a search is measured on had no part in it.
    assert CONTENT["origin"][family]["tables"]
    assert not any("adult" in table for table in CONTENT["origin"][family]["tables"])
