import pytest
import torch

from encoded import Records, agreement, layout, settings, table
from synthmill.data.batch import Condition
from synthmill.data.layout import MixedLayout
from synthmill.errors import RecipeError
from synthmill.models.base import GenerativeModel, build, parse_config
from synthmill.models.ctgan import Ctgan
from synthmill.training.loop import train
from synthmill.training.parallel import Single

SMALL = {
    "embedding_dim": 8,
    "generator_dim": [64],
    "discriminator_dim": [64],
    "pac": 2,
    "generator_lr": 2e-3,
    "discriminator_lr": 2e-3,
}


@pytest.fixture(scope="module")
def trained() -> GenerativeModel:
    torch.manual_seed(0)
    outcome = train(
        build("ctgan", SMALL, layout()),
        table(),
        settings(max_epochs=12),
        parallel=Single(),
        reporter=Records(),
    )
    model = build("ctgan", SMALL, layout())
    model.load_state_dict(outcome.state_dict)
    return model.eval()


def sampled(model: GenerativeModel, condition: Condition | None = None) -> object:
    with torch.inference_mode():
        return model.sample(4000, condition=condition, generator=torch.Generator().manual_seed(1))


def test_learns_that_columns_depend(trained: GenerativeModel) -> None:
    rows = sampled(trained)
    assert agreement(rows) > 0.8  # type: ignore[arg-type]
    segments, values = rows["codes"][:, 2], rows["values"][:, 0]  # type: ignore[index]
    assert values[segments == 5].abs().max() == 0
    assert values[segments < 5].abs().max() <= 1


def test_a_condition_holds_in_every_row_and_shifts_the_others(trained: GenerativeModel) -> None:
    rows = sampled(trained, Condition(codes={1: 1}))
    assert set(rows["codes"][:, 1].tolist()) == {1}  # type: ignore[index]
    assert float((rows["codes"][:, 0] == 1).float().mean()) > 0.7, (
        "a = 1 in 0.3 of all rows, 0.93 where b = 1"
    )  # type: ignore[index]


def test_unconditional_rows_have_the_original_frequencies_not_the_logarithmic(
    trained: GenerativeModel,
) -> None:
    assert isinstance(trained, Ctgan)
    frequency_C = trained.frequency_C
    counts = torch.bincount(table()["codes"][:, 0], minlength=3) / 2000
    assert torch.allclose(frequency_C[trained.given.columns_of(0)], counts, atol=1e-3)
    with torch.inference_mode():
        drawn_B1 = trained._draw(frequency_C, torch.rand(20_000, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(drawn_B1[:, 0], minlength=trained.given.width)[trained.given.columns_of(0)]
    assert torch.allclose(shares / shares.sum(), counts, atol=0.02)


def test_condition_bits_are_those_of_the_asked_column() -> None:
    model = build("ctgan", SMALL, layout())
    assert isinstance(model, Ctgan)
    assert model._fixed({1: 2}).item() == model.given.columns_of(1).start + 2
    assert model._fixed({0: 1}).item() == model.given.columns_of(0).start + 1


def test_tables_without_categories_or_without_numbers_train() -> None:
    whole, data = layout(), table(200)
    only_numbers = MixedLayout(
        discrete=whole.discrete[2:], numeric=(whole.numeric[0].model_copy(update={"discrete": 0}),), rows=200
    )
    only_codes = MixedLayout(discrete=whole.discrete[:2], numeric=(), rows=200)
    cases = (
        (only_numbers, data.with_(codes=data["codes"][:, 2:])),
        (only_codes, data.with_(codes=data["codes"][:, :2], values=data["values"][:, :0])),
    )
    for shape, rows in cases:
        outcome = train(
            build("ctgan", SMALL, shape), rows, settings(max_epochs=1), parallel=Single(), reporter=Records()
        )
        assert all(bool(tensor.isfinite().all()) for tensor in outcome.state_dict.values())


def test_a_critic_without_hidden_layers_is_a_mistake_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"^model\.config\.discriminator_dim: "):
        parse_config("ctgan", {"discriminator_dim": []})
