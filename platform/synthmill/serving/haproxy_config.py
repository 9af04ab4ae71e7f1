"""HAProxy's configuration beyond what Ray Serve writes: rewrites Ray's configuration, then becomes HAProxy.

Only the standard library: haproxy.py copies this file into the wrapper's folder, where it outlives the
package's own place.

Requests pass HAProxy twice. HAProxy 2.8 closes a client's persistent connection without an answer when the server's
was reset under the request, because a browser would send again what failed on a used connection; other
clients don't. So a second frontend, before Ray's, takes the clients' connections and opens one for each
request to Ray's, where every request is then a connection's first and gets a 503 instead.
"""

import os
import re
import resource
import sys
from pathlib import Path

FRONT, HOP, RAYS_FRONT = "synthmill-front", "synthmill-hop", "http_frontend"
GRPC_FRONT = "frontend grpc_frontend"
# What has no side effect may be sent to another replica, for which HAProxy must hold all of it; a job must be
# sent once. A replica writes an answer's head and its body one after the other, and can die in between; a
# body that fits HAProxy's buffer is waited for. Ray Serve refuses in plain text.
INNER = """\
    bind unix@{socket} mode 600 accept-proxy
    acl synthmill_generates path_reg /v1/(models/[^/]+/rows|images/generations)$
    http-request wait-for-body time 60s if synthmill_generates
    http-request disable-l7-retry unless { method GET HEAD OPTIONS } or synthmill_generates
    http-response set-var(txn.synthmill_bytes) res.body_size if { res.hdr(content-length) -m found } { res.body_size lt 12000 }
    acl synthmill_small var(txn.synthmill_bytes) -m found
    http-response wait-for-body time 60s if synthmill_small
    acl synthmill_short res.body_len,sub(txn.synthmill_bytes) lt 0
    http-response return status 503 default-errorfiles if synthmill_small synthmill_short
    acl synthmill_plain res.hdr(content-type) -m beg text/plain
    http-response return status 408 default-errorfiles if { status 408 } synthmill_plain
    http-response return status 429 default-errorfiles if { status 429 } synthmill_plain
    http-response return status 500 default-errorfiles if { status 500 } synthmill_plain
    http-response return status 503 default-errorfiles if { status 503 } synthmill_plain"""
# Status -> whose page answers it.
PAGES = {400: 400, 404: 404, 408: 408, 429: 429, 500: 500, 502: 503, 503: 503, 504: 503}
SPARE_CONNECTIONS = 200
SPARE_FILES = 500
"""For statistics, metrics and health checks."""


def rewrite(config: str, *, pages: Path, most_files: int) -> str:
    """Ray's configuration with our changes; one that has them already stays as it is.

    `pages` is the folder of the error pages (`503.http`), `most_files` the process's limit of open files.

    Raises:
        ValueError: the configuration is not of the form that Ray 2.60 writes, or something in it would still
        listen where it should not.
    """
    if f"frontend {FRONT}" in config:
        return config
    sections = re.split(r"(?m)^(?=\S)", config)
    binds = [_bind(section) for section in sections if _title(section) == f"frontend {RAYS_FRONT}"]
    admin = re.search(r"(?m)^\s*stats socket (\S+)", config)
    most = re.search(r"(?m)^\s*maxconn (\d+)", config)
    if len(binds) != 1 or admin is None or most is None:
        raise ValueError("this Ray's HAProxy configuration has another form than Ray 2.60's")
    socket = f"{Path(admin[1]).parent}/hop"
    # A request has two connections, and each has a file at either end and half a pipe; HAProxy does not start
    # with too few of them.
    clients = max(1, min(int(most[1]), (most_files - SPARE_FILES) // 5 - SPARE_CONNECTIONS // 2))
    total = 2 * clients + SPARE_CONNECTIONS
    # Without any application this is the time before the first, when nothing can be said of a path.
    elsewhere = 404 if re.search(r"(?m)^ +use_backend ", config) else 503
    changed = [
        _change(section, socket=socket, pages=pages, maxconn=total, elsewhere=elsewhere)
        for section in sections
    ]
    for section in changed:
        # Our own front may be reached from elsewhere, and Ray's for gRPC, which exists when somebody configured
        # it.
        if _title(section) == GRPC_FRONT:
            continue
        for bind in re.findall(r"(?m)^ +bind (\S+)", section):
            if not bind.startswith(("127.0.0.1:", "unix@")):
                raise ValueError(f"{_title(section)} listens on {bind}")
    return "".join([*changed, *_front(binds[0], socket, clients)])


def _title(section: str) -> str:
    return " ".join(section.partition("\n")[0].split())


def _bind(section: str) -> str:
    """What a section listens on: the words after its one `bind`."""
    binds = re.findall(r"(?m)^ +bind (.+)$", section)
    if len(binds) != 1:
        raise ValueError(f"{_title(section)}: one bind expected, not {len(binds)}")
    return str(binds[0]).strip()


def _change(section: str, *, socket: str, pages: Path, maxconn: int, elsewhere: int) -> str:
    title = _title(section)
    if title == "global":
        return re.sub(r"(?m)^( +maxconn) \d+", rf"\g<1> {maxconn}", section)
    if title == "defaults":
        # In quotes, whatever the folder is called.
        folder = str(pages).replace("\\", "\\\\").replace('"', '\\"')
        files = [f'    errorfile {status} "{folder}/{page}.http"\n' for status, page in PAGES.items()]
        return "".join([re.sub(r"(?m)^ +errorfile .*\n", "", section), *files])
    if title == f"frontend {RAYS_FRONT}":
        # A function, as `re` would read backslashes of a path in a template.
        return re.sub(r"(?m)^ +bind .+", lambda _: INNER.replace("{socket}", socket), section)
    if title == "backend default_backend":
        return f"{title}\n    http-request return status {elsewhere} default-errorfiles\n"
    if title in ("frontend prometheus", "listen stats"):
        return re.sub(r"(?m)^( +bind )[^:\s]*:", r"\g<1>127.0.0.1:", section)
    return section


def _front(bind: str, socket: str, clients: int) -> list[str]:
    return [
        f"frontend {FRONT}\n",
        f"    bind {bind}\n",
        f"    maxconn {clients}\n",
        "    # Ray's frontend logs each request, and counts it.\n",
        "    no log\n",
        f"    default_backend {HOP}\n",
        f"backend {HOP}\n",
        "    option http-server-close\n",
        "    retry-on conn-failure\n",
        "    load-server-state-from-file none\n",
        f"    server rays unix@{socket} send-proxy-v2\n",
    ]


def main(binary: str, pages: Path, arguments: list[str]) -> None:
    """Rewrite the file after `-f`, in place: Ray recognises its processes by that name. Then run HAProxy in
    this process."""
    config = Path(arguments[arguments.index("-f") + 1])
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    most_files = sys.maxsize if most_files == resource.RLIM_INFINITY else most_files
    try:
        config.write_text(rewrite(config.read_text(), pages=pages, most_files=most_files))
    except ValueError as fault:
        # Plainly Ray's: it answers, if with other errors and more open ports than ours.
        sys.stderr.write(f"synthmill: HAProxy runs with Ray's own configuration: {fault}\n")
    os.execv(binary, [binary, *arguments])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
