from typing import Any

import pytest

from synthmill.errors import ConditionError, UserError
from synthmill.serving.config import Limits
from synthmill.serving.media.image import ImagesRequest, check_request, clause_of

LETTERS = ["A", "B", "a", "b", "Dog", "10"]


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        ("A", "A"),
        ("a", "a"),
        ("label=A", "A"),
        ("LABEL= b ", "b"),
        ("dog", "Dog"),
        ("label=DOG", "Dog"),
        ("the letter B", "B"),
        ("the letter b", "b"),
        ("a dOg", None),
        ("one dOg", "Dog"),
        ("number 10!", "10"),
        ("number 100", None),
        ("b or B", None),
        ("dog and B", None),
    ],
)
def test_a_prompt_names_one_class(prompt: str, label: str | None):
    if label is not None:
        assert clause_of(prompt, LETTERS) == (f"label={label}",)
        return
    with pytest.raises(ConditionError, match=r"prompt: .* names (several labels: |no label)"):
        clause_of(prompt, LETTERS)


def test_a_name_that_stands_for_several_labels_names_them():
    with pytest.raises(ConditionError, match=r"prompt: 'label=CAT' names several labels: Cat, cat$"):
        clause_of("label=CAT", ["Cat", "cat", "dog"])
    assert clause_of("cat", ["Cat", "cat", "dog"]) == ("label=cat",)


def test_any_class():
    assert clause_of(" any ", LETTERS) == clause_of("", []) == ()
    with pytest.raises(ConditionError, match="prompt: this model knows no labels"):
        clause_of("7", [])


LIMITS = Limits(max_images=8, max_pixels=4 * 100 * 100)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"n": 9}, "n"),
        ({"n": 5, "size": "100x100"}, "size"),
        ({"n": 1, "size": "201x200"}, "size"),
        ({"n": 1, "size": "2049x1"}, "size"),
        ({"response_format": "url"}, "response_format"),
    ],
)
def test_a_request_has_a_budget(wanted: dict[str, Any], field: str):
    with pytest.raises(UserError) as caught:
        check_request(ImagesRequest(model="digits", **wanted), LIMITS)
    assert caught.value.field == field


def test_what_fits_the_budget_is_taken():
    assert check_request(ImagesRequest(model="digits", n=4, size="100x100"), LIMITS) == (4, (100, 100))
    assert check_request(ImagesRequest(model="digits", n=8, size="auto"), LIMITS) == (8, None)
    assert check_request(ImagesRequest(model="digits", n=None), LIMITS) == (1, None)
