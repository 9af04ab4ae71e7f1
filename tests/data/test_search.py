import numpy as np
import pytest

from synthmill.data.search import Finder

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.normal(size=5000),
    "heavy tails": np.exp(6 * RNG.normal(size=5000)) * RNG.choice([-1, 1], 5000),
    "integers": RNG.integers(-50, 2000, 5000),
    "the widest integers": RNG.integers(-(2**63), 2**63 - 1, 5000),
    "far from zero": RNG.random(5000) + 1e9,
    "infinities": np.append(RNG.normal(size=4998), [np.inf, -np.inf]),
    "zeros": np.append(RNG.normal(size=4998), [0.0, -0.0]),
    "one number": np.full(5000, 3.0),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("knots", [1, 2, 200, 3000])
def test_it_finds_what_a_binary_search_finds(name: str, knots: int) -> None:
    values = COLUMNS[name]
    numbers = np.unique(RNG.permutation(values)[:knots])
    ends = np.array([values.min(), values.max(), *numbers[:3]], values.dtype)
    if values.dtype == np.int64:
        ends = np.append(ends, [np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    asked = np.concatenate([values, ends])
    assert Finder(numbers)(asked).tolist() == np.searchsorted(numbers, asked, side="right").tolist()


def test_among_none_everything_stands_first() -> None:
    assert Finder(np.zeros(0))(np.array([1.0, -1.0])).tolist() == [0, 0]
