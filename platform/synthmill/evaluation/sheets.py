"""Contact sheets of pictures, as PNG files: samples by class, a walk between two noises, and pictures beside the nearest real ones."""

import base64

import numpy as np

from synthmill.data import png
from synthmill.metrics._classifier import Pixels
from synthmill.metrics._neighbours import nearest
from synthmill.metrics._pictures import PictureEvidence

COLUMNS = 10
MOST_CLASSES = 20
NEIGHBOURS = 12
GAP = 2
_PAPER = 255


def sheet(rows: list[Pixels]) -> bytes:
    """A PNG of rows of pictures (N, C, H, W), N the same or smaller in later rows, on white with gaps."""
    channels, height, width = rows[0].shape[1:]
    columns = max(len(row) for row in rows)
    page = np.full((len(rows) * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), _PAPER, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = GAP + i * (height + GAP), GAP + j * (width + GAP)
            page[top : top + height, left : left + width] = picture.transpose(1, 2, 0)
    return png.encode(page[..., 0] if channels == 1 else page)


def samples(evidence: PictureEvidence) -> bytes:
    """Synthetic pictures, a row for each class."""
    chosen = evidence.pictures("synthetic", len(evidence.sides["synthetic"]))
    if chosen.labels is None or len(evidence.classes) < 2:
        rows = [chosen.pixels[at : at + COLUMNS] for at in range(0, min(len(chosen), COLUMNS**2), COLUMNS)]
    else:
        rows = [chosen.pixels[chosen.labels == code][:COLUMNS] for code in range(min(len(evidence.classes), MOST_CLASSES))]
    return sheet([row for row in rows if len(row)])


def neighbours(evidence: PictureEvidence) -> bytes:
    """The synthetic pictures nearest to a training picture (by pixels), that picture below, and the nearest holdout picture below that.

    Shows real pictures.
    """
    mine = evidence.flat_pixels("synthetic")
    gap, train_index = nearest(evidence.flat_pixels("train"), mine)
    order = np.argsort(gap[:, 0], kind="stable")[:NEIGHBOURS]
    chosen = train_index[order, 0]
    rows = [evidence.pictures("synthetic").pixels[chosen], evidence.pictures("train").pixels[order]]
    if "holdout" in evidence.sides:
        _, held = nearest(mine[chosen], evidence.flat_pixels("holdout"))
        rows.append(evidence.pictures("holdout").pixels[held[:, 0]])
    return sheet(rows)


def data_uri(png_file: bytes) -> str:
    """For an HTML page without other files."""
    return "data:image/png;base64," + base64.b64encode(png_file).decode()
