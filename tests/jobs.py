"""Running commands in this process, and reading the line they end with."""

import json
from typing import Any

import pytest

from synthmill.cli import run


def last_line(output: str) -> dict[str, Any]:
    """The closing JSON line of a job's standard output."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, closing line, standard error) of `synthmill ...`."""
    capsys.readouterr()
    code = run(list(arguments))
    captured = capsys.readouterr()
    return code, last_line(captured.out), captured.err
