"""Pictures in the shape that OpenAI's client expects: prompt to class label, PNG with the label that says who made it."""

import base64
import io
import re
from typing import Any

import pyarrow as pa
from PIL import Image, PngImagePlugin

from synthmill.data.layout import PixelLayout
from synthmill.errors import ConditionError, UserError, did_you_mean
from synthmill.serving.models import Served

IMAGE, LABEL = "image", "label"
MAX_SIDE = 2048
ANY = ("", "*", "any")


def is_image_model(served: Served) -> bool:
    """Whether the model's rows are pictures."""
    return isinstance(served.generator.codec.layout, PixelLayout)


def clause_of(prompt: str, levels: list[str]) -> tuple[str, ...]:
    """The condition that a prompt stands for: a label, `label=7`, or a text with exactly one of the labels in it as a word.

    Raises:
        ConditionError: names the prompt and the labels there are.
    """
    text = prompt.strip()
    if text.lower() in ANY:
        return ()
    by_name = {level.lower(): level for level in levels}
    stated = text.lower().removeprefix(f"{LABEL}=").strip()
    if stated in by_name:
        return (f"{LABEL}={by_name[stated]}",)
    found = {name for name in by_name if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text.lower())}
    if len(found) == 1:
        return (f"{LABEL}={by_name[found.pop()]}",)
    if not levels:
        raise ConditionError("this model knows no labels; leave the prompt empty", field="prompt")
    why = "names several labels" if found else "names no label"
    raise ConditionError(f"{text[:80]!r} {why}{did_you_mean(text, levels)}", field="prompt")


def target_size(size: str | None) -> tuple[int, int] | None:
    """(width, height) to scale to; None: as generated."""
    if size in (None, "auto"):
        return None
    width, height = (int(side) for side in str(size).split("x"))
    if max(width, height) > MAX_SIDE:
        raise UserError(f"at most {MAX_SIDE}x{MAX_SIDE}, got {size}", field="size")
    return width, height


def encode_images(table: pa.Table, *, size: tuple[int, int] | None, labels: dict[str, str]) -> list[dict[str, Any]]:
    """The `data` of the answer: labelled PNGs in base64."""
    column = table.column(IMAGE).combine_chunks()
    pictures = (column.field("bytes") if pa.types.is_struct(column.type) else column).to_pylist()
    return [{"b64_json": base64.b64encode(_png(picture, size, labels)).decode()} for picture in pictures]


def _png(picture: bytes, size: tuple[int, int] | None, labels: dict[str, str]) -> bytes:
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
    if size is not None and size != image.size:
        image = image.resize(size, Image.Resampling.NEAREST if size[0] % image.width == 0 else Image.Resampling.BICUBIC)
    info = PngImagePlugin.PngInfo()
    for keyword, text in labels.items():
        info.add_text(keyword, text)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()
