"""moto's S3 server with an atomic create-if-absent: its own looks for the key and then puts it, and another
request can come between.

Four writers at once found two winners in 1 of 150 rounds of `If-None-Match: *`, which no real S3 does.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class AtomicCreates:
    """A WSGI application whose conditional requests run one at a time."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in environment:
            return self.application(environment, start_response)
        with self.lock:
            return self.application(environment, start_response)


if __name__ == "__main__":
    moto = AtomicCreates(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, moto, threaded=True, request_handler=MotoRequestHandler)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()
