import asyncio
import contextlib

import pytest

from synthmill.errors import TooRareError, UserError
from synthmill.serving.batching import BusyError
from synthmill.serving.quota import LEASE_SECONDS, Ledger, Meter, Quota, QuotaError, Refusal, Window


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def meters(ledger: Ledger, clock: Clock, count: int) -> list[Meter]:
    """As many replicas, each asking the one ledger."""

    def meter(replica: str) -> Meter:
        async def ask(key_id, quota, needs, unused):
            await asyncio.sleep(0)
            return ledger.lease(key_id, quota, needs, replica, unused)

        return Meter(ask, clock)

    return [meter(f"replica-{i}") for i in range(count)]


async def accepted(replicas: list[Meter], quota: Quota, requests: int, rows: int) -> int:
    """How many of so many requests at once, dealt out evenly, get through."""

    async def one(i: int) -> bool:
        try:
            await replicas[i % len(replicas)].charge("key", quota, rows=rows)
        except QuotaError:
            return False
        return True

    return sum(await asyncio.gather(*(one(i) for i in range(requests))))


@pytest.mark.parametrize("replicas", [1, 2, 5])
@pytest.mark.parametrize(
    ("quota", "rows", "expected"),
    [
        (Quota(requests_per_minute=300), 1, 300),
        (Quota(requests_per_minute=7), 1, 7),
        (Quota(rows_per_minute=100_000), 130, 769),
        (Quota(rows_per_day=50_000, requests_per_minute=100_000), 1000, 50),
        (Quota(rows_per_minute=1_000, requests_per_minute=20), 10, 20),
    ],
)
def test_the_application_as_a_whole_keeps_the_quota(replicas: int, quota: Quota, rows: int, expected: int):
    clock = Clock()
    got = asyncio.run(accepted(meters(Ledger(clock), clock, replicas), quota, 2 * expected + 50, rows))
    assert 0.9 * expected <= got <= expected


def test_a_minute_later_there_is_room_again_and_not_before():
    async def story() -> list[int]:
        clock = Clock()
        replicas = meters(Ledger(clock), clock, 2)
        counts = []
        for seconds in (0, 30, 31):
            clock.now += seconds
            for replica in replicas:
                replica.expired()
            counts.append(await accepted(replicas, Quota(requests_per_minute=100), 300, 1))
        return counts

    first, second, third = asyncio.run(story())
    assert 90 <= first <= 100
    assert first + second <= 100
    assert 90 <= third <= 100


def test_idle_leases_go_back_to_the_others():
    async def story() -> int:
        clock = Clock()
        ledger = Ledger(clock)
        idle, busy = meters(ledger, clock, 2)
        quota = Quota(rows_per_minute=1000)
        await idle.charge("key", quota, rows=1)
        clock.now += LEASE_SECONDS + 0.1
        for key_id, unused in idle.expired().items():
            ledger.give_back(key_id, unused)
        return await accepted([busy], quota, 1100, 1)

    assert asyncio.run(story()) == 999


def test_a_refusal_says_which_limit_and_when():
    async def story() -> QuotaError:
        clock = Clock()
        (meter,) = meters(Ledger(clock), clock, 1)
        quota = Quota(requests_per_minute=2)
        await meter.charge("key", quota, rows=1)
        await meter.charge("key", quota, rows=1)
        with pytest.raises(QuotaError, match="requests_per_minute of 2") as fault:
            await meter.charge("key", quota, rows=1)
        clock.now += fault.value.retry_seconds
        await meter.charge("key", quota, rows=1)
        return fault.value

    assert 1 <= asyncio.run(story()).retry_seconds <= 61


def test_more_rows_than_a_quota_ever_has_is_the_clients_mistake():
    async def story() -> None:
        (meter,) = meters(Ledger(), Clock(), 1)
        await meter.charge("key", Quota(rows_per_day=10), rows=11)

    with pytest.raises(UserError, match="num_rows: 11 rows are more than this key's rows_per_day of 10"):
        asyncio.run(story())


