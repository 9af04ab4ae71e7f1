"""The configured list of models, checked before anything is started. Loads no model, and so no torch."""

from synthmill.catalog.store import Store, Version
from synthmill.config import FrozenModel
from synthmill.errors import DataError


class Entry(FrozenModel):
    """One entry of the list of models: a name, and the versions that clients may use."""

    name: str
    numbers: tuple[int, ...] | None
    """Pinned versions; None: the newest, and any other on request."""


def parse_entries(refs: tuple[str, ...]) -> list[Entry]:
    """What the configured list means; pins of one name add up."""
    numbers: dict[str, set[int] | None] = {}
    for ref in refs:
        name, _, number = ref.partition("@")
        known = numbers.setdefault(name, set())
        # The bare name beside a pin allows every version.
        numbers[name] = None if known is None or not number else known | {int(number)}
    return [
        Entry(name=name, numbers=tuple(sorted(pins)) if pins is not None else None)
        for name, pins in numbers.items()
    ]


def check_models(store: Store, refs: tuple[str, ...]) -> None:
    """Refuse, before anything is started, a list that names what is not there or must not be served.

    Raises:
        NotFoundError, DataError: names the model and the reason.
    """
    for entry in parse_entries(refs):
        for ref in [f"{entry.name}@{number}" for number in entry.numbers] if entry.numbers else [entry.name]:
            refuse_unserved(store.resolve("models", ref, field="models"))


def refuse_unserved(version: Version) -> None:
    """DataError for a version that no client may have, or that answers no request for rows."""
    if version.manifest.contains_training_rows:
        raise DataError(
            f"{version.ref} copies training rows; it is a control for privacy checks and is not served",
            field="models",
        )
    if version.manifest.details.get("tables"):
        raise DataError(
            f"{version.ref} is a model of several tables, which are generated together and not served; use"
            " augment --scale",
            field="models",
        )
