"""What a command imports before its first step: torch while Ray starts, metrics once rows are written."""

import asyncio
import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn", "scipy", "pandas", "synthmill.evaluation")


def imported_by(module: str) -> set[str]:
    """Which of `HEAVY` are there after the import, in an interpreter of its own."""
    script = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["synthmill.runtime.train", "synthmill.runtime.augment"])
def test_ray_does_not_wait_for_torch(module: str) -> None:
    assert imported_by(module) == set()


def test_a_process_that_writes_rows_imports_no_metrics() -> None:
    assert imported_by("synthmill.runtime.writers") == {"torch"}


def test_a_replica_bounds_the_spin_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch reads it once, when it loads: a call after that changes nothing."""
    from synthmill.serving import app

    def called() -> None:
        raise InterruptedError

    monkeypatch.setattr(app.threads, "bound_spin", called)
    replica = object.__new__(app.Replica)
    with pytest.raises(InterruptedError):
        asyncio.run(app.Replica.__init__(replica, {}, {}))
    # Ray Serve closes a replica that never began as well.
    asyncio.run(app.Replica.__del__(replica))
