"""Ray that starts slowly, or whose first try dies, on this machine: the job says so and goes on."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fault.conftest import train_arguments
from jobs import last_line
from processes import start_job, titled, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]


def test_a_node_that_takes_longer_than_ray_waits_starts_all_the_same(source: Path, tmp_path: Path) -> None:
    job = start_job("train", *train_arguments(source, tmp_path))
    [raylet] = until(lambda: titled(job.pid, "raylet/raylet"), what="Ray's node process")
    os.kill(raylet, signal.SIGSTOP)
    # Ray gives up after 30 seconds.
    threading.Timer(36, os.kill, (raylet, signal.SIGCONT)).start()
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "Ray takes long to start: this machine is busy" in output
    assert last_line(output)["model"] == "customers@1"


def test_a_node_that_dies_while_it_starts_is_started_again(source: Path, tmp_path: Path) -> None:
    job = start_job("train", *train_arguments(source, tmp_path))
    [raylet] = until(lambda: titled(job.pid, "raylet/raylet"), what="Ray's node process")
    os.kill(raylet, signal.SIGKILL)
    began = time.monotonic()
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, (output, errors, time.monotonic() - began)
    assert "trying again (1 of 2 times)" in output
    assert last_line(output)["model"] == "customers@1"
