import numpy as np
import pyarrow as pa
import pytest
import torch

from encoded import Records, agreement, layout, settings, table
from synthmill.config import DataConfig, dump
from synthmill.data.batch import Batch, Condition, concat
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.generation.condition import Where
from synthmill.generation.sampler import Sampler
from synthmill.models.base import build, parse_config
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from tables import customers

SMALL = {"embedding_dim": 32, "hidden_dim": 32, "learning_rate": 1e-2}


def trained(shape: MixedLayout, data: Batch, steps: int = 600, **config: object):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = build("autoregressive", {**SMALL, **config}, shape)
    run = settings(max_steps=steps, max_epochs=steps)
    outcome = train(model, data, run, parallel=Single(), reporter=Records())
    model.load_state_dict(outcome.state_dict)
    return model.eval()


@pytest.fixture(scope="module")
def model():  # type: ignore[no-untyped-def]
    return trained(layout(), table())


def drawn(model, rows: int = 20_000, condition: Condition | None = None) -> Batch:  # type: ignore[no-untyped-def]
    with torch.inference_mode():
        return model.sample(rows, condition=condition, generator=torch.Generator().manual_seed(0))


def all_rows() -> Batch:
    """Every combination of codes."""
    codes = torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(6))
    return Batch(codes=codes, values=torch.zeros(len(codes), 1))


def test_keeps_columns_and_their_dependence(model) -> None:  # type: ignore[no-untyped-def]
    data, rows = table(), drawn(model)
    for span, width in enumerate((3, 4, 6)):
        expected = torch.bincount(data["codes"][:, span], minlength=width) / 2000
        made = torch.bincount(rows["codes"][:, span], minlength=width) / 20_000
        assert torch.allclose(made, expected, atol=0.03)
    assert abs(agreement(rows) - agreement(data)) < 0.04


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_the_probabilities_of_all_rows_sum_to_one_along_any_order(model, order: list[int]) -> None:  # type: ignore[no-untyped-def]
    with torch.inference_mode():
        total = model.log_prob(all_rows(), order).double().exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("given", [[], [0], [1], [0, 2], [1, 2]])
def test_probabilities_of_a_column_sum_to_one_whatever_is_given(model, given: list[int]) -> None:  # type: ignore[no-untyped-def]
    rows = all_rows()
    is_given = torch.zeros(rows.num_rows, 3, dtype=torch.bool)
    is_given[:, given] = True
    for span in range(3):
        shares = model.probabilities(span, rows, is_given)
        assert shares.shape == (rows.num_rows, (3, 4, 6)[span])
        assert torch.allclose(shares.sum(1), torch.ones(rows.num_rows), atol=1e-5)


def test_likelihoods_agree_over_orders(model) -> None:  # type: ignore[no-untyped-def]
    """Within a tenth of a nat a row on average: what training in random orders left of the difference."""
    data = table(1000, seed=5)
    with torch.inference_mode():
        found = [model.log_prob(data, order) for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0])]
    means = [float(nats.mean()) for nats in found]
    assert max(means) - min(means) < 0.1
    assert means[0] > -2.0, "the entropy of rows is 1.9 nats, that of independent columns 3.4"


@pytest.mark.parametrize("codes", [{0: 2}, {1: 1}, {2: 0}, {0: 1, 2: 3}, {0: 0, 1: 3, 2: 1}])
def test_any_columns_can_be_given(model, codes: dict[int, int]) -> None:  # type: ignore[no-untyped-def]
    rows = drawn(model, 500, Condition(codes=codes))
    for span, code in codes.items():
        assert set(rows["codes"][:, span].tolist()) == {code}


def test_what_is_drawn_beside_a_given_column_follows_it(model) -> None:  # type: ignore[no-untyped-def]
    rows, real = drawn(model, 4000, Condition(codes={2: 4}))["codes"], table(8000)["codes"]
    real = real[real[:, 2] == 4]
    for span in (0, 1):
        shares = [torch.bincount(some[:, span], minlength=4) / len(some) for some in (rows, real)]
        assert (shares[0] - shares[1]).abs().max() < 0.1


