"""Images: rows whose cells are PNG files, and a route in the shape that OpenAI's client expects (prompt to
class label, PNG files in base64)."""

import base64
import functools
import io
import re
import time
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from synthmill.data import png
from synthmill.data.mark import label_packet
from synthmill.data.readers.image import IMAGE, LABEL
from synthmill.errors import ConditionError, UserError, did_you_mean
from synthmill.serving.access import MayGenerate, find_served, label_headers
from synthmill.serving.config import Limits
from synthmill.serving.media.base import Media
from synthmill.serving.models import Served
from synthmill.serving.requests import MAX_SEED, RowsRequest
from synthmill.serving.service import Service

MAX_SIDE = 2048
PIXELS_OF_A_ROW = 1024
ANY = ("", "*", "any")


class ImagesRequest(BaseModel):
    """Images, in the shape of OpenAI's images API. Settings that mean nothing here (`quality`, `style`,
    `user`) are read past."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    model: str = Field(max_length=200)
    """`name` or `name@number`."""
    prompt: str = Field("", max_length=1000)
    """A class label, or a text with exactly one of the labels in it; empty: any."""
    n: int | None = Field(1, ge=1, le=10_000, strict=True)
    """How many images."""
    size: str | None = Field(None, pattern=r"^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$")
    """`auto`: the model's own; else WIDTHxHEIGHT, to which images are scaled."""
    response_format: Literal["b64_json", "url"] | None = None
    """Only `b64_json`: there is no place that images are put at."""
    seed: int | None = Field(None, ge=0, lt=MAX_SEED, strict=True)
    """Same seed, model version and prompt: the same images."""


class ImageMedia(Media):
    """Images."""

    modality = "image"
    noun = "images"

    @classmethod
    def size(cls, served: Served) -> str | None:
        """WIDTHxHEIGHT in pixels."""
        layout: Any = served.generator.codec.layout
        return f"{layout.width}x{layout.height}"

    @classmethod
    def row_cost(cls, served: Served) -> int:
        """By the pixel, which is a rough measure: networks differ, but all grow with it."""
        layout: Any = served.generator.codec.layout
        return cost_of(layout.width, layout.height)

    @classmethod
    def add_routes(cls, app: FastAPI, service: Service) -> None:
        """OpenAI's images API."""

        @app.post("/v1/images/generations", tags=["generate"])
        async def generate_images(body: ImagesRequest, request: Request, key: MayGenerate) -> JSONResponse:
            """Synthetic images, in the shape of OpenAI's images API."""
            count, size = check_request(body, service.args.limits)
            served = await find_served(service, request, key, body.model)
            if served.media is not cls:
                raise UserError(
                    f"{served.ref} generates {served.media.noun}; ask POST /v1/models/{served.name}/rows",
                    field="model",
                )
            where = clause_of(body.prompt, served.generator.codec.levels(LABEL) or [])
            rows = RowsRequest(num_rows=count, seed=body.seed, where=where)
            async with service.meter.charged(key.id, key.quota, rows=count, field="n"):
                data = await service.encoded(
                    served,
                    rows,
                    functools.partial(encode_image, size=size),
                    cost=count * (cls.row_cost(served) if size is None else cost_of(*size)),
                )
            return JSONResponse({"created": int(time.time()), "data": data}, headers=label_headers(served))


def cost_of(width: int, height: int) -> int:
    """What an image counts in the queue, in rows of a table."""
    return max(1, width * height // PIXELS_OF_A_ROW)


def clause_of(prompt: str, levels: list[str]) -> tuple[str, ...]:
    """The condition that a prompt stands for: a label, `label=7`, or a text with exactly one of the labels in
    it as a word.

    Raises:
        ConditionError: names the prompt and the labels there are.
    """
    text = prompt.strip()
    if text.lower() in ANY:
        return ()
    prefix = f"{LABEL}="
    stated = text[len(prefix) :].strip() if text.lower().startswith(prefix) else text
    known = [level for level in levels if level == stated] or [
        level for level in levels if level.lower() == stated.lower()
    ]
    known = known or _words(text, levels)
    if len(known) == 1:
        return (f"{LABEL}={known[0]}",)
    if not levels:
        raise ConditionError("this model knows no labels; leave the prompt empty", field="prompt")
    if known:
        raise ConditionError(f"{text[:80]!r} names several labels: {', '.join(known[:20])}", field="prompt")
    raise ConditionError(f"{text[:80]!r} names no label{did_you_mean(text, levels)}", field="prompt")


def _words(text: str, levels: list[str]) -> list[str]:
    """Labels that stand in the text as words. Of those that differ only in case: the one that is written as
    it is, or else all."""
    in_any_case = [
        level for level in levels if re.search(rf"(?<!\w){re.escape(level.lower())}(?!\w)", text.lower())
    ]
    if len({level.lower() for level in in_any_case}) > 1:
        return in_any_case
    as_written = [level for level in in_any_case if re.search(rf"(?<!\w){re.escape(level)}(?!\w)", text)]
    return as_written if len(as_written) == 1 else in_any_case


def target_size(size: str | None) -> tuple[int, int] | None:
    """(width, height) to scale to; None: as generated."""
    if size in (None, "auto"):
        return None
    width, height = (int(side) for side in str(size).split("x"))
    if max(width, height) > MAX_SIDE:
        raise UserError(f"at most {MAX_SIDE}x{MAX_SIDE}, got {size}", field="size")
    return width, height


def check_request(request: ImagesRequest, limits: Limits) -> tuple[int, tuple[int, int] | None]:
    """(how many images, the size to scale them to).

    Raises:
        UserError: more than a request may have, or a form of answer that there is not; names the field.
    """
    count = request.n or 1
    if count > limits.max_images:
        raise UserError(f"at most {limits.max_images} in one request, got {count}", field="n")
    if request.response_format == "url":
        raise UserError(
            "only 'b64_json' is possible: there is no place that images are put at", field="response_format"
        )
    size = target_size(request.size)
    # Scaling and packing take time by the pixel, and a request is one of many.
    if size is not None and (pixels := count * size[0] * size[1]) > limits.max_pixels:
        raise UserError(
            f"at most {limits.max_pixels:,} pixels in one request (n x width x height), got {pixels:,}; ask"
            " for fewer or smaller images",
            field="size",
        )
    return count, size


def encode_image(row: pa.Table, *, size: tuple[int, int] | None) -> dict[str, Any]:
    """One item of the answer's `data`: a PNG file in base64, with the label that its codec gave it."""
    [image] = row.column(IMAGE).combine_chunks().field("bytes").to_pylist()
    return {"b64_json": base64.b64encode(image if size is None else _scaled(image, size)).decode()}


def _scaled(image: bytes, size: tuple[int, int]) -> bytes:
    """Small whole multiples keep their pixels as squares; anything else is interpolated. The label is made
    anew for the new pixels."""
    opened = Image.open(io.BytesIO(image))
    if opened.size == size:
        return image
    whole = size[0] % opened.width == 0 and size[1] % opened.height == 0
    scaled = np.asarray(opened.resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC))
    return png.encode(scaled, xmp=label_packet(scaled))
