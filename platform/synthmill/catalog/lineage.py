"""Where a version came from and what was made from it, within one store."""

from synthmill.catalog.manifest import Kind, Parent
from synthmill.catalog.store import KINDS, Store, Version
from synthmill.errors import NotFoundError

_KIND_OF_PARENT: dict[str, Kind] = {"dataset": "datasets", "model": "models", "report": "reports"}


def parents(store: Store, version: Version) -> list[tuple[Parent, Version | None]]:
    """What the version was made from; None for what the store does not (or no longer) hold."""
    return [(parent, _find(store, parent)) for parent in version.manifest.parents]


def ancestors(store: Store, version: Version) -> list[Version]:
    """Every version that this one was made from, directly or not, nearest first."""
    found: dict[tuple[str, str], Version] = {}
    waiting = [version]
    while waiting:
        for _, parent in parents(store, waiting.pop(0)):
            if parent is not None and (parent.kind, parent.ref) not in found:
                found[parent.kind, parent.ref] = parent
                waiting.append(parent)
    return list(found.values())


def descendants(store: Store, version: Version) -> list[Version]:
    """Every version made from this one, directly or not, nearest first. Reads every manifest of the store
    once."""
    everything = [other for kind in KINDS for other in store.open_versions(kind)]
    found: dict[tuple[str, str], Version] = {}
    waiting = [(version.kind, version.ref)]
    while waiting:
        wanted = waiting.pop(0)
        for other in everything:
            if wanted in _made_from(other) and (other.kind, other.ref) not in found:
                found[other.kind, other.ref] = other
                waiting.append((other.kind, other.ref))
    return list(found.values())


def _made_from(version: Version) -> set[tuple[Kind, str]]:
    return {
        (_KIND_OF_PARENT[parent.kind], parent.ref)
        for parent in version.manifest.parents
        if parent.kind in _KIND_OF_PARENT
    }


def _find(store: Store, parent: Parent) -> Version | None:
    if parent.kind not in _KIND_OF_PARENT:
        return None
    try:
        return store.resolve(_KIND_OF_PARENT[parent.kind], parent.ref, field="parents")
    except NotFoundError:
        return None
