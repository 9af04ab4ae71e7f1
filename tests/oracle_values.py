"""The inputs and values that `oracles/make_oracles.py` wrote."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER = Path(__file__).parent / "oracles"
KINDS = {"age": "numeric", "pay": "numeric", "city": "categorical", "smoker": "categorical"}


def tables() -> dict[str, Any]:
    """`real` and `fake` as Arrow tables, `cloud` and `other` as lists of points."""
    raw = json.loads((FOLDER / "tables.json").read_text())
    return {**raw, **{name: pa.table(raw[name]) for name in ("real", "fake")}}


def values() -> dict[str, Any]:
    """Values by package."""
    found: dict[str, Any] = json.loads((FOLDER / "values.json").read_text())
    return found
