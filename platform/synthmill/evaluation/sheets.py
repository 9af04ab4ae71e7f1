"""Contact sheets as PNG files: samples by class, and images beside the nearest real ones."""

import base64

import numpy as np

from synthmill.data.sheet import by_class, sheet
from synthmill.metrics.lib.image_evidence import ImageEvidence
from synthmill.metrics.lib.neighbours import nearest

COLUMNS = 10
MOST_CLASSES = 20
NEIGHBOURS = 12


def samples(evidence: ImageEvidence) -> bytes:
    """Synthetic images, a row for each class."""
    chosen = evidence.images("synthetic", len(evidence.sides["synthetic"]))
    return sheet(by_class(chosen.pixels, chosen.labels, COLUMNS, MOST_CLASSES))


def neighbours(evidence: ImageEvidence) -> bytes:
    """The synthetic images nearest to a training image (by pixels), that image below, and the nearest holdout
    image below that.

    Shows real images.
    """
    # By pixels, which everybody can check by eye.
    made = evidence.flat_pixels("synthetic")
    gap, train_index = nearest(evidence.flat_pixels("train"), made)
    # The nearest pairs first: if anything was copied, it is here.
    order = np.argsort(gap[:, 0], kind="stable")[:NEIGHBOURS]
    chosen = train_index[order, 0]
    rows = [evidence.images("synthetic").pixels[chosen], evidence.images("train").pixels[order]]
    if "holdout" in evidence.sides:
        _, at = nearest(made[chosen], evidence.flat_pixels("holdout"))
        rows.append(evidence.images("holdout").pixels[at[:, 0]])
    return sheet(rows)


def data_uri(png_file: bytes) -> str:
    """For an HTML page without other files."""
    return "data:image/png;base64," + base64.b64encode(png_file).decode()
