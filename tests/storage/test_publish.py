"""Claims, heartbeats and take-over; no test waits for a heartbeat to grow old."""

import json
import os
import threading
from datetime import UTC, datetime

import pytest

from pythons import start_python
from synthmill.errors import ClaimLostError, StorageError
from synthmill.storage import owner, publish
from synthmill.storage.folder import Folder
from synthmill.storage.publish import Lease, Timing, acquire, finished, seize, state_of, states

LIVE = Timing(heartbeat_seconds=30.0, stale_seconds=3600.0)
DEAD = Timing(heartbeat_seconds=30.0, stale_seconds=-10.0)
"""Every heartbeat counts as too old."""


def _acquire(parent: Folder, key: str, timing: Timing = LIVE) -> Lease:
    return acquire(parent, states(parent), run_key=key, run_id=f"run-{key}", timing=timing)


def _commit(lease: Lease, run_id: str = "r", run_key: str = "k") -> bool:
    return lease.commit({"run_id": run_id, "run_key": run_key})


def test_numbers_follow_each_other(every_store: str) -> None:
    parent = Folder(every_store)
    first, second = _acquire(parent, "a"), _acquire(parent, "b")
    assert (first.number, second.number) == (1, 2)
    assert first.folder == parent.child("1")
    assert [(state.number, state.committed, state.claim) for state in states(parent)] == [
        (1, False, 1),
        (2, False, 1),
    ]


def test_a_live_owner_keeps_its_version(every_store: str) -> None:
    parent = Folder(every_store)
    first = _acquire(parent, "same")
    with first.alive():
        assert _acquire(parent, "same").number == 2
        first.check()


def test_a_silent_owner_of_the_same_key_is_replaced(every_store: str) -> None:
    parent = Folder(every_store)
    first = _acquire(parent, "same")
    first.beat()
    second = _acquire(parent, "same", DEAD)
    assert (second.number, second.claim) == (1, 2)
    second.check()
    with pytest.raises(ClaimLostError, match="another job took this version over"):
        first.check()
    with pytest.raises(ClaimLostError):
        _commit(first)
    assert not state_of(first.folder, 1).committed
    assert _commit(second)


def test_a_silent_owner_of_another_key_is_left_alone(every_store: str) -> None:
    parent = Folder(every_store)
    _acquire(parent, "a").beat()
    assert _acquire(parent, "b", DEAD).number == 2


def test_only_one_takes_over(every_store: str) -> None:
    parent = Folder(every_store)
    _acquire(parent, "same").beat()
    seen = states(parent)
    racers = [acquire(parent, seen, run_key="same", run_id=str(n), timing=DEAD) for n in range(2)]
    assert [(racer.number, racer.claim) for racer in racers] == [(1, 2), (2, 1)]


def test_an_owner_that_said_goodbye_is_replaced_at_once(every_store: str) -> None:
    parent = Folder(every_store)
    first = _acquire(parent, "same")
    with pytest.raises(KeyboardInterrupt), first.alive():
        raise KeyboardInterrupt
    assert _acquire(parent, "same").claim == 2


