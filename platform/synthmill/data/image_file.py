"""One image: from any file that Pillow reads to 8-bit gray or RGB pixels of the shape that a recipe asks
for."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from synthmill.config import ImageConfig

Pixels = npt.NDArray[np.uint8]
"""(H, W) gray or (H, W, 3) RGB."""

_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY = ("1", "L", "LA", "La", *_DEEP)
_DEPTHS = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE = 258
"""Of TIFF's tags."""
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


@dataclass(frozen=True)
class Decoded:
    """An image as its file holds it."""

    pixels: Pixels | npt.NDArray[np.uint16]
    """8-bit gray or RGB; uint16 (H, W) for gray of more than 8 bits."""
    depth: int | None = None
    """Bits that deep pixels reach to, where the file says so."""
    is_animated: bool = False


def read_image(data: bytes, config: ImageConfig) -> Pixels:
    """One image alone in the size that the recipe states, deep pixels taken for 16 bits.

    Raises:
        BrokenImageError: it can't be decoded.
    """
    image = decode(data, config.background)
    return resize(eight_bit(image.pixels, image.depth or 16), config)


def decode(data: bytes, background: int) -> Decoded:
    """Decode, turn upright (EXIF) and flatten transparency over `background`.

    Palette images become gray when their palette is. The first frame of an animation counts.

    Raises:
        BrokenImageError: it can't be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            image = Image.open(io.BytesIO(data))
            image.load()
            pixels = _flat(ImageOps.exif_transpose(image), background)
            return Decoded(pixels, _depth(image), bool(getattr(image, "is_animated", False)))
    except UnidentifiedImageError:
        raise BrokenImageError("not an image" if data else "empty file") from None
    except _FAULTS as fault:
        raise BrokenImageError(str(fault).splitlines()[0][:80] or type(fault).__name__) from None


def eight_bit(pixels: Pixels | npt.NDArray[np.uint16], depth: int) -> Pixels:
    """Deep pixels, whose brightest value is 2**depth - 1, scaled to 8 bits; others as they are."""
    if pixels.dtype == np.uint8:
        plain: Pixels = pixels.view(np.uint8)
        return plain
    share = pixels.astype(np.float64) / (2**depth - 1)
    scaled: Pixels = (np.clip(share, 0.0, 1.0) * 255.0).round().astype(np.uint8)
    return scaled


def depth_of(brightest: int) -> int:
    """The least depth of cameras and scanners that holds a value: 8, 10, 12, 14 or 16 bits."""
    return next(depth for depth in _DEPTHS if brightest < 2**depth or depth == _DEPTHS[-1])


def _depth(image: Image.Image) -> int | None:
    """What the file says of its deep pixels' range."""
    if image.format == "PPM":
        # Pillow brings gray PNM files of more than 8 bits to 16, whatever their brightest pixel.
        return 16
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    if bits and 8 < bits[0] < 16:
        # Pillow gives packed samples their own values.
        return int(bits[0])
    return None


def _flat(image: Image.Image, background: int) -> Pixels | npt.NDArray[np.uint16]:
    if image.mode in _DEEP:
        return np.clip(np.asarray(image).astype(np.int64), 0, 65_535).astype(np.uint16)
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
