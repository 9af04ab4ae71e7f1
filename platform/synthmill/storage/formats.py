"""Every file we write states `format: synthmill.<kind>/<n>`.

All past formats are read; an unknown newer one is refused, as it may mean something else by the same keys.
"""

import re
from typing import Any

from synthmill.errors import StorageError

_FORMAT = re.compile(r"^synthmill\.([a-z_]+)/([0-9]+)$")


def format_name(kind: str, number: int) -> str:
    """The text that a file of this kind states."""
    return f"synthmill.{kind}/{number}"


def check_format(data: Any, kind: str, *, newest: int, uri: str) -> int:
    """The format's number in parsed JSON.

    Raises:
        StorageError: another kind, none, or newer than `newest`; names the file and both formats.
    """
    stated = data.get("format") if isinstance(data, dict) else None
    match = _FORMAT.match(stated) if isinstance(stated, str) else None
    if match is None or match.group(1) != kind:
        raise StorageError(f"{uri}: expected format {format_name(kind, newest)!r}, got {stated!r}")
    number = int(match.group(2))
    if number > newest:
        fix = f"newer than {format_name(kind, newest)!r}; upgrade synthmill to read it"
        raise StorageError(f"{uri}: has format {stated!r}, {fix}")
    return number
