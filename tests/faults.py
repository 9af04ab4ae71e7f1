"""A proxy before an S3 server that fails on purpose: answers errors, says nothing, or cuts the connection."""

import http.client
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Literal

Action = Literal[
    "500",
    "503",
    "403",
    "404-bucket",
    "501",
    "hang",
    "reset",
    "cut-upload",
    "cut-answer",
    "lose-answer",
    "ignore-if-none-match",
]
_ERRORS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "403": (
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    ),
    "501": (501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
    "404-bucket": (404, "NoSuchBucket", "The specified bucket does not exist"),
}
FOR_EVER = 1 << 30


@dataclass
class Proxy:
    """Where it listens, what it does to matching requests and how often; `seen` lists what arrived as "METHOD
    /path"."""

    endpoint: str = ""
    action: Action | None = None
    times: int = 0
    matches: Callable[[str], bool] = lambda request: True
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)

    def fail(self, action: Action, *, times: int = FOR_EVER, on: str = "") -> None:
        """Do that to the next `times` requests whose "METHOD /path" the regular expression `on` matches."""
        with self.lock:
            self.action, self.times = action, times
            self.matches = lambda request: re.search(on, request) is not None

    def work(self) -> None:
        """Fail no more, and let go of requests that hang."""
        with self.lock:
            self.action, self.times = None, 0
        self.seen.clear()
        self.headers.clear()
        self.released.set()
        self.released = threading.Event()

    def next_action(self, request: str) -> Action | None:
        with self.lock:
            self.seen.append(request)
            if self.action is None or self.times <= 0 or not self.matches(request):
                return None
            self.times -= 1
            return self.action


@contextmanager
def faulty_proxy(target: str) -> Iterator[Proxy]:
    """A proxy on a free port that forwards to `target` ("http://host:port")."""
    proxy = Proxy()

    class Handler(_Handler):
        state = proxy
        upstream = target.removeprefix("http://")

    with _Server(("127.0.0.1", 0), Handler) as server:
        proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.work()
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address) -> None:
        """A client that gave up is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Proxy
    upstream: str

    def log_message(self, format, *args) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        self.state.headers.append({name.lower(): value for name, value in self.headers.items()})
        action = self.state.next_action(f"{self.command} {self.path}")
        if action in _ERRORS:
            self._refuse(*_ERRORS[action])
        elif action == "hang":
            self.state.released.wait(60)
            self.close_connection = True
        elif action == "reset":
            self.close_connection = True
        else:
            self._forward(action)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._body()
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _forward(self, action: Action | None) -> None:
        upstream = http.client.HTTPConnection(self.upstream, timeout=30)
        size = int(self.headers.get("Content-Length") or 0)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() in ("connection", "expect") or (
                action == "ignore-if-none-match" and name.lower() == "if-none-match"
            ):
                continue
            upstream.putheader(name, value)
        upstream.endheaders()
        if action == "cut-upload":
            upstream.send(self.rfile.read(size // 2))
            upstream.close()
            self.close_connection = True
            return
        if size:
            upstream.send(self.rfile.read(size))
        self._answer(upstream.getresponse(), action)
        upstream.close()

    def _answer(self, answer: http.client.HTTPResponse, action: Action | None) -> None:
        data = answer.read()
        if action == "lose-answer":
            self.close_connection = True
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length", answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        )
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if action == "cut-answer" else data)
        if action == "cut-answer":
            self.close_connection = True

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))
