"""What precedes every endpoint: whose request it is, how much it sends, and what becomes of errors. Pure
ASGI, no copies of bodies.

Nothing passes without a key but the two health checks, the form that takes one and its style. A browser keeps
the key in a cookie that scripts can't read and that other sites can't use.
"""

import json
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthmill.errors import ConditionError, NotFoundError, SynthmillError, UserError
from synthmill.serving.auth import AuthError
from synthmill.serving.batching import BusyError
from synthmill.serving.negotiation import NotAcceptableError
from synthmill.serving.quota import QuotaError
from synthmill.serving.service import Service
from synthmill.serving.web import sign_in_page

COOKIE = "synthmill_key"
FORM_PATHS = ("/sign-in", "/sign-out")
OPEN_PATHS = ("/healthz", "/readyz", "/sign-in", "/page/style.css")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
JSON_BODY = ("application/json",)
FORM_BODY = ("application/x-www-form-urlencoded",)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cache-control": b"no-store",
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src"
        b" 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


def error_body(message: str, kind: str, param: str | None) -> dict[str, Any]:
    """Every error has OpenAI's shape, so that its client library raises it as itself."""
    return {"error": {"message": message, "type": kind, "param": param, "code": kind}}


def problem(
    status: int, message: str, kind: str, *, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(error_body(message, kind, param), status, headers=headers)


def answer_fault(fault: SynthmillError) -> tuple[JSONResponse, str]:
    """The answer to something raised on purpose, and the reason it is counted under."""
    message = str(fault)
    if isinstance(fault, AuthError):
        kind = "invalid_api_key" if fault.status == 401 else "permission_denied"
        headers = {"WWW-Authenticate": 'Bearer realm="synthmill"'} if fault.status == 401 else None
        return (
            problem(fault.status, message, kind, param=message.partition(":")[0], headers=headers),
            fault.reason,
        )
    if isinstance(fault, QuotaError | BusyError):
        kind = "quota_exceeded" if isinstance(fault, QuotaError) else "overloaded"
        reason = "quota" if isinstance(fault, QuotaError) else "queue"
        return problem(429, message, kind, headers={"Retry-After": str(fault.retry_seconds)}), reason
    if isinstance(fault, UserError):
        status = (
            404 if isinstance(fault, NotFoundError) else 406 if isinstance(fault, NotAcceptableError) else 422
        )
        kind = (
            "condition"
            if isinstance(fault, ConditionError)
            else "not_found"
            if status == 404
            else "invalid_request"
        )
        # Conditions name the flag of the command line; here it is a field.
        param = fault.field.removeprefix("--") if fault.field else None
        return problem(status, message.removeprefix("--"), kind, param=param), "input"
    return (
        problem(
            503,
            "the store can't be read at the moment; try again",
            "unavailable",
            headers={"Retry-After": "5"},
        ),
        "store",
    )


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._posts = 0
        """Requests that are being answered and mean work."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No route takes a websocket; passing one on would go round the key.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        sender = _Sender(send, self._service, scope)
        refused = self._admit(scope)
        if refused is not None:
            await refused(scope, receive, sender)
        elif _means_work(scope):
            self._posts += 1
            try:
                await self._app(scope, self._bounded(receive), sender)
            finally:
                self._posts -= 1
        else:
            await self._app(scope, self._bounded(receive), sender)

    def _admit(self, scope: Scope) -> Response | None:
        """None for a request that may go on; its key is then in the scope's state."""
        headers, path = Headers(scope=scope), scope["path"]
        state = scope.setdefault("state", {})
        # A page of another site may resolve its own name to 127.0.0.1; its requests name that host.
        if self._service.args.insecure_local and _host(headers) not in LOCAL_HOSTS:
            return problem(
                403,
                "Host: this server has no keys and answers on the loopback interface only",
                "permission_denied",
                param="Host",
            )
        if path not in OPEN_PATHS:
            try:
                state["key"] = self._service.find_key(_token(headers))
            except AuthError as fault:
                self._reject(fault.reason)
                # People get the form that takes a key, programs an error.
                if path == "/" and "text/html" in headers.get("accept", ""):
                    return HTMLResponse(
                        sign_in_page(None), 401, headers={"WWW-Authenticate": 'Bearer realm="synthmill"'}
                    )
                return answer_fault(fault)[0]
        return self._check_body(scope["method"], path, headers) or self._check_room(scope)

    def _check_room(self, scope: Scope) -> Response | None:
        """Whether one more request can be taken; what costs nothing always can, so that a full replica can
        still be looked at."""
        if not _means_work(scope) or self._posts < self._service.args.limits.max_ongoing_requests:
            return None
        self._reject("queue")
        message = f"{self._posts} requests wait already, the most this replica takes"
        return answer_fault(BusyError(message, self._service.queue.retry_seconds()))[0]

    def _check_body(self, method: str, path: str, headers: Headers) -> Response | None:
        if method != "POST":
            return None
        accepted = FORM_BODY if path in FORM_PATHS else JSON_BODY
        sent = headers.get("content-type", "").partition(";")[0].strip().lower()
        # A browser sends forms and text for any other site, but JSON only where this server agreed to it.
        if sent not in accepted and path != "/sign-out":
            self._reject("input")
            return problem(
                415,
                f"Content-Type: expected {accepted[0]}, got {sent or 'nothing'!r}",
                "invalid_request",
                param="Content-Type",
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._service.args.limits.max_body_bytes:
            self._reject("limit")
            return problem(413, self._limit_message(), "invalid_request", param="body")
        return None

    def _limit_message(self) -> str:
        return f"body: at most {self._service.args.limits.max_body_bytes:,} bytes"

    def _bounded(self, receive: Receive) -> Receive:
        """Bodies without a length are counted as they come."""
        left = self._service.args.limits.max_body_bytes

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                self._reject("limit")
                raise HTTPException(413, self._limit_message())
            return message

        return bounded

    def _reject(self, reason: str) -> None:
        self._service.metrics.add("synthmill_rejections_total", 1, reason=reason)


class _Sender:
    """Adds the headers that every answer has, and counts it."""

    def __init__(self, send: Send, service: Service, scope: Scope) -> None:
        self._send = send
        self._metrics = service.metrics
        self._scope = scope
        self._started = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((name, value) for name, value in HEADERS.items() if name not in names),
            ]
            # The route's pattern, not the path: every path that somebody tries would be a series of its own.
            endpoint = getattr(self._scope.get("route"), "path", "") or "none"
            model = self._scope.get("state", {}).get("model", "")
            labels = {"endpoint": endpoint, "model": model, "status": str(message["status"])}
            self._metrics.add("synthmill_requests_total", 1, **labels)
            seconds = time.perf_counter() - self._started
            self._metrics.observe("synthmill_request_seconds", seconds, endpoint=endpoint)
        await self._send(message)


def _means_work(scope: Scope) -> bool:
    """Whether a request takes one of the replica's places; without a key nobody can."""
    return scope["method"] == "POST" and scope["path"] not in (*OPEN_PATHS, *FORM_PATHS)


def _token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    if "x-api-key" in headers:
        return headers["x-api-key"]
    # http.cookies drops everything from the first cookie that is not to its taste, and other applications of
    # the host set what they like.
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _host(headers: Headers) -> str:
    host = headers.get("host", "")
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def validation_message(errors: list[dict[str, Any]]) -> tuple[str, str | None]:
    """(one line that names the field, the field) from pydantic's or FastAPI's first error."""
    error = errors[0]
    path = [str(part) for part in error["loc"] if part not in ("body", "path", "query", "header")]
    if error["type"] == "json_invalid":
        return "body: not valid JSON", "body"
    field = ".".join(path) or "body"
    shown = json.dumps(error.get("input"), default=str)[:80]
    if error["type"] == "missing":
        return f"{field}: is required", field
    if error["type"] == "extra_forbidden":
        return f"{field[:80]}: no such field", field[:80]
    text = error["msg"].removeprefix("Value error, ")
    return f"{field}: {text[:1].lower()}{text[1:]}, got {shown}", field
