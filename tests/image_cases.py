"""Small images with a known dependence, and files to read them from."""

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from synthmill.data.batch import Batch
from synthmill.data.layout import PixelLayout

Pixels = npt.NDArray[np.uint8]
SIDE = 8


def layout(**fields: Any) -> PixelLayout:
    """256 gray images of 8 by 8 pixels and two classes, unless `fields` say otherwise."""
    return PixelLayout(**{"channels": 1, "height": SIDE, "width": SIDE, "classes": 2, "rows": 256, **fields})


def halves(rows: int = 256, *, seed: int = 0) -> Batch:
    """Class 0 is bright on the left half, class 1 on the right; how bright differs from image to image."""
    draws = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (rows,), generator=draws)
    pixels = torch.randint(0, 40, (rows, 1, SIDE, SIDE), generator=draws)
    bright = torch.randint(100, 216, (rows, 1, 1), generator=draws)
    left = label.view(-1, 1, 1) == 0
    pixels[..., : SIDE // 2] += (bright * left).unsqueeze(1)
    pixels[..., SIDE // 2 :] += (bright * ~left).unsqueeze(1)
    return Batch(pixels=pixels.to(torch.uint8), label=label)


def as_shown(batch: Batch) -> torch.Tensor:
    """The class that each image of `halves` shows: which half is brighter."""
    x = batch["pixels"].float()
    return (x[..., SIDE // 2 :].mean((1, 2, 3)) > x[..., : SIDE // 2].mean((1, 2, 3))).long()


def digits(rows: int | None = None) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """scikit-learn's digits: (N, 1, 8, 8) and classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = (bunch.images * (255.0 / 16.0)).round().astype(np.uint8)[:, None]
    return pixels[:rows], bunch.target[:rows].astype(np.int64)


def png_of(pixels: Pixels, mode: str | None = None, **options: Any) -> bytes:
    """A PNG file by Pillow."""
    return file_of(
        Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode), **options
    )


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def class_folders(
    root: Path, *, per_class: int = 4, side: int = SIDE, names: tuple[str, ...] = ("cat", "dog")
) -> Path:
    """`root/<class>/<i>.png`, gray, all different."""
    draws = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            (root / name / f"{i}.png").write_bytes(
                png_of(draws.integers(0, 256, (side, side), dtype=np.uint8))
            )
    return root


def idx_bytes(values: Pixels, *, packed: bool = False, magic: bytes | None = None) -> bytes:
    """An IDX file of unsigned bytes."""
    head = magic or bytes([0, 0, 8, values.ndim])
    data = head + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    return gzip.compress(data, mtime=0) if packed else data