@pytest.fixture(scope="module")
def people() -> tuple[Sampler, pa.Table]:
    rows = customers(1500)
    codec = DiscreteCodec.fit(rows, DataConfig(source="x", target="churned"))
    return Sampler(trained(codec.layout, codec.encode(rows), steps=60), codec), rows


@pytest.mark.parametrize(
    "clauses",
    [
        ["age>=40"],
        ["age<25", "plan=pro"],
        ["spend>100.5", "spend<=101.25", "churned=true"],
        ["joined>=2020-03-01", "joined<2020-03-04"],
        ["last_seen<2020-06-01T12:30:00"],
        ["plan!=pro"],
        ["plan in {basic, team}", "churned=false"],
        ["spend=55.5"],
    ],
)
def test_comparisons_of_one_column_reject_no_row(
    people: tuple[Sampler, pa.Table], clauses: list[str]
) -> None:
    sampler, _ = people
    where = Where.parse(clauses)
    condition, residual = where.split(sampler.codec, sampler.model)
    assert residual.clauses == ()
    assert condition is not None
    batches = list(sampler.seeded(2000, seed=1, path=(0, 0), where=where))
    made = sampler.codec.decode(concat(batches), first_row=0)
    assert made.num_rows == 2000
    assert where.mask(made).all()


def test_a_range_is_drawn_as_rejection_would_draw_it(people: tuple[Sampler, pa.Table]) -> None:
    sampler, _ = people
    where = Where.parse(["spend>60", "spend<150"])
    all_drawn = sampler.codec.decode(concat(list(sampler.seeded(40_000, seed=2, path=(0, 0)))), first_row=0)
    kept = all_drawn.filter(pa.array(where.mask(all_drawn)))
    batches = list(sampler.seeded(8000, seed=3, path=(0, 0), where=where))
    made = sampler.codec.decode(concat(batches), first_row=0)
    for cut in (70, 85, 100, 125):
        shares = [np.mean(some["spend"].to_numpy() < cut) for some in (kept, made)]
        assert abs(shares[0] - shares[1]) < 0.03, cut
    shares = [np.mean(np.asarray(some["plan"]) == "basic") for some in (kept, made)]
    assert abs(shares[0] - shares[1]) < 0.06, "the rest of the row follows the range"


def test_of_two_limited_columns_one_is_told_and_the_other_rejected_for(
    people: tuple[Sampler, pa.Table],
) -> None:
    sampler, _ = people
    where = Where.parse(["age<60", "spend<20", "plan=basic"])
    condition, residual = where.split(sampler.codec, sampler.model)
    assert condition is not None
    assert len(condition.codes) == len(condition.allowed) == 1
    assert [clause.column for clause in residual.clauses] == ["age"]
    made = sampler.codec.decode(
        concat(list(sampler.seeded(300, seed=1, path=(0, 0), where=where))), first_row=0
    )
    assert where.mask(made).all()


def test_likelihood_tells_a_memoriser_from_a_model_that_stopped_in_time() -> None:
    """Planted: columns of noise, and a run without dropout that is far longer than a model asks for."""
    widths = (4, 4, 4, 4, 4, 4)
    shape = MixedLayout(
        discrete=tuple(DiscreteSpan(column=f"c{i}", role="category", width=w) for i, w in enumerate(widths)),
        numeric=(),
        rows=200,
    )
    draws = torch.Generator().manual_seed(0)
    seen, new = (
        Batch(codes=torch.randint(4, (200, 6), generator=draws), values=torch.zeros(200, 0)) for _ in range(2)
    )

    def gap(model) -> float:  # type: ignore[no-untyped-def]
        with torch.inference_mode():
            return float(model.log_prob(seen).mean() - model.log_prob(new).mean())

    stopped = trained(shape, seen, steps=15)
    memoriser = trained(shape, seen, steps=800, dropout=0.0, epochs=1000, learning_rate=1e-2, hidden_dim=128)
    assert gap(stopped) < 0.5
    assert gap(memoriser) > 3


