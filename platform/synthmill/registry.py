"""Components are found by file name: `models/ctgan.py` is the model `ctgan`. No table, no import order.

A component file defines exactly one public class below the base of its kind; helpers go to `nn/` or start
with an underscore.
"""

import importlib
import pkgutil
from typing import Any

from synthmill.errors import NotFoundError, did_you_mean

BASE_FILE = "base"


def names(kind: str) -> list[str]:
    """The names of every component in the folder `kind` (`models`, `metrics`), sorted; nothing is imported
    but the folder."""
    package = importlib.import_module(f"synthmill.{kind}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    return sorted(name for name in found if name != BASE_FILE and not name.startswith("_"))


def load(kind: str, name: str, base: type, *, field: str | None = None) -> Any:
    """The one subclass of `base` that `synthmill/<kind>/<name>.py` defines.

    Raises:
        NotFoundError: no such file; names `field` and the closest name.
    """
    known = names(kind)
    if name not in known:
        raise NotFoundError(f"no {kind.rstrip('s')} named {name!r}{did_you_mean(name, known)}", field=field)
    module = importlib.import_module(f"synthmill.{kind}.{name}")
    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    assert len(found) == 1, f"{module.__name__} must define exactly one public {base.__name__}, found {found}"
    return found[0]
