"""The HTTP interface: routes, and what they document. Errors and admission are in guard.py, work is in
service.py."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

import synthmill
from synthmill.errors import SynthmillError
from synthmill.serving.access import (
    MayGenerate,
    MayReadMetrics,
    MayRunJobs,
    ModelName,
    find_served,
    label_headers,
    usable_models,
)
from synthmill.serving.describe import details, summary
from synthmill.serving.formats import FORMATS
from synthmill.serving.guard import Guard, answer_fault, error_body, problem, validation_message
from synthmill.serving.jobs import JobRequest, new_job
from synthmill.serving.media.base import all_media
from synthmill.serving.negotiation import negotiate
from synthmill.serving.requests import RowsRequest
from synthmill.serving.service import Service, check_limits
from synthmill.serving.sign_in import add_sign_in
from synthmill.serving.streams import ClosingResponse
from synthmill.serving.web import ASSETS, PAGES, page_file

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for status, text in {
        400: "Not readable",
        401: "No valid key",
        403: "The key lacks the scope, or may not use the model",
        404: "No such thing",
        405: "Wrong method",
        406: "No such format",
        413: "Too large",
        415: "Not JSON",
        422: "A field is wrong; the message names it",
        429: "Queue full or quota used up; see Retry-After",
        503: "Not possible at the moment; see Retry-After",
    }.items()
}
ROW_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows, in the format that Accept names",
        "content": {name: {"schema": {"type": "string"}} for name in FORMATS},
    }
}
ROW_FORMATS[200]["content"]["application/json"] = {"schema": {"type": "object"}}


def create_app(service: Service) -> FastAPI:
    """The application around a service that the caller starts and closes."""
    app = FastAPI(
        title="synthmill",
        version=synthmill.__version__,
        description=(
            "Synthetic rows and images from trained generators. Everything it sends is AI-generated and"
            " says so."
        ),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=ERRORS,
        lifespan=_no_lifespan,  # The replica starts the service before there is an application.
    )
    _add_models(app, service)
    _add_rows(app, service)
    for media in all_media():
        media.add_routes(app, service)
    _add_jobs(app, service)
    _add_operations(app, service)
    _add_pages(app)
    add_sign_in(app, service)
    _add_errors(app, service)
    _document(app)
    app.add_middleware(Guard, service=service)
    return app


@asynccontextmanager
async def _no_lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def _add_models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", tags=["models"])
    async def list_models(key: MayGenerate) -> dict[str, Any]:
        """Models that this key may use, and what else it may do."""
        names = usable_models(service, key)
        about_key = {"name": key.name, "scopes": list(key.scopes), "needed": not service.args.insecure_local}
        return {
            "object": "list",
            "data": [summary(name, service.models.newest(name)) for name in names],
            "key": about_key,
        }

    @app.get("/v1/models/{name}", tags=["models"])
    async def show_model(name: ModelName, request: Request, key: MayGenerate) -> dict[str, Any]:
        """Card, columns, accepted conditions and quality verdict of one model."""
        served = await find_served(service, request, key, name)
        limits = {"max_rows": service.args.limits.max_rows, "max_images": service.args.limits.max_images}
        return details(served, served.card, limits=limits)


def _add_rows(app: FastAPI, service: Service) -> None:
    @app.post("/v1/models/{name}/rows", tags=["generate"], response_class=Response, responses=ROW_FORMATS)
    async def generate_rows(
        name: ModelName,
        body: RowsRequest,
        request: Request,
        key: MayGenerate,
    ) -> Response:
        """Synthetic rows. Large answers stream; closing the connection stops the work."""
        check_limits(body, service.args)
        served = await find_served(service, request, key, name)
        form = negotiate(", ".join(request.headers.getlist("accept")) or None, served.media.forms)
        async with service.meter.charged(key.id, key.quota, rows=body.num_rows, field="num_rows"):
            answer = await service.rows(served, body, form)
        filename = f"{served.name}-{served.version.number}-synthetic.{form.suffix}"
        headers = {
            **label_headers(served),
            "Content-Disposition": f'inline; filename="{filename}"',
            "Vary": "Accept",
        }
        if isinstance(answer, bytes):
            return Response(answer, media_type=form.media_type, headers=headers)
        return ClosingResponse(answer, media_type=form.media_type, headers=headers)


def _add_jobs(app: FastAPI, service: Service) -> None:
    @app.post("/v1/jobs", tags=["jobs"], status_code=202)
    async def start_job(body: JobRequest, key: MayRunJobs) -> JSONResponse:
        """Publish a dataset of any size in the store, as `synthmill augment` does."""
        name = body.model.partition("@")[0]
        # As in find_served: for an unknown name "no such model" helps more than "may not use".
        if name in service.models.names:
            key.check("jobs", model=name)
        version = await service.models.version(body.model, among=usable_models(service, key))
        await service.check_job(body, version)
        async with service.meter.charged(key.id, key.quota, rows=body.rows, field="rows"):
            job = await service.state.submit(new_job(body, version.ref, key.id))
        return JSONResponse(job, 202, headers={"Location": f"/v1/jobs/{job['id']}"})

    @app.get("/v1/jobs/{id}", tags=["jobs"])
    async def show_job(id: Annotated[str, Path(max_length=200)], key: MayRunJobs) -> dict[str, Any]:  # noqa: A002
        """What a job is doing, and what it published."""
        return await service.state.job(id)

    @app.delete("/v1/jobs/{id}", tags=["jobs"])
    async def cancel_job(id: Annotated[str, Path(max_length=200)], key: MayRunJobs) -> dict[str, Any]:  # noqa: A002
        """Cancel a job; a finished one stays as it is."""
        return await service.state.cancel(id)


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["operations"])
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    async def readyz() -> dict[str, str]:
        """Whether models are loaded; a replica gets no requests before."""
        if not service.models.num_loaded:
            raise HTTPException(503, "no model is loaded yet")
        return {"status": "ready"}

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    async def metrics(key: MayReadMetrics) -> PlainTextResponse:
        """Counters of the whole application, for Prometheus."""
        await service.report()
        return PlainTextResponse(await service.state.metrics(), media_type="text/plain; version=0.0.4")


def _add_pages(app: FastAPI) -> None:
    def route(name: str) -> Callable[[], Awaitable[Response]]:
        # A function around it, or every route would send the last file of the loop.
        async def page() -> Response:
            file = page_file(name)
            return Response(file.data, media_type=file.media_type)

        return page

    for path, name in (*PAGES.items(), *((f"/page/{name}", name) for name in ASSETS)):
        app.add_api_route(path, route(name), include_in_schema=False)


def _add_errors(app: FastAPI, service: Service) -> None:
    @app.exception_handler(SynthmillError)
    async def ours(request: Request, fault: SynthmillError) -> JSONResponse:
        answer, reason = answer_fault(fault)
        service.note_fault(fault, reason)
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, fault: RequestValidationError) -> JSONResponse:
        service.metrics.add("synthmill_rejections_total", 1, reason="input")
        errors = [dict(error) for error in fault.errors()]
        message, field = validation_message(errors)
        return problem(
            400 if errors[0]["type"] == "json_invalid" else 422, message, "invalid_request", param=field
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, fault: HTTPException) -> JSONResponse:
        kinds = {
            400: "invalid_request",
            404: "not_found",
            405: "method_not_allowed",
            413: "invalid_request",
            503: "unavailable",
        }
        message = (
            f"no such path {request.url.path[:200]!r}; see /docs"
            if fault.status_code == 404
            else str(fault.detail)
        )
        headers = {**(fault.headers or {}), **({"Retry-After": "1"} if fault.status_code == 503 else {})}
        param = "body" if fault.status_code == 413 else None
        return problem(
            fault.status_code, message, kinds.get(fault.status_code, "error"), param=param, headers=headers
        )

    @app.exception_handler(Exception)
    async def bug(request: Request, fault: Exception) -> JSONResponse:
        # Starlette raises it again after the answer, so that it is logged.
        return problem(500, "a fault of the server; it was logged", "server_error")


def _document(app: FastAPI) -> None:
    """Adds the error's shape and the kind of key to the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            parts = schema.setdefault("components", {})
            text, maybe = {"type": "string"}, {"type": ["string", "null"]}
            fields = {"message": text, "type": text, "param": maybe, "code": maybe}
            inner = {
                "type": "object",
                "required": list(error_body("", "", None)["error"]),
                "properties": fields,
            }
            parts.setdefault("schemas", {})["Error"] = {
                "type": "object",
                "required": ["error"],
                "properties": {"error": inner},
            }
            parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"key": []}]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
