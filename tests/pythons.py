"""Python processes of our own, which import the package from this source tree."""

import os
import subprocess
import sys
from pathlib import Path

import synthmill

SOURCE_ROOT = str(Path(synthmill.__file__).parents[1])


def start_python(code: str, *arguments: object) -> subprocess.Popen:
    """A running process whose standard input and output are text pipes."""
    environment = {**os.environ, "PYTHONPATH": SOURCE_ROOT}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def run_python(code: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
    """What the code prints; `before` is a command that runs it. CalledProcessError when it fails."""
    environment = {**os.environ, "PYTHONPATH": SOURCE_ROOT}
    command = [*before, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
