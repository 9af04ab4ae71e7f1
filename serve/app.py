"""The application for Ray Serve's own commands, from a clone: `serve run serve.app:build store=...
models=adult@1,digits`."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

PLATFORM = str(Path(__file__).resolve().parent.parent / "platform")
if find_spec("synthmill") is None:
    sys.path.insert(0, PLATFORM)
    # Ray's workers inherit it when `serve run` starts Ray.
    os.environ["PYTHONPATH"] = os.pathsep.join([PLATFORM, *filter(None, [os.environ.get("PYTHONPATH")])])
# `serve run` imports this before it starts Ray. On a busy machine Ray's proxy, with its workers' low
# priority, is not ready within 5 s, is killed and begins again, for ever; `synthmill serve` sets the same.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")

from synthmill.serving.app import build  # noqa: E402

__all__ = ["build"]
