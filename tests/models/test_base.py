"""Names of hyper-parameters: one thing has one name, and earlier names are still understood."""

import pytest

from synthmill import registry
from synthmill.errors import RecipeError
from synthmill.models.base import EARLIER_NAMES, model_class, parse_config

FIELDS = {name: set(model_class(name).Config.model_fields) for name in registry.names("models")}
OLD = [
    (model, old, new)
    for model, fields in FIELDS.items()
    for old, new in EARLIER_NAMES.items()
    if new in fields and old not in fields
]


def test_every_earlier_name_leads_somewhere() -> None:
    assert {old for _, old, _ in OLD} == set(EARLIER_NAMES)


@pytest.mark.parametrize(("model", "old", "new"), OLD)
def test_an_earlier_name_sets_the_field(model: str, old: str, new: str) -> None:
    default = getattr(parse_config(model, {}), new)
    other = (default / 2 or 0.25) if isinstance(default, float) else default * 2
    assert getattr(parse_config(model, {old: other}), new) == other


def test_both_names_at_once_are_a_mistake() -> None:
    with pytest.raises(RecipeError, match=r"model\.config\.latent_dim: is given twice, as 'noise' too"):
        parse_config("dcgan", {"latent_dim": 8, "noise": 16})


def test_an_unknown_name_is_told_as_it_was_written() -> None:
    with pytest.raises(RecipeError, match=r"model\.config\.nose: unknown key"):
        parse_config("dcgan", {"nose": 8})
