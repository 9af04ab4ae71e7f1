"""Constraints within rows of sequences: exact in what is generated and continued, or refused in a line."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import synthmill
from synthmill.errors import UserError
from visits import per_sequence, visits

TINY = {
    "model.config": {"embedding_dim": 16, "hidden_dim": 16},
    "training.max_steps": 20,
    "training.global_batch_rows": 200,
}


def shop(sequences: int = 60, seed: int = 0) -> pa.Table:
    """Visits with columns that constraints speak of: `joined` <= `left` (one a customer), `net` + `tax` =
    `gross`, a pair of texts that go together, two flags of which one is set, `low` <= `high`."""
    rows = visits(sequences, seed)
    rng = np.random.default_rng(seed)
    number = {key: n for n, key in enumerate(sorted(set(rows["customer"].to_pylist())))}
    own = np.array([number[key] for key in rows["customer"].to_pylist()])
    net, tax = rng.integers(1, 500, len(own)), rng.integers(0, 90, len(own))
    low = np.round(rng.normal(0, 5, len(own)), 1)
    where = rng.integers(0, 3, len(own))
    flag = rng.random(len(own)) < 0.3
    made = {
        "left \N{GRINNING FACE}": np.array(rows["joined"]) + rng.integers(0, 9, sequences)[own],
        "net": net,
        "tax": tax,
        "gross": net + tax,
        "town": np.array(["Bern", "Graz", "Ulm"])[where],
        "land": np.array(["CH", "AT", "DE"])[where],
        "is a": flag,
        "is b": ~flag,
        "low": low,
        "high": np.round(low + rng.exponential(2, len(own)), 1),
    }
    for name, values in made.items():
        rows = rows.append_column(name, pa.array(values))
    return rows


LEFT = "left \N{GRINNING FACE}"
CONSTRAINTS = [
    {"type": "inequality", "columns": ["joined", LEFT]},
    {"type": "inequality", "columns": ["low", "high"]},
    {"type": "sum", "total": "gross", "plus": ["net", "tax"]},
    {"type": "fixed_combinations", "columns": ["town", "land"]},
    {"type": "one_hot", "columns": ["is a", "is b"]},
    {"type": "range", "column": "net", "minimum": 1, "maximum": 500},
]


def fit(rows: pa.Table, constraints: list[dict[str, object]], **more: object) -> synthmill.Model:
    overrides = {**TINY, "data.constraints": constraints, **more}
    return synthmill.fit(rows, group_by="customer", order_by="when", overrides=overrides, progress=False)


def broken(rows: pa.Table, known: pa.Table) -> int:
    """Rows that break any of the constraints."""
    pairs = set(zip(known["town"].to_pylist(), known["land"].to_pylist(), strict=True))
    met = [
        pc.less_equal(rows["joined"], rows[LEFT]).to_numpy(),
        pc.less_equal(rows["low"], rows["high"]).to_numpy(),
        pc.equal(pc.add(rows["net"], rows["tax"]), rows["gross"]).to_numpy(),
        np.array(
            [pair in pairs for pair in zip(*(rows[n].to_pylist() for n in ("town", "land")), strict=True)]
        ),
        np.array(rows["is a"]) != np.array(rows["is b"]),
        (np.array(rows["net"]) >= 1) & (np.array(rows["net"]) <= 500),
    ]
    return int((~np.logical_and.reduce(met)).sum())


@pytest.fixture(scope="module")
def model() -> synthmill.Model:
    return fit(shop(), CONSTRAINTS)


def test_every_row_meets_them_and_what_is_static_stays_so(model: synthmill.Model) -> None:
    rows = model.sample(sequences=1500, seed=1)
    assert broken(rows, shop()) == 0
    assert rows.column_names == shop().column_names
    for name in ("joined", LEFT, "plan"):
        assert all(len(set(values)) == 1 for values in per_sequence(rows, name)), name
    assert len(set(rows["high"].to_pylist())) > 20, "the untrained model draws, and does not copy"


def test_conditions_read_what_is_rebuilt(model: synthmill.Model) -> None:
    rows = model.sample(sequences=30, where=f"`{LEFT}`>=2018", seed=2)
    assert pc.min(rows[LEFT]).as_py() >= 2018
    assert broken(rows, shop()) == 0
    with pytest.raises(UserError, match="changes within a sequence"):
        model.sample(sequences=5, where="gross>=100")


def test_saved_and_loaded_it_gives_the_same(model: synthmill.Model, tmp_path) -> None:  # type: ignore[no-untyped-def]
    version = model.save(str(tmp_path))
    again = synthmill.load(version.ref, store=str(tmp_path))
    first, second = (one.sample(sequences=20, seed=4) for one in (model, again))
    assert first.equals(second.replace_schema_metadata(first.schema.metadata))


def test_a_history_goes_on_with_what_it_shares_to_the_bit(model: synthmill.Model) -> None:
    history = shop(20, 5)
    at = history.schema.get_field_index(LEFT)
    # Beyond anything that the training rows have.
    history = history.set_column(at, LEFT, pc.add(history[LEFT], 100_000))
    rows = model.forecast(history, 3, seed=5)
    assert broken(rows, shop()) == 0
    shared = {row["customer"]: (row["joined"], row[LEFT]) for row in history.to_pylist()}
    assert all(shared[row["customer"]] == (row["joined"], row[LEFT]) for row in rows.to_pylist())
    lacking = model.forecast(history.select(["customer", "when", "net"]), 2, seed=5)
    assert broken(lacking, shop()) == 0


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        ({"type": "unique", "columns": ["net", "tax"]}, "needs rows to be drawn again"),
        ({"type": "formula", "expression": "net > tax"}, "needs rows to be drawn again"),
        ({"type": "fixed_combinations", "columns": ["customer", "town"]}, "is the key of the sequences"),
        ({"type": "inequality", "columns": ["when", "until"]}, "orders the rows"),
        (
            {"type": "inequality", "columns": ["low", "joined"]},
            "share 'joined', which would be rebuilt from 'low'",
        ),
    ],
)
def test_what_can_not_be_met_row_by_row_is_refused(constraint: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        fit(shop(), [constraint])
    assert "\n" not in str(caught.value)
    assert caught.value.field == "data.constraints"


def test_static_columns_may_be_stated() -> None:
    rows = fit(shop(), CONSTRAINTS, **{"data.static": ["plan", "joined", LEFT]}).sample(sequences=60, seed=1)
    assert broken(rows, shop()) == 0
    assert all(len(set(values)) == 1 for values in per_sequence(rows, LEFT))


def test_rows_of_the_source_that_break_one_are_refused() -> None:
    with pytest.raises(UserError, match="rows break it"):
        fit(shop(), [{"type": "inequality", "columns": ["high", "low"]}])
