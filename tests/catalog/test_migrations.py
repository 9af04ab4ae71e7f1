"""Weights that earlier versions did not save are filled in, and no others."""

import pytest
import torch

from image_models import layout
from synthmill.catalog.migrations import MISSING, migrate
from synthmill.models.base import build

OLD = {
    "style_gan": {"mapping.class_size"},
    "vae": {"prior_mean_KL", "prior_factor_KLL"},
    "beta_vae": {"prior_mean_KL", "prior_factor_KLL"},
    "vq_vae": {"prior.given.weight"},
}


@pytest.mark.parametrize("name", sorted(OLD))
def test_an_old_artifact_loads_and_behaves_as_it_did(name: str) -> None:
    model = build(name, {}, layout())
    initial = model.state_dict()
    assert OLD[name] <= set(initial), "the table names a weight that the model does not have"
    saved = {key: value for key, value in initial.items() if key not in OLD[name]}
    model.load_state_dict(migrate(name, saved, initial))
    now = model.state_dict()
    expected = {
        "mapping.class_size": torch.tensor(1.0),
        "prior.given.weight": torch.zeros_like(now.get("prior.given.weight", torch.zeros(()))),
    }
    for key in OLD[name]:
        assert torch.equal(now[key], expected.get(key, initial[key]))


def test_the_table_is_tested_whole() -> None:
    assert {(name, key) for name, keys in OLD.items() for key in keys} == set(MISSING)


def test_what_is_missing_for_another_reason_stays_missing() -> None:
    model = build("vae", {}, layout())
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("decoder")}
    assert not [key for key in migrate("vae", weights, model.state_dict()) if key.startswith("decoder")]


def test_saved_weights_are_never_replaced() -> None:
    model = build("style_gan", {}, layout())
    saved = {**model.state_dict(), "mapping.class_size": torch.tensor(7.0)}
    assert float(migrate("style_gan", saved, model.state_dict())["mapping.class_size"]) == 7.0
