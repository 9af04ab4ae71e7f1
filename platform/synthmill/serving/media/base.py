"""What a kind of data answers over HTTP: one file a kind, loaded by its name.

Every kind answers rows; one that is more than rows (images, sound) adds a route, a request and a description
of its own in its file.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from synthmill import registry
from synthmill.serving.formats import FORMATS, Format

if TYPE_CHECKING:
    from fastapi import FastAPI

    from synthmill.serving.models import Served
    from synthmill.serving.service import Service

FOLDER = "serving/media"


class Media:
    """It has no state: the class itself is used. A kind that answers rows alone states two words."""

    modality: ClassVar[str]
    """The kind as clients read it in a model's description."""
    noun: ClassVar[str]
    """What its models generate, in the plural, for messages."""
    forms: ClassVar[tuple[type[Format], ...]] = tuple(FORMATS.values())
    """What `POST /v1/models/NAME/rows` can answer with; the first one when the client does not care."""

    @classmethod
    def add_routes(cls, app: "FastAPI", service: "Service") -> None:
        """Routes that this kind has beside the rows; access.py has what they share with all others."""

    @classmethod
    def size(cls, served: "Served") -> str | None:
        """The size of one sample, as text; None where samples have none."""
        return None

    @classmethod
    def row_cost(cls, served: "Served") -> int:
        """What generating one sample costs, in rows of a table; a replica's queue is bounded by it."""
        return 1

    @classmethod
    def details(cls, served: "Served") -> dict[str, Any]:
        """What else `GET /v1/models/NAME` says of this kind, JSON data; its keys are new ones."""
        return {}


def media_of(kind: str) -> type[Media]:
    """The door of a kind of data.

    Raises:
        NotFoundError: this server has no such file.
    """
    return registry.load(FOLDER, kind, Media, field="data.kind")


def all_media() -> list[type[Media]]:
    """Every kind that there is, by name."""
    return [media_of(kind) for kind in registry.names(FOLDER)]
