"""Synthetic data from generative models: `fit`, `load`, `evaluate`, and the jobs `train` and `augment`.

Importing this package imports nothing else; each public name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthmill.api import (
        augment,
        evaluate,
        evaluate_dataset,
        fit,
        fit_tables,
        load,
        load_tables,
        train,
        tune,
    )
    from synthmill.catalog.store import Version
    from synthmill.config import Recipe
    from synthmill.evaluation.report import Report
    from synthmill.library.model import Model
    from synthmill.library.tables import TablesModel

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Recipe",
    "Report",
    "TablesModel",
    "Version",
    "augment",
    "evaluate",
    "evaluate_dataset",
    "fit",
    "fit_tables",
    "load",
    "load_tables",
    "train",
    "tune",
]
_HOMES = {
    "Model": "library.model",
    "Recipe": "config",
    "Report": "evaluation.report",
    "TablesModel": "library.tables",
    "Version": "catalog.store",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'synthmill' has no attribute {name!r}")
    found: object = getattr(import_module(f"synthmill.{_HOMES.get(name, 'api')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
