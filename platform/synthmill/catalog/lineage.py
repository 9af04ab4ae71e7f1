"""Where a version came from and what was made from it, within one store."""

import contextlib

from synthmill.catalog.manifest import Kind, Parent
from synthmill.catalog.store import KINDS, Store, Version
from synthmill.errors import NotFoundError

_KIND_OF_PARENT: dict[str, Kind] = {"dataset": "datasets", "model": "models", "report": "reports"}


def parents(store: Store, version: Version) -> list[tuple[Parent, Version | None]]:
    """What the version was made from; None for what this store does not (or no longer) have."""
    origins = []
    for parent in version.manifest.parents:
        origin = None
        # Sources and recipes are no versions.
        if kind := _KIND_OF_PARENT.get(parent.kind):
            with contextlib.suppress(NotFoundError):
                origin = store.resolve(kind, parent.ref, field="parents")
        origins.append((parent, origin))
    return origins


def ancestors(store: Store, version: Version) -> list[Version]:
    """Every version that this one was made from, directly or not, nearest first."""
    related: dict[tuple[str, str], Version] = {}
    # Breadth first, so nearest first; each once, as two ways can lead to the same version.
    waiting = [version]
    while waiting:
        for _, parent in parents(store, waiting.pop(0)):
            if parent is not None and (parent.kind, parent.ref) not in related:
                related[parent.kind, parent.ref] = parent
                waiting.append(parent)
    return list(related.values())


def descendants(store: Store, version: Version) -> list[Version]:
    """Every version made from this one, directly or not, nearest first."""
    # Manifests name parents, not children, so every manifest of the store is read, once.
    everything = [other for kind in KINDS for other in store.open_versions(kind)]
    related: dict[tuple[str, str], Version] = {}
    waiting = [(version.kind, version.ref)]
    while waiting:
        wanted = waiting.pop(0)
        for other in everything:
            origins = {(_KIND_OF_PARENT.get(p.kind), p.ref) for p in other.manifest.parents}
            if wanted in origins and (other.kind, other.ref) not in related:
                related[other.kind, other.ref] = other
                waiting.append((other.kind, other.ref))
    return list(related.values())
