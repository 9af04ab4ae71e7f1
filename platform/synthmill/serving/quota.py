"""Rate and row quotas of a key, for the application as a whole: sliding windows in one place, leases to the
replicas.

A replica leases what a request needs and a little more, taken off the window at once, so what is used can
never pass the limit. What is leased and lies idle is a few per cent of the limit over all replicas: they fall
short by no more.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from pydantic import Field

from synthmill.config import FrozenModel
from synthmill.errors import SynthmillError, TooRareError, UserError

SLOTS = 60
SPARE_SHARE = 0.03
"""Of a limit, over all replicas: what may be leased beyond the need."""
LEASE_SECONDS = 2.0
"""After which what lies idle goes back."""


class Quota(FrozenModel):
    """What a key may use; null: any amount."""

    requests_per_minute: int | None = Field(None, ge=1)
    rows_per_minute: int | None = Field(None, ge=1)
    rows_per_day: int | None = Field(None, ge=1)

    def limits(self) -> dict[str, tuple[int, float]]:
        """Name of each limit that is set -> (amount, seconds)."""
        spans = {"requests_per_minute": 60.0, "rows_per_minute": 60.0, "rows_per_day": 86_400.0}
        return {
            name: (limit, seconds)
            for name, seconds in spans.items()
            if (limit := getattr(self, name)) is not None
        }


class QuotaError(SynthmillError):
    """A key has used up its quota; `retry_seconds` is when there is room again."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(message)


class Refusal(NamedTuple):
    """Which limit has no room, and for how long."""

    limit: str
    seconds: float


class Window:
    """How much was taken in the last `seconds`, to a sixtieth of them."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.slot_seconds = seconds / SLOTS
        self.used = 0
        self._slots: deque[list[int]] = deque()

    def room(self, now: float) -> int:
        """What may still be taken."""
        slot = int(now / self.slot_seconds)
        while self._slots and self._slots[0][0] <= slot - SLOTS:
            self.used -= self._slots.popleft()[1]
        return max(0, self.limit - self.used)

    def take(self, now: float, amount: int) -> None:
        """Take; there must be room."""
        slot = int(now / self.slot_seconds)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0])
        self._slots[-1][1] += amount
        self.used += amount

    def give_back(self, amount: int) -> None:
        """Undo what was taken last."""
        # The newest first: what was leased a moment ago is what comes back.
        for slot in reversed(self._slots):
            undone = min(amount, slot[1])
            slot[1] -= undone
            self.used -= undone
            amount -= undone

    def seconds_until(self, now: float, amount: int) -> float:
        """Time until there is room for an amount that is not above the limit."""
        free, wait = self.room(now), 0.0
        for slot, taken in self._slots:
            if free >= amount:
                break
            free += taken
            wait = max((slot + SLOTS) * self.slot_seconds - now, self.slot_seconds / 10)
        return wait


class Ledger:
    """The windows of every key. One of these for the whole application."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], Window] = {}
        self._lessees: dict[str, dict[str, float]] = {}

    def lease(
        self, key_id: str, quota: Quota, needs: dict[str, int], replica: str, unused: dict[str, int]
    ) -> dict[str, int] | Refusal:
        """Take back what is `unused`; then take what the request needs, plus a little, off all windows, or
        off none.

        Returns: what was taken of each limit, at least the need.
        """
        now = self._clock()
        self.give_back(key_id, unused)
        windows = {}
        for name, (limit, seconds) in quota.limits().items():
            windows[name] = self._windows.setdefault((key_id, name), Window(limit, seconds))
            # A changed quota applies at once, to what was used under the old one.
            windows[name].limit = limit
        # All are looked at before one is charged: a refused request uses up nothing.
        for name, window in windows.items():
            if window.room(now) < needs[name]:
                return Refusal(name, window.seconds_until(now, needs[name]))
        sharers = self._sharers(key_id, replica, now)
        taken = {}
        for name, window in windows.items():
            spare = int(window.limit * SPARE_SHARE / sharers)
            taken[name] = min(window.room(now), needs[name] + max(0, spare - needs[name]))
            window.take(now, taken[name])
        return taken

    def give_back(self, key_id: str, unused: dict[str, int]) -> None:
        """Return what a replica leased and did not use."""
        for name, amount in unused.items():
            if amount and (key_id, name) in self._windows:
                self._windows[key_id, name].give_back(amount)

    def _sharers(self, key_id: str, replica: str, now: float) -> int:
        """Replicas that used this key in the time a lease lasts."""
        lessees = self._lessees.setdefault(key_id, {})
        lessees[replica] = now
        for name in [name for name, seen in lessees.items() if now - seen > LEASE_SECONDS]:
            del lessees[name]
        return len(lessees)


