"""One loop for every request that may fail for a while: exponential backoff with full jitter, bounded in
time.

Reference: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from synthmill.errors import StorageError

T = TypeVar("T")
FIRST_SECONDS = 0.1
LONGEST_SECONDS = 20.0
WARN_AFTER_TRIES = 4
"""Some two seconds: from then on somebody who watches wants to know why nothing happens."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """What went wrong, in words, and whether asking again may help."""

    message: str
    transient: bool
    error: type[StorageError] = StorageError


def retrying(
    attempt: Callable[[int], T], *, uri: str, seconds: float, explain: Callable[[Exception], Fault | None]
) -> T:
    """What `attempt(tries_before)` returns, tried again until `seconds` have passed.

    Args:
        explain: what an exception means; None: it is not ours, let it through.

    Raises:
        StorageError: one line with the URI and the last fault; at once where asking again can't help.
    """
    started = time.monotonic()
    tries = 0
    while True:
        try:
            return attempt(tries)
        except Exception as raised:
            fault = explain(raised)
            if fault is None:
                raise
            tries += 1
            elapsed = time.monotonic() - started
            pause = random.uniform(0.5, 1.0) * min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(tries, 20))
            if not fault.transient:
                raise fault.error(f"{uri}: {fault.message}") from None
            if elapsed + pause > seconds:
                raise fault.error(
                    f"{uri}: {fault.message}; gave up after {tries} tries in {elapsed:.0f} s"
                ) from None
            level = logging.WARNING if tries == WARN_AFTER_TRIES else logging.INFO
            _log.log(level, "%s: %s; trying again for up to %.0f s", uri, fault.message, seconds - elapsed)
        time.sleep(pause)
