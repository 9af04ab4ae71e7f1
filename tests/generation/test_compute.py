"""Which machines compute the same bits is seen from what they compute."""

import os
import subprocess
import sys

import pytest
import torch

from synthmill.generation.compute import kernels_digest

LOOK = "from synthmill.generation.compute import kernels_digest; print(kernels_digest('cpu'))"


def digest_of_another(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_processes_with_any_number_of_threads_agree() -> None:
    assert digest_of_another(OMP_NUM_THREADS="2") == kernels_digest("cpu")


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="knows no vectors")
def test_other_kernels_are_told_apart() -> None:
    assert digest_of_another(ATEN_CPU_CAPABILITY="default") != kernels_digest("cpu")
