"""Contact sheets of pictures, as PNG files: samples by class, a walk between two noises, and pictures beside the nearest real ones."""

import base64

import numpy as np

from synthmill.data.sheet import by_class, sheet
from synthmill.metrics._neighbours import nearest
from synthmill.metrics._pictures import PictureEvidence

COLUMNS = 10
MOST_CLASSES = 20
NEIGHBOURS = 12


def samples(evidence: PictureEvidence) -> bytes:
    """Synthetic pictures, a row for each class."""
    chosen = evidence.pictures("synthetic", len(evidence.sides["synthetic"]))
    return sheet(by_class(chosen.pixels, chosen.labels, COLUMNS, MOST_CLASSES))


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