def test_a_run_ends_when_the_model_says_so() -> None:
    short = build("autoregressive", {"epochs": 3}, layout(20_000)).stages()[0]
    assert (short.most_epochs, short.most_batch_rows) == (3, 2_000)
    # A few thousand rows are read more often, and fewer less again: they are learnt by heart sooner.
    found = [build("autoregressive", {"epochs": 10}, layout(rows)).stages()[0] for rows in (100, 700, 3_500)]
    assert [(stage.most_epochs, stage.most_batch_rows) for stage in found] == [(10, 50), (11, 70), (24, 350)]


@pytest.fixture(scope="module")
def headed():  # type: ignore[no-untyped-def]
    """The target is the column in the middle, so that the head changes the order of drawing."""
    return trained(layout().model_copy(update={"target": "b"}), table(), steps=200, head=True)


def test_a_head_is_what_the_target_is_drawn_by_and_judged_by(headed) -> None:  # type: ignore[no-untyped-def]
    rows, given = all_rows(), torch.ones(72, 3, dtype=torch.bool)
    with torch.inference_mode():
        assert float(headed.log_prob(rows).double().exp().sum()) == pytest.approx(1, abs=1e-5)
        expected = headed.head.logits(rows["codes"]).softmax(1)
        assert torch.equal(headed.probabilities(1, rows, given), expected)
        given[:, 0] = False
        assert not torch.allclose(headed.probabilities(1, rows, given), expected)
    made = drawn(headed, 40_000)["codes"]
    assert abs(agreement(Batch(codes=made)) - agreement(table())) < 0.04
    same = (made[:, 0] == 1) & (made[:, 2] == 2)
    shares = torch.bincount(made[same, 1], minlength=4) / same.sum()
    at = (rows["codes"][:, 0] == 1) & (rows["codes"][:, 2] == 2)
    assert (shares - expected[at][0]).abs().max() < 0.03


def test_of_rows_whose_target_is_known_the_network_draws_the_rest(headed) -> None:  # type: ignore[no-untyped-def]
    condition = Condition(codes={1: 2})
    rows = drawn(headed, 4000, condition)
    assert set(rows["codes"][:, 1].tolist()) == {2}
    head, headed.head = headed.head, None
    try:
        assert torch.equal(drawn(headed, 4000, condition)["codes"], rows["codes"])
    finally:
        headed.head = head
    # Known and unknown targets side by side: each row as if it were alone.
    codes, given = table(1000)["codes"], torch.zeros(1000, 3, dtype=torch.bool)
    given[::2, 1] = True
    draws = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        made = headed.complete(codes, given, never={1: 3}, generator=draws)["codes"]
    assert torch.equal(made[::2, 1], codes[::2, 1])
    assert 3 not in made[1::2, 1].tolist()


def test_a_head_changes_nothing_of_the_network_and_nothing_of_recipes_without_one(headed) -> None:  # type: ignore[no-untyped-def]
    shape = layout().model_copy(update={"target": "b"})
    plain = trained(shape, table(), steps=200).state_dict()
    own = headed.state_dict()
    assert {name for name in own if name not in plain} == {
        "head.base",
        "head.feature",
        "head.threshold",
        "head.value",
    }
    assert all(torch.equal(own[name], tensor) for name, tensor in plain.items())
    again = build("autoregressive", {**SMALL, "head": True}, shape)
    again.load_state_dict(own)
    assert "head" not in dump(parse_config("autoregressive", {}))
    # A number, or no target at all: there is none.
    assert build("autoregressive", {"head": True}, layout()).head is None
