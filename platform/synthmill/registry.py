"""Components are found by file name: `models/ctgan.py` is the model `ctgan`. No table, no import order.

A component file defines exactly one public class below the base of its kind; the base stands in `base.py` of
the same folder, and helpers go elsewhere or start with an underscore. An installed package adds components of
its own with an entry point of the group `synthmill.components` that names a package with the same folders.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from typing import TypeVar

from synthmill.errors import NotFoundError, did_you_mean

BASE_FILE = "base"
ENTRY_POINTS = "synthmill.components"

T = TypeVar("T")


def names(folder: str) -> list[str]:
    """The names of every component in a folder (`models`, `data/readers`), sorted; no component is
    imported."""
    return sorted(_modules(folder))


def load(folder: str, name: str, base: type[T], *, field: str | None = None) -> type[T]:
    """The one subclass of `base` that `<folder>/<name>.py` defines.

    Raises:
        NotFoundError: no such file; names `field` and the closest name.
    """
    known = _modules(folder)
    if name not in known:
        kind = folder.rsplit("/", 1)[-1].rstrip("s")
        raise NotFoundError(f"no {kind} named {name!r}{did_you_mean(name, known)}", field=field)
    module = importlib.import_module(known[name])
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


@functools.cache
def _modules(folder: str) -> dict[str, str]:
    """Component name -> full name of its module. Cached: entry points are read from disk, and every request
    of a server asks."""
    inner = folder.replace("/", ".")
    found: dict[str, str] = {}
    for package in _packages():
        name = f"{package}.{inner}"
        if importlib.util.find_spec(package) is None or not _has(package, inner):
            continue
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            plain = not module.ispkg and module.name != BASE_FILE and not module.name.startswith("_")
            # Our own come first, so that no other package can replace one of them unseen.
            if plain and module.name not in found:
                found[module.name] = f"{name}.{module.name}"
    return found


def forget() -> None:
    """Look at what is installed anew: for tests, which add packages to the path of a running process."""
    _modules.cache_clear()
    _packages.cache_clear()


@functools.cache
def _packages() -> list[str]:
    others = sorted({entry.value for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)})
    return ["synthmill", *others]


def _has(package: str, inner: str) -> bool:
    """Whether a package has that folder; those of other packages need not have all."""
    at = package
    for part in inner.split("."):
        at = f"{at}.{part}"
        if importlib.util.find_spec(at) is None:
            return False
    return True
