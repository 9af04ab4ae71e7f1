"""Sequences from Python: what is learnt of them, any number of them, and the rows after a given history."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import synthmill
from synthmill.data.sequences.order import runs_of
from synthmill.errors import UserError
from visits import MOVES, autocorrelation, moves, per_sequence, visits

ROWS = visits(500)
SMALL = {
    "model.config": {"embedding_dim": 48, "hidden_dim": 48, "learning_rate": 1e-2, "epochs": 20},
    "training.global_batch_rows": 250,
    "training.check_every_steps": 1000,
}


@pytest.fixture(scope="module")
def model() -> synthmill.Model:
    return synthmill.fit(ROWS, group_by="customer", order_by="when", overrides=SMALL, progress=False)


@pytest.fixture(scope="module")
def made(model: synthmill.Model) -> pa.Table:
    return model.sample(sequences=2000, seed=1)


def test_rows_depend_on_those_before_them(made: pa.Table) -> None:
    rng = np.random.default_rng(0)
    alone = made.set_column(
        made.schema.get_field_index("stage"),
        "stage",
        made["stage"].take(pa.array(rng.permutation(made.num_rows))),
    )
    assert autocorrelation(made) > 0.5, "of rows that stand for themselves it is about 0"
    assert autocorrelation(made, lag=3) < autocorrelation(made)
    assert np.abs(moves(made) - MOVES).max() < 0.12
    assert np.abs(moves(alone) - MOVES).max() > 0.25


def test_sequences_are_as_long_as_real_ones_of_their_kind(made: pa.Table) -> None:
    means = {}
    for name, table in (("made", made), ("real", visits(2000, 9, shuffled=False))):
        for plan in ("basic", "pro"):
            own = table.filter(pc.equal(table["plan"], plan))
            means[name, plan] = own.num_rows / pc.count_distinct(own["customer"]).as_py()
    assert means["made", "basic"] == pytest.approx(means["real", "basic"], rel=0.15)
    assert means["made", "pro"] == pytest.approx(means["real", "pro"], rel=0.15)


def test_keys_are_new_rows_are_in_order_and_what_is_static_is_so(made: pa.Table) -> None:
    assert pc.count_distinct(made["customer"]).as_py() == 2000
    assert not set(made["customer"].to_pylist()) & set(ROWS["customer"].to_pylist())
    assert (runs_of(made, ("customer",), "when").rows == np.arange(made.num_rows)).all()
    assert made.schema.equals(ROWS.schema, check_metadata=False)
    assert all(len(set(plans)) == 1 for plans in per_sequence(made, "plan"))
    assert all(len(set(years)) == 1 for years in per_sequence(made, "joined"))


def test_fewer_sequences_are_the_first_of_many(model: synthmill.Model, made: pa.Table) -> None:
    few = model.sample(sequences=1100, seed=1)
    assert few.equals(made.slice(0, few.num_rows).replace_schema_metadata(few.schema.metadata))
    assert pc.count_distinct(few["customer"]).as_py() == 1100


def test_conditions_are_on_what_a_sequence_shares(model: synthmill.Model) -> None:
    rows = model.sample(sequences=50, where=("plan=pro", "joined>=2015"), seed=2)
    assert set(rows["plan"].to_pylist()) == {"pro"}
    assert pc.min(rows["joined"]).as_py() >= 2015
    with pytest.raises(UserError, match=r"'stage' is made anew or changes within a sequence"):
        model.sample(sequences=5, where="stage=buy")


def test_saved_and_loaded_it_gives_the_same(model: synthmill.Model, every_store: str) -> None:
    version = model.save(every_store)
    again = synthmill.load(version.ref, store=every_store)
    first, second = (one.sample(sequences=30, seed=4) for one in (model, again))
    assert first.equals(second.replace_schema_metadata(first.schema.metadata))


def test_a_history_goes_on_with_its_keys_and_its_order(model: synthmill.Model) -> None:
    history = visits(30, 77)
    rows = model.forecast(history, 4, seed=5)
    firsts = list(dict.fromkeys(history["customer"].to_pylist()))
    assert rows["customer"].to_pylist() == [key for key in firsts for _ in range(4)]
    ends = history.group_by("customer").aggregate([("when", "max")]).to_pylist()
    last = {row["customer"]: row["when_max"] for row in ends}
    shared = {row["customer"]: (row["plan"], row["joined"]) for row in history.to_pylist()}
    for key, times in zip(firsts, per_sequence(rows, "when"), strict=True):
        assert all(a <= b for a, b in pairwise([last[key], *times]))
    assert all(shared[row["customer"]] == (row["plan"], row["joined"]) for row in rows.to_pylist())
    assert rows.equals(model.forecast(history, 4, seed=5))


def test_what_comes_next_depends_on_the_history(model: synthmill.Model) -> None:
    def history(mood: float) -> pa.Table:
        rows = visits(300, 8)
        return rows.set_column(rows.schema.get_field_index("mood"), "mood", pa.array([mood] * rows.num_rows))

    low, high = (pc.mean(model.forecast(history(mood), 1, seed=1)["mood"]).as_py() for mood in (-1.0, 4.0))
    assert high - low > 2


def test_a_history_may_lack_what_is_not_known(model: synthmill.Model) -> None:
    rows = model.forecast(visits(10, 3).select(["customer", "when"]), 2, seed=1)
    assert rows.column_names == ROWS.column_names
    assert all(len(set(plans)) == 1 for plans in per_sequence(rows, "plan"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m: m.sample(10), "ask for sequences instead"),
        (lambda m: m.sample(), "how many sequences"),
        (lambda m: m.sample(5, sequences=5), "how many sequences"),
        (lambda m: m.sample(sequences=0), "at least 1"),
        (lambda m: m.complete(ROWS), "completes no single rows"),
        (lambda m: m.log_prob(ROWS), "completes no single rows"),
        (lambda m: m.forecast(ROWS, 0), "at least 1"),
        (lambda m: m.forecast(ROWS.slice(0, 0), 1), "has no rows"),
        (lambda m: m.forecast(ROWS.select(["customer"]), 1), "no column 'when'"),
        (
            lambda m: m.forecast(ROWS.append_column("odd", ROWS["mood"]), 1),
            "'odd', which the model does not",
        ),
    ],
)
def test_what_can_not_be_asked_is_refused(model: synthmill.Model, wrong, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=says):
        wrong(model)


def test_sequences_from_elsewhere_are_judged() -> None:
    options = {"train": visits(150, 1), "holdout": visits(120, 2), "profile": "quick"}
    found = synthmill.evaluate(visits(150, 3), group_by="customer", order_by="when", **options)
    assert found.metrics["sequence.transitions"].value is not None
    assert found.metrics["sequence.transitions"].value < 0.15
    assert "sequence.lengths" not in synthmill.evaluate(visits(150, 3), **options).metrics
    with pytest.raises(UserError, match="did you mean 'customer'"):
        synthmill.evaluate(visits(150, 3), group_by="custmer", **options)


def test_a_model_of_rows_gives_no_sequences() -> None:
    rows = visits(30)
    model = synthmill.fit(rows, model="marginals", progress=False)
    with pytest.raises(UserError, match=r"generates no sequences"):
        model.sample(sequences=5)
    with pytest.raises(UserError, match=r"train with data\.group_by"):
        model.forecast(rows, 1)


def test_several_keys_and_no_order() -> None:
    rows = visits(60, shuffled=False).drop_columns(["when"])
    shop = pa.array([int(key[2:]) % 3 for key in rows["customer"].to_pylist()])
    rows = rows.append_column("shop", shop)
    quick = {"training.max_steps": 20, "model.config": {"embedding_dim": 16, "hidden_dim": 16}}
    model = synthmill.fit(rows, group_by=["shop", "customer"], overrides=quick, progress=False)
    made = model.sample(sequences=40, seed=1)
    assert made.column_names == rows.column_names
    assert pc.count_distinct(made["customer"]).as_py() == 40
