"""The helpers of the tests that start a server: what they tell when the server refuses."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from served_process import Server


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[str]:
    """The URL of a server that gives these answers (status, body) in turn."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_refusal_is_not_a_metric_of_zero() -> None:
    refusals = [(status, '{"error": {"message": "try again"}}\n') for status in (503, 429)]
    told = 'synthmill_jobs{status="done"} 1\nsynthmill_jobs{status="running"} 2\nsynthmill_jobs_of_others 9\n'
    with answering(*refusals, (200, told)) as url, subprocess.Popen(["true"]) as process:
        assert Server(process, url, Path()).metric("synthmill_jobs") == 3