def test_refused_work_gives_its_rows_back_and_stays_a_request():
    async def story() -> None:
        clock = Clock()
        ledger = Ledger(clock)
        first, second = meters(ledger, clock, 2)
        quota = Quota(rows_per_day=10, requests_per_minute=4)
        for meter in (first, first, second):
            with pytest.raises(BusyError):
                async with meter.charged("key", quota, rows=10, field="num_rows"):
                    raise BusyError("full", 1)
            clock.now += LEASE_SECONDS
            for key_id, unused in meter.expired().items():
                ledger.give_back(key_id, unused)
        async with second.charged("key", quota, rows=10, field="num_rows"):
            pass
        with pytest.raises(QuotaError, match="requests_per_minute of 4"):
            await second.charge("key", quota, rows=1)

    asyncio.run(story())


def test_rows_generated_in_vain_are_used_up():
    async def story() -> None:
        clock = Clock()
        [meter] = meters(Ledger(clock), clock, 1)
        quota = Quota(rows_per_day=10)
        with pytest.raises(TooRareError):
            async with meter.charged("key", quota, rows=10, field="num_rows"):
                raise TooRareError("only 0 of 262,144 generated rows satisfied it", field="where")
        with pytest.raises(QuotaError, match="rows_per_day of 10"):
            await meter.charge("key", quota, rows=1)

    asyncio.run(story())


def test_rows_given_back_while_a_lease_is_renewed_are_kept():
    async def story() -> dict[str, dict[str, int]]:
        clock, refused = Clock(), asyncio.Event()

        async def ask(key_id, quota, needs, unused):
            if needs["rows_per_day"] == 2:
                refused.set()
                await task
            return needs

        async def refuse() -> None:
            with contextlib.suppress(BusyError):
                async with meter.charged("key", quota, rows=3, field="num_rows"):
                    await refused.wait()
                    raise BusyError("full", 1)

        meter, quota = Meter(ask, clock), Quota(rows_per_day=10)
        task = asyncio.create_task(refuse())
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await meter.charge("key", quota, rows=2)
        clock.now += LEASE_SECONDS
        return meter.expired()

    assert asyncio.run(story()) == {"key": {"rows_per_day": 3}}


def test_keys_do_not_share_windows():
    ledger = Ledger(Clock())
    quota = Quota(requests_per_minute=1)
    assert ledger.lease("a", quota, {"requests_per_minute": 1}, "r", {}) == {"requests_per_minute": 1}
    assert ledger.lease("b", quota, {"requests_per_minute": 1}, "r", {}) == {"requests_per_minute": 1}
    assert isinstance(ledger.lease("a", quota, {"requests_per_minute": 1}, "r", {}), Refusal)


def test_nothing_is_taken_when_one_limit_refuses():
    ledger = Ledger(Clock())
    quota = Quota(requests_per_minute=10, rows_per_minute=5)
    assert isinstance(
        ledger.lease("a", quota, {"requests_per_minute": 1, "rows_per_minute": 6}, "r", {}), Refusal
    )
    taken = ledger.lease("a", quota, {"requests_per_minute": 10, "rows_per_minute": 5}, "r", {})
    assert taken == {"requests_per_minute": 10, "rows_per_minute": 5}


def test_a_key_without_quota_never_asks():
    async def ask(*_: object) -> dict[str, int]:
        raise AssertionError("asked")

    asyncio.run(Meter(ask).charge("key", Quota(), rows=10**9))


def test_a_window_slides():
    window = Window(10, 60.0)
    window.take(600.0, 4)
    window.take(630.0, 6)
    assert window.room(659.0) == 0
    assert window.seconds_until(630.0, 3) == pytest.approx(30.0)
    assert window.seconds_until(630.0, 5) == pytest.approx(60.0)
    assert window.room(661.0) == 4
