"""Constraints that a schema file states: ours, or those of SDV's metadata and constraint dictionaries, whose
format its public documentation describes (docs.sdv.dev, "Predefined constraints")."""

from collections.abc import Mapping
from typing import Any

import yaml

from synthmill.config import DataConfig, StorageConfig, parse_model
from synthmill.constraint_config import ConstraintConfig
from synthmill.data.files import read_text
from synthmill.errors import DataError, RecipeError, did_you_mean
from synthmill.frozen import FrozenModel

FIELD = "data.schema"
_RELATIONS = {
    ">": ("minimum", True),
    ">=": ("minimum", False),
    "<": ("maximum", True),
    "<=": ("maximum", False),
}


class _Stated(FrozenModel):
    constraints: tuple[ConstraintConfig, ...]


def with_stated(config: DataConfig, settings: StorageConfig | None = None) -> DataConfig:
    """The `data` section with the constraints of its schema file, behind its own.

    Raises:
        DataError: an entry that is none of ours and none of SDV's; names it.
    """
    if config.schema_file is None:
        return config
    text = read_text(config.schema_file, settings or StorageConfig(), field=FIELD)
    own = config.constraints or ()
    # Resolving a recipe twice adds nothing.
    new = [one for one in stated_constraints(text) if one not in own]
    return config.model_copy(update={"constraints": (*own, *new)}) if new else config


def stated_constraints(text: str) -> tuple[ConstraintConfig, ...]:
    """The constraints in the text of a schema file.

    Raises:
        DataError: an entry that can't be read.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        # Who reads the columns says so.
        return ()
    if not isinstance(raw, dict):
        return ()
    listed = raw.get("constraints")
    tables = raw.get("tables")
    if listed is None and isinstance(tables, dict) and len(tables) == 1:
        table = next(iter(tables.values()))
        listed = table.get("constraints") if isinstance(table, dict) else None
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise DataError("`constraints` must be a list", field=FIELD)
    entries = [_ours(entry, f"{FIELD}.constraints.{number}") for number, entry in enumerate(listed)]
    try:
        return parse_model(_Stated, {"constraints": entries}, prefix=FIELD).constraints
    except RecipeError as fault:
        raise DataError(str(fault)) from None


def _ours(entry: Any, field: str) -> Any:
    """An entry of SDV's as one of ours; ours as it is."""
    if not isinstance(entry, dict) or "type" in entry:
        return entry
    stated = entry.get("constraint_class") or entry.get("constraint_name") or entry.get("constraint")
    given = entry.get("constraint_parameters") or entry.get("parameters")
    if not isinstance(stated, str):
        raise DataError("needs a `type`, or SDV's `constraint_class`", field=field)
    # Earlier metadata wrote where in SDV the class stands.
    name = stated.rpartition(".")[2]
    if name not in _SDV:
        raise DataError(f"{name!r} is no constraint that is read{did_you_mean(name, _SDV)}", field=field)
    skipped = ("constraint_class", "constraint_name", "constraint", "table_name")
    parameters = given if isinstance(given, dict) else {k: v for k, v in entry.items() if k not in skipped}
    try:
        return _SDV[name](parameters)
    except KeyError as missing:
        raise DataError(f"{name} lacks {missing.args[0]!r}", field=field) from None


def _inequality(given: Mapping[str, Any]) -> dict[str, Any]:
    columns = [given["low_column_name"], given["high_column_name"]]
    return {"type": "inequality", "columns": columns, "strict": bool(given.get("strict_boundaries", False))}


def _scalar_inequality(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["relation"] not in _RELATIONS:
        raise DataError(f"relation {given['relation']!r} is none of > >= < <=", field=FIELD)
    side, strict = _RELATIONS[given["relation"]]
    return {"type": "range", "column": given["column_name"], side: given["value"], "strict": strict}


def _range(given: Mapping[str, Any]) -> dict[str, Any]:
    columns = [given[f"{place}_column_name"] for place in ("low", "middle", "high")]
    return {"type": "range", "columns": columns, "strict": bool(given.get("strict_boundaries", True))}


def _scalar_range(given: Mapping[str, Any]) -> dict[str, Any]:
    bounds = {"minimum": given["low_value"], "maximum": given["high_value"]}
    strict = bool(given.get("strict_boundaries", True))
    return {"type": "range", "column": given["column_name"], **bounds, "strict": strict}


def _sign(side: str) -> Any:
    def entry(given: Mapping[str, Any]) -> dict[str, Any]:
        strict = bool(given.get("strict_boundaries", False))
        return {"type": "range", "column": given["column_name"], side: 0, "strict": strict}

    return entry


def _of_columns(kind: str) -> Any:
    def entry(given: Mapping[str, Any]) -> dict[str, Any]:
        names = given["column_names"] if "column_names" in given else [given["column_name"]]
        return {"type": kind, "columns": names}

    return entry


def _increments(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "fixed_increments",
        "column": given["column_name"],
        "step": given["increment_value"],
    }


_SDV: dict[str, Any] = {
    "Inequality": _inequality,
    "ScalarInequality": _scalar_inequality,
    "Range": _range,
    "ScalarRange": _scalar_range,
    "Positive": _sign("minimum"),
    "Negative": _sign("maximum"),
    "FixedCombinations": _of_columns("fixed_combinations"),
    "OneHotEncoding": _of_columns("one_hot"),
    "Unique": _of_columns("unique"),
    "FixedIncrements": _increments,
}
