import torch

from encoded import Records, layout, settings
from synthmill.data.batch import Batch
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.models.base import build
from synthmill.nn.digits import Digits
from synthmill.nn.spans import Spans
from synthmill.training.loop import train
from synthmill.training.parallel import Single

WIDE = MixedLayout(
    discrete=(
        DiscreteSpan(column="city", role="group", width=3),
        DiscreteSpan(column="city", role="member", width=5),
    ),
    numeric=(),
    rows=2000,
)


def cities() -> Batch:
    """Members of group 0 are skewed, those of the others uniform: no common distribution of members fits."""
    draws = torch.Generator().manual_seed(0)
    group = torch.randint(3, (2000,), generator=draws)
    skewed = torch.multinomial(torch.tensor([0.8, 0.2, 0.0, 0.0, 0.0]), 2000, True, generator=draws)
    member = torch.where(group == 0, skewed, torch.randint(5, (2000,), generator=draws))
    return Batch(codes=torch.stack([group, member], 1), values=torch.zeros(2000, 0))


def test_tvae_learns_members_given_their_group() -> None:
    torch.manual_seed(0)
    config = {"embedding_dim": 4, "compress_dims": [16], "decompress_dims": [16], "learning_rate": 1e-2}
    model = build("tvae", config, WIDE)
    outcome = train(model, cities(), settings(max_epochs=10), parallel=Single(), reporter=Records())
    model.load_state_dict(outcome.state_dict)
    with torch.inference_mode():
        codes = model.eval().sample(4000, condition=None, generator=torch.Generator().manual_seed(0))["codes"]
    first = codes[codes[:, 0] == 0, 1]
    assert float((first == 0).float().mean()) > 0.65, "0.8 in the data"
    assert float((first > 1).float().mean()) < 0.1, "0 in the data"
    assert float((codes[codes[:, 0] == 2, 1] > 1).float().mean()) > 0.45, "0.6 in the data"


def test_hard_and_soft_groups_move_the_same_members() -> None:
    spans = Spans([3, 5])
    digits = Digits(WIDE, spans)
    torch.nn.init.normal_(digits.tables[0])
    codes = cities()["codes"][:20]
    logits = torch.zeros(20, spans.width)
    hard = digits.given_codes(logits, codes)
    assert torch.allclose(hard, digits.given_soft(logits, spans.one_hot(codes)))
    assert torch.equal(hard[:, spans.columns_of(1)], digits.tables[0][codes[:, 0]])
    assert not bool(hard[:, spans.columns_of(0)].any())


def test_ctgan_trains_on_two_digits() -> None:
    torch.manual_seed(0)
    model = build("ctgan", {"generator_dim": [8], "discriminator_dim": [8]}, WIDE)
    before = model.digits.tables[0].clone()  # type: ignore[union-attr,index]
    train(model, cities(), settings(max_steps=3), parallel=Single(), reporter=Records())
    assert not torch.equal(before, model.digits.tables[0])  # type: ignore[union-attr,index]


def test_columns_of_one_digit_have_no_table() -> None:
    assert Digits(layout(), Spans([3, 4, 6])).pairs == []
