"""Mistakes of a caller of `synthmill.tune`: one line that names the argument, before anything is written."""

from pathlib import Path

import numpy as np
import pytest

import synthmill
from synthmill.errors import UserError
from tables import customers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": ["tvae", "tvea"]}, r"^tune\.models: no model named 'tvea'; did you mean 'tvae'\?$"),
        ({"model": ["auto", "tvae"]}, r"^tune\.models: auto stands for all that it chooses from: "),
        ({"model": "auto", "max_trials": 0}, r"^tune\.max_trials: "),
        ({"model": "tvea"}, r"^tune\.models: no model named 'tvea'"),
        ({"model": ["tvae", "tvae"]}, r"^tune\.models: names 'tvae' twice$"),
        ({"time_budget": "soon"}, r"^time_budget: expected a time such as 90s"),
        ({"time_budget": -5}, r"^tune\.budget_seconds: "),
        ({"max_trials": 0}, r"^tune\.max_trials: "),
        ({"space": {"embedding_dim": [np.int64(8)]}}, r"^space: takes plain values alone"),
        ({"sampler": "tpee"}, r"^tune\.sampler: "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        synthmill.tune(customers(50), target="churned", store=str(tmp_path / "store"), **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()
