"""Weights that two processes share: the steps of one process, to rounding; and weights that both have stay
the same on both."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import safetensors.torch

SCRIPT = Path(__file__).parent / "two_sharing.py"


def script() -> Any:
    """The script as a module: test folders are no packages."""
    spec = spec_from_file_location("two_sharing", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_that_share_the_weights_match_one(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(SCRIPT.parents[1]), str(SCRIPT.parents[2] / "platform")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path), str(rank)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors[-2000:]
    together = safetensors.torch.load((tmp_path / "weights.safetensors").read_bytes())
    module = script()
    start, single = module.fresh().state_dict(), module.alone()
    assert together.keys() == single.keys()
    for name, value in single.items():
        if value.is_floating_point() and not value.equal(start[name]):
            moved = float((value - start[name]).abs().max())
            assert float((value - together[name]).abs().max()) <= 1e-6 + 0.01 * moved, name
