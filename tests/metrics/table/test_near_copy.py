import numpy as np
import pyarrow as pa

from evidence import KINDS, look, people, replaced, with_copies
from synthmill.metrics.table.near_copy import NearCopy


def jittered(table, seed=0):
    rng = np.random.default_rng(seed)
    pay = table["pay"].to_numpy(zero_copy_only=False)
    return replaced(
        table,
        "pay",
        [None if np.isnan(v) else v * f for v, f in zip(pay, rng.normal(1, 1e-4, len(pay)), strict=True)],
    )


def test_copies_with_a_little_noise_are_caught():
    train, holdout = people(1500, 1), people(1500, 6)
    leaky = jittered(with_copies(people(1500, 5), train, 0.03))
    result = NearCopy().compute(look(leaky, train=train, holdout=holdout))
    assert result.value < 1e-4
    assert result.aspects["ratio"].value > 3
    assert len(result.details["scales"]) == 3


def test_fresh_rows_and_the_holdout_itself_pass():
    train, holdout = people(1500, 1), people(1500, 6)
    assert NearCopy().compute(look(people(1500, 5), train=train, holdout=holdout)).value > 0.001
    assert NearCopy().compute(look(holdout, train=train, holdout=holdout)).value == 1


def test_a_discrete_table_counts_exact_matches():
    """500,000 possible rows: distances between different rows are coarse, a copy is the only thing below the
    scale."""

    def draw(rows, seed):
        rng = np.random.default_rng(seed)
        return pa.table({f"c{i}": rng.integers(0, 9, rows).astype(str) for i in range(6)})

    train, holdout = draw(1000, 1), draw(1000, 2)
    clean = NearCopy().compute(look(draw(1000, 3), train=train, holdout=holdout, target=None, kinds={}))
    assert clean.value > 0.01
    leaky = NearCopy().compute(
        look(with_copies(draw(1000, 3), train, 0.04), train=train, holdout=holdout, target=None, kinds={})
    )
    assert leaky.value < 1e-3


def test_p_values_are_never_too_small_under_chance():
    p = []
    for seed in range(40):
        pool = people(900, 100 + seed)
        result = NearCopy().compute(
            look(pool.slice(0, 300), train=pool.slice(300, 300), holdout=pool.slice(600), kinds=None)
        )
        p.append(result.value)
    assert np.mean(np.array(p) < 0.05) <= 0.15
    assert min(p) > 0.001


def test_a_group_counts_once():
    """Ten readings a patient, patients kept on one side: rows of a patient are no independent evidence."""

    def patients(first, seed):
        one = people(60, seed)
        rows = one.take(np.repeat(np.arange(60), 10))
        return jittered(rows, seed).append_column(
            "patient", pa.array([f"{first}{i // 10}" for i in range(600)])
        )

    train, holdout = patients("t", 1), patients("h", 2)
    kinds = {**KINDS, "patient": "identifier"}
    near_one = jittered(train.slice(0, 10), 9)
    fake = pa.concat_tables([near_one, patients("s", 3)])
    single = look(fake, train=train, holdout=holdout, kinds=kinds)
    grouped = look(fake, train=train, holdout=holdout, kinds=kinds, group="patient")
    assert NearCopy().compute(single).value < 0.02
    assert NearCopy().compute(grouped).value > 0.05
    assert 40 < NearCopy().compute(grouped).n["train"] <= 60


def test_too_few_holdout_rows():
    assert NearCopy().compute(look(people(50, 5), holdout=people(1, 6))).status == "unavailable"
