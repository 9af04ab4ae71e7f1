"""One loop for every request that may fail for a while: exponential backoff with jitter, bounded in time.

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
"""Some two seconds: by then a user who watches wants to know why nothing happens."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """What went wrong, in words, and whether another try may help."""

    message: str
    transient: bool
    error: type[StorageError] = StorageError


def retrying(
    attempt: Callable[[int], T], *, uri: str, seconds: float, explain: Callable[[Exception], Fault | None]
) -> T:
    """The result of `attempt(tries_before)`, tried again until `seconds` have passed.

    Args:
        explain: what an exception means; None: not a storage fault, it is raised as it is.

    Raises:
        StorageError: one line with the URI and the last fault; at once where another try can't help.
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
            if not fault.transient:
                raise fault.error(f"{uri}: {fault.message}") from None
            tries += 1
            elapsed = time.monotonic() - started
            # Jitter spreads the retries of many workers that failed together. The exponent is bounded, as
            # 2.0**1024 overflows and a job may be told to retry for days.
            pause = random.uniform(0.5, 1.0) * min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(tries, 20))
            if elapsed + pause > seconds:
                gave_up = f"gave up after {tries} tries in {elapsed:.0f} s"
                raise fault.error(f"{uri}: {fault.message}; {gave_up}") from None
            level = logging.WARNING if tries == WARN_AFTER_TRIES else logging.INFO
            _log.log(level, "%s: %s; trying again for up to %.0f s", uri, fault.message, seconds - elapsed)
        time.sleep(pause)
