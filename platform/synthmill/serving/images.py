"""Images in the shape that OpenAI's client expects: prompt to class label, PNG files in base64."""

import base64
import re
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from synthmill.data import png
from synthmill.data.layout import PixelLayout
from synthmill.data.mark import label_packet
from synthmill.data.readers.image import IMAGE, LABEL
from synthmill.errors import ConditionError, UserError, did_you_mean
from synthmill.serving.models import Served

MAX_SIDE = 2048
ANY = ("", "*", "any")


def is_image_model(served: Served) -> bool:
    """Whether the model's rows are images."""
    return isinstance(served.generator.codec.layout, PixelLayout)


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
    found = [
        level for level in levels if re.search(rf"(?<!\w){re.escape(level.lower())}(?!\w)", text.lower())
    ]
    if len({level.lower() for level in found}) > 1:
        return found
    written = [level for level in found if re.search(rf"(?<!\w){re.escape(level)}(?!\w)", text)]
    return written if len(written) == 1 else found


def target_size(size: str | None) -> tuple[int, int] | None:
    """(width, height) to scale to; None: as generated."""
    if size in (None, "auto"):
        return None
    width, height = (int(side) for side in str(size).split("x"))
    if max(width, height) > MAX_SIDE:
        raise UserError(f"at most {MAX_SIDE}x{MAX_SIDE}, got {size}", field="size")
    return width, height


def encode_images(table: pa.Table, *, size: tuple[int, int] | None) -> list[dict[str, Any]]:
    """The `data` of the answer: PNG files in base64, each with the label that its codec gave it."""
    images = table.column(IMAGE).combine_chunks().field("bytes").to_pylist()
    return [
        {"b64_json": base64.b64encode(image if size is None else _scaled(image, size)).decode()}
        for image in images
    ]


def _scaled(image: bytes, size: tuple[int, int]) -> bytes:
    """Small whole multiples keep their pixels as squares; anything else is interpolated. The label is made
    anew for the new pixels."""
    pixels = png.decode(image)
    assert pixels is not None, "generated images are written by synthmill.data.png"
    opened = Image.fromarray(pixels)
    if opened.size == size:
        return image
    whole = size[0] % opened.width == 0 and size[1] % opened.height == 0
    scaled = np.asarray(opened.resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC))
    return png.encode(scaled, xmp=label_packet(scaled))
