import pytest
import torch
from torch import nn

from encoded import layout
from synthmill.models.base import Adam, Phase, Stage, build
from synthmill.training.ema import Ema
from synthmill.training.optim import PhaseOptimizer, distinct, flatten, optimizers_of
from synthmill.training.parallel import Single


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.left_out = nn.Linear(3, 5), nn.Linear(3, 2)


def phase(**settings: object) -> Phase:
    return Phase(name="p", modules=("left",), optimizer=Adam(learning_rate=0.1, **settings))  # type: ignore[arg-type]


def test_flattening_changes_no_value_and_no_name() -> None:
    plain, moved = Two(), Two()
    flat = flatten(moved)
    assert plain.state_dict().keys() == moved.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, moved.state_dict()[name])
    flat.zero_()
    assert all(not bool(value.any()) for value in moved.state_dict().values()), (
        "the parameters live in the flat tensor"
    )


def test_a_step_is_adam_s_and_moves_only_the_phase_s_modules() -> None:
    model, reference = Two(), Two()
    optimizer = PhaseOptimizer(model, phase(weight_decay=0.01))
    adam = torch.optim.AdamW(reference.left.parameters(), lr=0.05, weight_decay=0.01)
    for _ in range(3):
        for net, forget in ((model, optimizer.forget_gradients), (reference, adam.zero_grad)):
            forget()
            net.left(torch.ones(4, 3)).square().sum().backward()
        optimizer.step(0.5, Single())
        adam.step()
    assert torch.allclose(model.left.weight, reference.left.weight, atol=1e-6)
    assert torch.equal(model.left_out.weight, Two().left_out.weight), "a prefix of the name is not the module"


def test_gradients_are_clipped_to_the_norm_of_the_phase() -> None:
    model = Two()
    optimizer = PhaseOptimizer(model, phase(clip_norm=0.5))
    (1000 * model.left(torch.ones(4, 3))).sum().backward()
    optimizer.step(1.0, Single())
    norm = torch.cat(
        [parameter.grad.flatten() for parameter in optimizer.parameters if parameter.grad is not None]
    ).norm()
    assert float(norm) == pytest.approx(0.5, abs=1e-4)


def test_a_parameter_without_a_gradient_counts_as_zeros() -> None:
    model = Two()
    optimizer = PhaseOptimizer(model, phase())
    model.left(torch.ones(4, 3)).sum().backward()
    optimizer.step(1.0, Single())
    moved = model.left.bias.clone()
    optimizer.forget_gradients()
    optimizer.step(1.0, Single())
    assert not torch.equal(model.left.bias, moved), (
        "momentum goes on, as it does where another rank has a gradient"
    )


def test_state_has_plain_names_and_restores() -> None:
    model = Two()
    optimizer = PhaseOptimizer(model, phase())
    model.left(torch.ones(4, 3)).sum().backward()
    optimizer.step(1.0, Single())
    state = {name: value.clone() for name, value in optimizer.state().items()}
    assert set(state) == {
        "steps",
        "mean.left.weight",
        "mean.left.bias",
        "square.left.weight",
        "square.left.bias",
    }
    other = Two()
    other.load_state_dict(model.state_dict())
    again = PhaseOptimizer(other, phase())
    again.load(state)
    for net, its in ((model, optimizer), (other, again)):
        its.forget_gradients()
        net.left(torch.full((4, 3), 2.0)).square().sum().backward()
        its.step(1.0, Single())
    assert torch.equal(model.left.weight, other.left.weight)


def test_the_average_follows_from_the_first_step_and_lags() -> None:
    torch.manual_seed(0)
    model = build("tvae", {"embedding_dim": 2, "compress_dims": [4], "decompress_dims": [4]}, layout())
    average = Ema(model)
    weights = flatten(model)
    start = model.decoder.out.bias.clone()  # type: ignore[union-attr]
    weights += 1.0
    average.update(weights, 1)
    first = average.model.decoder.out.bias - start  # type: ignore[union-attr]
    assert torch.allclose(first, torch.full_like(first, 9 / 11)), "1 - (1 + 1) / (10 + 1)"
    for step in range(2, 2001):
        average.update(weights, step)
    assert torch.allclose(average.model.decoder.out.bias, model.decoder.out.bias, atol=1e-3)  # type: ignore[union-attr]
    weights += 1.0
    for step in range(100_000, 101_000):
        average.update(weights, step)
    lag = model.decoder.out.bias - average.model.decoder.out.bias  # type: ignore[union-attr]
    assert torch.allclose(lag, torch.full_like(lag, 0.999**1000), atol=0.01)


def test_buffers_follow_training_but_not_over_what_finish_refitted() -> None:
    torch.manual_seed(0)
    model = build("ctgan", {"generator_dim": [4], "discriminator_dim": [4]}, layout())
    average = Ema(model)
    average.model.frequency_C.fill_(7.0)  # type: ignore[operator,union-attr]
    model.generator.blocks[0].norm.running_mean.fill_(3.0)  # type: ignore[union-attr,index]
    average.copy_buffers(model)
    assert float(average.model.generator.blocks[0].norm.running_mean[0]) == 3.0  # type: ignore[union-attr,index]
    assert float(average.model.frequency_C[0]) == 7.0  # type: ignore[index]


@pytest.mark.parametrize(("moments", "largest"), [("main", 0.02), (None, 1.1)])
def test_a_penalty_that_shares_moments_keeps_its_weight(moments: str | None, largest: float) -> None:
    """A gradient a thousandth as large moves a thousandth as far, unless moments of its own divide its size
    out."""
    model = nn.Linear(1, 1, bias=False)
    adam = Adam(learning_rate=0.1, betas=(0.0, 0.99))
    phases = (
        Phase(name="main", modules=("weight",), optimizer=adam),
        Phase(name="penalty", modules=("weight",), optimizer=adam, every_steps=16, moments=moments),
    )
    optimizers = optimizers_of(model, [Stage(name="gan", share=1.0, phases=phases)])
    before = 0.0
    for phase, gradient in (("main", 1.0), ("penalty", 1e-3)):
        before = float(model.weight.detach())
        model.weight.grad = torch.full((1, 1), gradient)
        optimizers["gan", phase].step(1.0, Single())
    moved = abs(float(model.weight.detach()) - before) / 0.1
    assert moved < largest
    assert moved > 0.5 or moments == "main"
    assert len(distinct(optimizers)) == (1 if moments else 2)


def test_moments_are_shared_by_phases_that_move_the_same_modules() -> None:
    adam = Adam(learning_rate=0.1)
    phases = (
        Phase(name="main", modules=("weight",), optimizer=adam),
        Phase(name="penalty", modules=("bias",), optimizer=adam, moments="main"),
    )
    with pytest.raises(AssertionError, match="penalty moves other modules than main"):
        optimizers_of(nn.Linear(1, 1), [Stage(name="gan", share=1.0, phases=phases)])


def test_weights_count_half_after_the_half_life() -> None:
    model = build("tvae", {"embedding_dim": 2, "compress_dims": [4], "decompress_dims": [4]}, layout())
    weights = flatten(model)
    weights.zero_()
    average = Ema(model, half_life_steps=20)
    weights.fill_(1.0)
    # Late enough that the decay no longer grows.
    for step in range(100_001, 100_021):
        average.update(weights, step)
    assert float(next(average.model.parameters()).mean()) == pytest.approx(0.5, abs=1e-4)
