"""Getting results out of Ray with our own errors intact."""

from typing import Any

import ray
from ray.exceptions import RayTaskError

from synthmill.errors import SynthmillError


def get(calls: list[Any]) -> list[Any]:
    """Results of Ray calls; an error that a worker raised on purpose comes out as itself, without Ray's
    wrapping."""
    try:
        return list(ray.get(calls))
    except RayTaskError as fault:
        if isinstance(fault.cause, SynthmillError):
            raise fault.cause from None
        raise


def line_of(fault: BaseException) -> str:
    """The first line of what an exception says."""
    text = str(fault).strip()
    return text.splitlines()[0] if text else type(fault).__name__
