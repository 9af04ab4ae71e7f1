"""The form that takes a key, and signing out. Whoever sends it has no key yet, so it must block nothing and
break nothing."""

import asyncio
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.requests import ClientDisconnect

from synthmill.serving.auth import AuthError
from synthmill.serving.guard import COOKIE
from synthmill.serving.service import Service
from synthmill.serving.web import sign_in_page

BODY_SECONDS = 10.0
MOST_FIELDS = 4


def add_sign_in(app: FastAPI, service: Service) -> None:
    """The routes /sign-in and /sign-out."""

    @app.post("/sign-in", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        try:
            body = await asyncio.wait_for(request.body(), BODY_SECONDS)
            fields = parse_qs(body.decode(errors="replace"), max_num_fields=MOST_FIELDS)
            token = fields.get("key", [""])[0].strip()
            service.find_key(token)
        except TimeoutError:
            return _again("the form did not arrive; send it again", 408, {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)
        except ValueError:
            return _again("key: the only field of this form", 400)
        except AuthError as fault:
            return _again(str(fault).partition(": ")[2], 401)
        answer = RedirectResponse("/", 303)
        if not service.args.insecure_local:
            # Behind a gateway that ends TLS the connection itself is plain.
            secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
        return answer

    @app.post("/sign-out", include_in_schema=False)
    async def sign_out() -> Response:
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _again(error: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(sign_in_page(error), status, headers, media_type="text/html")
