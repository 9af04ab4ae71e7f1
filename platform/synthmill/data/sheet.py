"""Contact sheets: many small images on one PNG."""

import numpy as np
import numpy.typing as npt

from synthmill.data import png

Pixels = npt.NDArray[np.uint8]
"""(N, C, H, W)."""
GAP = 2
_PAPER = 255


def sheet(rows: list[Pixels]) -> bytes:
    """A PNG of rows of images (N, C, H, W), N the same or smaller in later rows, on white with gaps."""
    channels, height, width = rows[0].shape[1:]
    columns = max(len(row) for row in rows)
    page = np.full(
        (len(rows) * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), _PAPER, np.uint8
    )
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = GAP + i * (height + GAP), GAP + j * (width + GAP)
            page[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return png.encode(page[..., 0] if channels == 1 else page)


def by_class(
    pixels: Pixels, labels: npt.NDArray[np.int64] | None, columns: int, most_rows: int
) -> list[Pixels]:
    """The first `columns` images of each class present, a row for each; rows of any images without labels or
    with one class."""
    present = np.zeros(0) if labels is None else np.unique(labels)[:most_rows]
    if labels is None or len(present) < 2:
        return [pixels[at : at + columns] for at in range(0, min(len(pixels), columns * most_rows), columns)]
    return [pixels[labels == code][:columns] for code in present]
