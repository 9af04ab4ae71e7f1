"""Profiles: kinds, bounds that are no one's value, decimals and steps."""

import numpy as np
import pyarrow as pa
import pytest

from synthmill.config import DataConfig
from synthmill.data.profile import ColumnProfile, TableProfile, profile_table
from synthmill.data.schema import ColumnRule
from synthmill.errors import DataError
from tables import customers

CONFIG = DataConfig(source="x")


def column(values: object, rule: ColumnRule | None = None) -> ColumnProfile:
    return profile_table(pa.table({"x": values}), {"x": rule} if rule else {}, CONFIG).column("x")


def test_kinds_of_customers() -> None:
    kinds = {profile.name: profile.kind for profile in profile_table(customers(500), {}, CONFIG).columns}
    assert kinds == {
        "customer": "identifier",
        "age": "integer",
        "plan": "categorical",
        "visits": "integer",
        "spend": "numeric",
        "city": "categorical",
        "joined": "date",
        "last_seen": "datetime",
        "member": "boolean",
        "churned": "boolean",
        "country": "constant",
    }


def test_bounds_are_means_of_five() -> None:
    profile = column(np.concatenate([[-1000.0, 1e6], np.arange(1.0, 99.0) / 7]))
    assert profile.minimum == pytest.approx((-1000 + 1 / 7 + 2 / 7 + 3 / 7 + 4 / 7) / 5)
    assert profile.maximum == pytest.approx((1e6 + (98 + 97 + 96 + 95) / 7) / 5)
    assert column(np.arange(100)).minimum == 2
    assert column(np.arange(100), ColumnRule(minimum=-5, maximum=200)).minimum == -5


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        (np.arange(100) / 100, 2),
        (np.arange(100) * 0.1, 1),
        (np.arange(100.0), 0),
        ((np.arange(100) / 100).astype(np.float32), 2),
        (np.random.default_rng(0).random(100), None),
        (np.array([0.07, 0.29, 1234567.01] * 9), 2),
    ],
)
def test_decimals(values: np.ndarray, decimals: int | None) -> None:
    assert column(values).decimals == decimals


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.arange(100), 1),
        (np.arange(100) * 500, 100),
        (pa.array(np.arange(100) * 86_400_000, pa.timestamp("ms")), 86_400_000),
        (pa.array(np.arange(100) * 1_800_000_000, pa.timestamp("us")), 1_800_000_000),
        (pa.array(np.arange(100), pa.timestamp("ms")), 1),
        (pa.array(np.arange(100, dtype=np.int32)).cast(pa.date32()), 1),
    ],
)
def test_steps(values: object, step: int) -> None:
    assert column(values).step == step


def test_a_profile_survives_json() -> None:
    profile = profile_table(customers(500), {}, CONFIG)
    assert TableProfile.model_validate_json(profile.model_dump_json()) == profile
    with pytest.raises(DataError, match=r"^data\.target: no column named 'plam'; did you mean 'plan'"):
        profile.column("plam", field="data.target")
