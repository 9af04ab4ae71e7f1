"""One image: from any file that Pillow reads to 8-bit gray or RGB pixels of the shape that a recipe asks
for."""

import io
import struct
import warnings
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from synthmill.config import ImageConfig
from synthmill.data import png

Pixels = npt.NDArray[np.uint8]
"""(H, W) gray or (H, W, 3) RGB."""

_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY = ("1", "L", "LA", "La", *_DEEP)
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class BrokenImageError(ValueError):
    """A file that is no image, is cut off or is of a kind that can't be read; the message says which, without
    the name."""


def read_image(data: bytes, config: ImageConfig) -> Pixels:
    """Decode, turn upright (EXIF), flatten transparency over `background`, reduce 16 bits to 8, and resize
    when a size is set.

    Palette images become gray when their palette is. The first frame of an animation counts.

    Raises:
        BrokenImageError: it can't be decoded.
    """
    quick = png.decode(data)
    if quick is not None:
        return resize(quick, config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            image = Image.open(io.BytesIO(data))
            image.load()
            # Pillow brings gray PNM files of more than 8 bits to 16, whatever their brightest pixel.
            sixteen = image.mode != "I" or image.format == "PPM"
            return resize(
                _eight_bit(ImageOps.exif_transpose(image), config.background, sixteen=sixteen), config
            )
    except UnidentifiedImageError:
        raise BrokenImageError("not an image" if data else "empty file") from None
    except _FAULTS as fault:
        raise BrokenImageError(str(fault).splitlines()[0][:80] or type(fault).__name__) from None


def _eight_bit(image: Image.Image, background: int, *, sixteen: bool) -> Pixels:
    """`sixteen`: deep pixels reach to 65,535; without it that is seen from the brightest."""
    if image.mode in _DEEP:
        deep = np.asarray(image).astype(np.int64)
        return (
            (np.clip(deep, 0, 65_535) / 257.0 if deep.max(initial=0) > 255 or sixteen else deep)
            .round()
            .astype(np.uint8)
        )
    if image.mode == "F":
        raise BrokenImageError("32-bit floating-point pixels have no fixed range")
    gray, palette = image.mode in _GRAY, image.mode in ("P", "PA")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (background,) * 3 + (255,)), over)
    elif not palette:
        return np.asarray(image.convert("L" if gray else "RGB"))
    pixels = np.asarray(image.convert("RGB"))
    return _gray_if(pixels, gray or (palette and bool((pixels[..., :1] == pixels).all())))


def _gray_if(pixels: Pixels, gray: bool) -> Pixels:
    return np.ascontiguousarray(pixels[..., 0]) if gray else pixels


def resize(pixels: Pixels, config: ImageConfig) -> Pixels:
    """The image in the size and manner that the recipe states; as it is when it states none."""
    if config.size is None:
        return pixels
    height, width = (config.size, config.size) if isinstance(config.size, int) else config.size
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels)
    if config.fit == "crop":
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    elif config.fit == "pad":
        colour = config.background if pixels.ndim == 2 else (config.background,) * 3
        fitted = ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color=colour)
    else:
        fitted = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted)


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """(H, W) for one channel, by ITU-R 601 luma, or (H, W, 3)."""
    if channels == 1:
        return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