Lease = Callable[[str, Quota, dict[str, int], dict[str, int]], Awaitable[dict[str, int] | Refusal]]
"""(key id, quota, needs, unused) -> what the ledger says."""


class _Lease:
    def __init__(self, amounts: dict[str, int], expires: float) -> None:
        self.amounts = amounts
        self.expires = expires


class Meter:
    """A replica's side: charges requests to leases, and leases more when they don't suffice."""

    def __init__(self, lease: Lease, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._renewing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def charged(self, key_id: str, quota: Quota, *, rows: int, field: str) -> AsyncIterator[None]:
        """Charge one request of so many rows around its work; work that fails gives its rows back, and stays
        a request. Rows that were generated in vain, as hardly any met a condition, are not given back."""
        await self.charge(key_id, quota, rows=rows, field=field)
        try:
            yield
        except TooRareError:
            raise
        except Exception:
            self._refund(key_id, {name: rows for name in quota.limits() if name.startswith("rows")})
            raise

    async def charge(self, key_id: str, quota: Quota, *, rows: int, field: str = "num_rows") -> None:
        """Charge one request of so many rows; `field` is where the client stated them.

        Raises:
            UserError: more rows than the quota ever has.
            QuotaError: no room now.
        """
        limits = quota.limits()
        if not limits:
            return
        needs = {name: 1 if name.startswith("requests") else rows for name in limits}
        for name, (limit, _) in limits.items():
            # Waiting would not help: the client needs another answer than "later".
            if needs[name] > limit:
                raise UserError(f"{rows:,} rows are more than this key's {name} of {limit:,}", field=field)
        if self._from_lease(key_id, needs):
            return
        # Of many requests of one key that run out together, one renews, and the others use its lease.
        async with self._renewing[key_id]:
            if not self._from_lease(key_id, needs):
                await self._renew(key_id, quota, needs)

    async def _renew(self, key_id: str, quota: Quota, needs: dict[str, int]) -> None:
        granted = await self._lease(key_id, quota, needs, self._take_unused(key_id))
        if isinstance(granted, Refusal):
            limit = quota.limits()[granted.limit][0]
            raise QuotaError(
                f"this key's {granted.limit} of {limit:,} are used up", max(1, round(granted.seconds + 0.5))
            )
        # Of requests that failed while the ledger answered.
        refunded = self._take_unused(key_id)
        amounts = {name: granted[name] - need + refunded.get(name, 0) for name, need in needs.items()}
        self._leases[key_id] = _Lease(amounts, self._clock() + LEASE_SECONDS)

    def _refund(self, key_id: str, amounts: dict[str, int]) -> None:
        """Back to the lease; without one they go to the ledger with the next request or report."""
        lease = self._leases.setdefault(key_id, _Lease({}, self._clock()))
        for name, amount in amounts.items():
            lease.amounts[name] = lease.amounts.get(name, 0) + amount

    def expired(self) -> dict[str, dict[str, int]]:
        """Leases that lay idle too long: key id -> amounts to return to the ledger."""
        now = self._clock()
        idle = [key_id for key_id, lease in self._leases.items() if lease.expires <= now]
        return {key_id: self._take_unused(key_id) for key_id in idle}

    def _from_lease(self, key_id: str, needs: dict[str, int]) -> bool:
        lease = self._leases.get(key_id)
        if (
            lease is None
            or lease.expires <= self._clock()
            or any(lease.amounts.get(name, 0) < need for name, need in needs.items())
        ):
            return False
        for name, need in needs.items():
            lease.amounts[name] -= need
        return True

    def _take_unused(self, key_id: str) -> dict[str, int]:
        lease = self._leases.pop(key_id, None)
        return lease.amounts if lease else {}
