"""What routes of every kind of data share: which key a request has, which model it may use, and the labels of
what a model generated."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from synthmill.catalog.provenance import TRAINED_ALGORITHMIC_MEDIA
from synthmill.serving.auth import Key, Scope
from synthmill.serving.models import Served
from synthmill.serving.service import Service

ModelName = Annotated[
    str, Path(description="`name` (newest or pinned version) or `name@number`", max_length=200)
]


def _allow(scope: Scope) -> Any:
    """A dependency: the request's key, which must have the scope."""

    async def allowed(request: Request) -> Key:
        # Left there by the guard, which answered every request without one.
        key: Key = request.state.key
        key.check(scope)
        return key

    return Depends(allowed)


MayGenerate = Annotated[Key, _allow("generate")]
MayRunJobs = Annotated[Key, _allow("jobs")]
MayReadMetrics = Annotated[Key, _allow("metrics")]


def usable_models(service: Service, key: Key) -> list[str]:
    """Names that the key may use."""
    return [name for name in service.models.names if key.models is None or name in key.models]


async def find_served(service: Service, request: Request, key: Key, ref: str) -> Served:
    """The loaded model, if there is one of that name and the key may use it."""
    name = ref.partition("@")[0]
    # For a name that nobody serves, "no such model" and the closest one help more than "may not use".
    if name in service.models.names:
        key.check("generate", model=name)
    served = await service.models.get(ref, among=usable_models(service, key))
    request.state.model = served.ref
    return served


def label_headers(served: Served) -> dict[str, str]:
    """Headers of everything that a model generated."""
    return {
        "X-AI-Generated": "true",
        "X-Digital-Source-Type": TRAINED_ALGORITHMIC_MEDIA,
        "X-Synthmill-Model": served.ref,
        "X-Synthmill-Digest": served.generator.digest,
    }
