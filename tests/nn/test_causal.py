"""The causal transformer."""

import torch

from synthmill.nn.causal import CausalTransformer


def small(codes: int = 5, length: int = 6) -> CausalTransformer:
    torch.manual_seed(0)
    return CausalTransformer(codes, length, 3, width=16, layers=2, heads=4).eval()


def test_no_position_sees_what_comes_after_it() -> None:
    model = small()
    codes, context = torch.randint(5, (4, 6)), torch.eye(4)[:, :3]
    before = model(codes, context)
    changed = codes.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 5
    after = model(changed, context)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_sampling_step_by_step_follows_the_probabilities_of_the_whole() -> None:
    """At a temperature near 0 each sampled code is the most probable one given those before it."""
    model = small()
    context = torch.eye(4)[:, :3]
    with torch.inference_mode():
        codes = model.sample(context, torch.Generator().manual_seed(0), temperature=1e-4)
        assert torch.equal(codes, model(codes, context).argmax(2))
        one, two = (model.sample(context, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    model = CausalTransformer(5, 6, 3, width=16, layers=2, heads=4, dropout=0.5)
    codes, context = torch.randint(0, 5, (2, 6)), torch.eye(3)[:2]
    assert not torch.equal(model(codes, context), model(codes, context))
    model.eval()
    assert torch.equal(model(codes, context), model(codes, context))
