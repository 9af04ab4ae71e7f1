"""Known cells stay as they are, others are drawn given them, and a row can be judged."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from encoded import Records, settings
from synthmill.config import DataConfig
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.errors import DataError, UserError
from synthmill.generation.completing import complete, log_prob, predict_proba
from synthmill.generation.generator import Generator
from synthmill.models.base import GenerativeModel, build
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from tables import customers


def generator_of(name: str, rows: pa.Table, **config: object) -> Generator:
    codec = DiscreteCodec.fit(rows, DataConfig(source="x", target="churned"))
    torch.manual_seed(0)
    model: GenerativeModel = build(name, config, codec.layout)
    data = codec.encode(rows)
    if model.stages():
        run = settings(max_steps=300, max_epochs=300)
        model.load_state_dict(train(model, data, run, parallel=Single(), reporter=Records()).state_dict)
    else:
        model.fit_closed([data])
    return Generator(model.eval(), codec, "m@1", "", {"model": name})


@pytest.fixture(scope="module")
def made() -> Generator:
    small = {"embedding_dim": 32, "hidden_dim": 32, "learning_rate": 1e-2, "epochs": 1000}
    return generator_of("autoregressive", customers(1500), **small)


def holed(rows: pa.Table, seed: int = 0) -> pa.Table:
    """A third of the cells missing."""
    draws = np.random.default_rng(seed)
    columns = {
        name: pa.array(rows[name].to_pylist(), rows.schema.field(name).type, mask=None)
        for name in rows.column_names
    }
    for name, column in columns.items():
        hole = pa.array(draws.random(rows.num_rows) < 1 / 3)
        columns[name] = pa.compute.if_else(hole, pa.scalar(None, column.type), column)
    return pa.table(columns)


def test_given_cells_stay_and_missing_ones_are_filled(made: Generator) -> None:
    rows = holed(customers(2500, seed=4))
    filled = complete(made, rows, seed=3, field="rows")
    assert filled.column_names == rows.column_names
    for name in rows.column_names:
        own, new = rows[name].to_pylist(), filled[name].to_pylist()
        assert all(before is None or before == after for before, after in zip(own, new, strict=True)), name
        assert None not in new, name


def test_the_same_seed_fills_alike_and_the_rows_behind_change_nothing(made: Generator) -> None:
    rows = holed(customers(2500, seed=4))
    whole = complete(made, rows, seed=3, field="rows")
    assert whole.equals(complete(made, rows, seed=3, field="rows"))
    assert (
        complete(made, rows.slice(0, 1500), seed=3, field="rows")
        .drop(["customer"])
        .equals(whole.slice(0, 1500).drop(["customer"]))
    )
    assert not whole.equals(complete(made, rows, seed=4, field="rows"))


def test_what_is_filled_follows_what_is_known(made: Generator) -> None:
    rows = pa.table({"visits": [0] * 2000 + [30] * 2000})
    filled = complete(made, rows, seed=1, field="rows")
    member = np.asarray(filled["member"])
    assert filled["visits"].to_pylist() == rows["visits"].to_pylist()
    assert member[:2000].mean() < 0.25, "0.1 in training"
    assert member[2000:].mean() > 0.65, "0.8 in training"
    # A column that was not there is missing as often as in training.
    assert 0.02 < filled["spend"].null_count / 4000 < 0.2


def test_a_data_frame_s_own_types_stay(made: Generator) -> None:
    frame = pd.DataFrame({"age": [30.0, np.nan, 41.0], "plan": ["pro", None, "never seen"]})
    filled = complete(made, pa.Table.from_pandas(frame), seed=1, field="rows")
    assert filled["age"].type == pa.float64()
    assert filled["age"].to_pylist()[::2] == [30.0, 41.0]
    assert filled["plan"].to_pylist()[2] == "never seen"
    assert float(filled["age"][1].as_py()).is_integer()
    nothing = complete(made, pa.table({"age": [None, None], "plan": [None, "pro"]}), seed=1, field="rows")
    assert nothing["age"].type == pa.int64()
    assert nothing["age"].null_count == 0


def test_odd_rows_are_less_probable(made: Generator) -> None:
    rows = customers(1000, seed=9)
    odd = rows.set_column(
        rows.column_names.index("member"), "member", pa.compute.invert(rows["member"].combine_chunks())
    )
    usual, strange = (log_prob(made, some, field="rows") for some in (rows, odd))
    assert usual.shape == (1000,)
    assert usual.mean() > strange.mean() + 0.5


def test_probabilities_of_levels(made: Generator) -> None:
    rows = pa.table({"visits": [0, 30] * 1000})
    shares = predict_proba(made, "member", rows, field="rows")
    assert set(shares.column_names) == {"true", "false"}
    total = sum(np.asarray(shares[name]) for name in shares.column_names)
    assert np.allclose(total, 1)
    assert np.asarray(shares["true"])[::2].mean() + 0.4 < np.asarray(shares["true"])[1::2].mean()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"aeg": [3]}, "has a column 'aeg', which the model does not know; did you mean 'age'"),
        ({"age": ["old"]}, "column 'age' holds string that is no int64"),
    ],
)
def test_a_user_s_mistake_is_one_line(made: Generator, rows: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        complete(made, pa.table(rows), seed=0, field="rows")
    with pytest.raises(DataError, match="has no column"):
        log_prob(made, pa.table({"age": [3]}), field="rows")
    with pytest.raises(DataError, match="'spend' has no levels"):
        predict_proba(made, "spend", customers(3), field="rows")


def test_a_model_that_can_t_says_which_can() -> None:
    forest = generator_of("forest", customers(300), trees=1, other_trees=1)
    with pytest.raises(UserError, match=r"rows: 'forest' can't tell .* model.name: autoregressive"):
        complete(forest, customers(3), seed=0, field="rows")


def test_no_rows_are_completed_to_none(made: Generator) -> None:
    assert complete(made, customers(10).slice(0, 0), seed=0, field="rows").num_rows == 0