def test_clocks_of_machines_do_not_count(every_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is a day ahead finds a live owner alive."""
    parent = Folder(every_store)
    first = _acquire(parent, "same")
    first.beat()

    class Skewed(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2099, 1, 1, tzinfo=tz or UTC)

    monkeypatch.setattr(publish, "datetime", Skewed)
    assert _acquire(parent, "same").number == 2


def test_a_heartbeat_in_the_past_by_the_stores_clock_is_stale(tmp_path) -> None:
    parent = Folder(tmp_path)
    first = _acquire(parent, "same", Timing())
    first.beat()
    an_hour_ago = datetime.now().timestamp() - 3600
    os.utime(tmp_path / "1" / "_heartbeat.1.json", (an_hour_ago, an_hour_ago))
    assert _acquire(parent, "same", Timing()).claim == 2


def test_the_heartbeat_is_renewed_and_notices_a_take_over(every_store: str) -> None:
    parent = Folder(every_store)
    first = acquire(
        parent, [], run_key="k", run_id="r", timing=Timing(heartbeat_seconds=0.01, stale_seconds=3600.0)
    )
    beaten, lost = threading.Event(), threading.Event()
    beat, check = first.beat, first.check

    def spy_beat(**options: bool) -> None:
        beat(**options)
        if first._beats >= 3:
            beaten.set()

    def spy_check() -> None:
        try:
            check()
        except ClaimLostError:
            lost.set()
            raise

    first.beat, first.check = spy_beat, spy_check  # type: ignore[method-assign]
    with first.alive():
        assert beaten.wait(30)
        assert _acquire(parent, "k", DEAD).claim == 2
        assert lost.wait(30)
    assert not first.folder.read_json("_heartbeat.1.json")["released"]


def test_a_heartbeat_that_can_not_be_written_does_not_end_the_job(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire(Folder(tmp_path), [], run_key="k", run_id="r", timing=Timing(heartbeat_seconds=0.01))
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise StorageError("the store is away")

    with lease.alive():
        monkeypatch.setattr(lease, "check", fail)
        assert failed.wait(30)
        monkeypatch.undo()
        assert _commit(lease)


def test_a_version_is_committed_once(every_store: str) -> None:
    lease = _acquire(Folder(every_store), "k")
    assert _commit(lease, "ours")
    assert _commit(lease, "ours"), "a lost reply: the manifest that is there is ours"
    assert not _commit(lease, "theirs")
    assert lease.folder.read_json("_manifest.json")["run_id"] == "ours"


def test_a_committed_version_is_not_touched_again(every_store: str) -> None:
    lease = acquire(Folder(every_store), [], run_key="k", run_id="r", timing=Timing(heartbeat_seconds=0.01))
    with lease.alive():
        assert _commit(lease)
        threads = [
            thread for thread in threading.enumerate() if thread.name == f"heartbeat {lease.folder.name}"
        ]
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        beats = lease.folder.read_json("_heartbeat.1.json")
    assert lease.folder.read_json("_heartbeat.1.json") == beats
    assert not beats["released"]


def test_finished_finds_the_newest_of_the_key(every_store: str) -> None:
    parent = Folder(every_store)
    for key in ("a", "b", "a", "c"):
        _commit(_acquire(parent, key), run_key=key)
    assert finished(parent, "a", states(parent)) == 3
    assert finished(parent, "z", states(parent)) is None


def test_seize_takes_only_what_nobody_owns(every_store: str) -> None:
    parent = Folder(every_store)
    lease = _acquire(parent, "a")
    lease.beat()
    assert seize(lease.folder, 1, run_id="gc", timing=LIVE) is None
    assert seize(lease.folder, 1, run_id="gc", timing=DEAD) is not None
    committed = _acquire(parent, "b")
    _commit(committed)
    assert seize(committed.folder, 2, run_id="gc", timing=DEAD) is None


def test_a_newer_claim_is_refused_by_name(every_store: str) -> None:
    parent = Folder(every_store)
    lease = _acquire(parent, "k")
    lease.folder.write_json("_claim.1.json", {"format": "synthmill.claim/2"})
    with pytest.raises(StorageError, match=r"1/_claim\.1\.json: has format 'synthmill\.claim/2'"):
        _acquire(parent, "k")


CLAIMER = """
import sys
from synthmill.storage.folder import Folder
from synthmill.storage.publish import acquire, states
parent = Folder(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    print(acquire(parent, states(parent), run_key=sys.argv[2], run_id="r").number, flush=True)
sys.stdin.readline()
"""


def test_claimers_in_other_processes_get_different_versions(every_store: str) -> None:
    claimers = [start_python(CLAIMER, every_store, "same", 5) for _ in range(2)]
    try:
        for claimer in claimers:
            assert claimer.stdout.readline() == "ready\n"
        for claimer in claimers:
            claimer.stdin.write("go\n")
            claimer.stdin.flush()
        numbers = [int(claimer.stdout.readline()) for _ in range(5) for claimer in claimers]
    finally:
        for claimer in claimers:
            claimer.communicate("end\n", timeout=60)
    assert sorted(numbers) == list(range(1, 11))


def test_a_killed_owner_on_this_machine_is_replaced_at_once(every_store: str) -> None:
    if owner.this_process() is None:
        pytest.skip("this system does not say when a process started")
    claimer = start_python(CLAIMER, every_store, "same", 1)
    claimer.stdout.readline()
    claimer.stdin.write("go\n")
    claimer.stdin.flush()
    assert claimer.stdout.readline() == "1\n"
    parent = Folder(every_store)
    assert _acquire(parent, "same").number == 2, "it lives"
    claimer.kill()
    claimer.communicate()
    taken = _acquire(parent, "same")
    assert (taken.number, taken.claim) == (1, 2)


@pytest.mark.parametrize("described", [None, {}, {"machine": "another", "pid": 1, "started": 1}])
def test_owners_elsewhere_are_never_declared_dead(described) -> None:
    assert not owner.has_ended(described)


def test_a_process_that_proc_hides_is_not_declared_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = owner.this_process()
    if mine is None:
        pytest.skip("this system does not say when a process started")
    monkeypatch.setattr(owner, "_started", lambda pid: None)
    assert not owner.has_ended(mine)


def test_folders_that_are_no_numbers_are_no_versions(every_store: str) -> None:
    parent = Folder(every_store)
    for name in ("\u00b2", "\u0663", "07", "0", "x"):
        parent.write_bytes(f"{name}/_claim.1.json", b"{}")
    parent.write_bytes("12/_claim.1.json", b"{}")
    assert [state.number for state in publish.states(parent)] == [12]


def test_a_process_id_that_was_used_again_is_another_process() -> None:
    mine = owner.this_process()
    if mine is None:
        pytest.skip("this system does not say when a process started")
    assert not owner.has_ended(json.loads(json.dumps(mine)))
    assert owner.has_ended({**mine, "started": mine["started"] - 1})
