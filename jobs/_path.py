"""Makes `synthmill` importable from a clone that was not installed, here and in a submitted job.

`ray job submit` runs the script with the first `python3` on the node's path. When that one has no Ray, the
script starts again with the interpreter that runs this node's Ray.
"""

import importlib.util
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def prepare() -> None:
    """Put this clone's `platform/` first on the path; change to the interpreter that has Ray when this one
    has not."""
    if importlib.util.find_spec("ray") is None:
        _use_interpreter_of_ray()
    sys.path.insert(0, str(ROOT / "platform"))


def _use_interpreter_of_ray() -> None:
    process = os.getppid()
    while process > 1 and "SYNTHMILL_REEXEC" not in os.environ:
        maps = Path(f"/proc/{process}/maps")
        text = maps.read_text() if os.access(maps, os.R_OK) else ""
        found = re.search(r" (/\S+)/lib/python3[.]\d+/site-packages/ray/", text)
        if found and Path(found[1], "bin", "python3").exists():
            python = str(Path(found[1], "bin", "python3"))
            os.execve(python, [python, *sys.argv], {**os.environ, "SYNTHMILL_REEXEC": "1"})
        process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    sys.exit(
        "error: Ray is not installed for this interpreter; run it with the python of the environment that has"
        " synthmill"
    )
