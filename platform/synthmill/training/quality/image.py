"""How good an image model is now: Frechet distance and coverage of what it generates against validation
images.

The score is coverage over its real-vs-real ceiling, minus the Frechet distance, so that both a collapse and a
blur cost; with classes, plus the share of images that show their class, over the same share of validation
images, at most 1. A model that knows how probable images are loses the nats of validation images, which grow
again when it begins to learn its training images by heart. Features come from a small classifier of the
training images, or an untrained network where there are no classes.
`training/collapse.py` looks at the coverage.
"""

import math
from typing import Self

import numpy as np
import pyarrow as pa
import torch

from synthmill.data.batch import Batch, concat
from synthmill.data.codecs.base import Codec
from synthmill.data.codecs.pixels import to_uint8
from synthmill.data.layout import PixelLayout
from synthmill.data.sheet import by_class, sheet
from synthmill.errors import TrainingError
from synthmill.generation.sampler import BLOCK_ROWS, device_of
from synthmill.metrics.lib.classifier import Labels, Pixels, accuracy
from synthmill.metrics.lib.extractor import ClassifierExtractor, Features, make_extractor
from synthmill.metrics.lib.frechet import Moments, frechet_with_error
from synthmill.metrics.lib.prdc import neighbour_radii, prdc
from synthmill.models.base import GenerativeModel
from synthmill.training.quality.base import QualityCheck, sample_blocks
from synthmill.training.rows import chunks

LARGEST_ROWS = 2_048
SMALLEST_ROWS = 32
PREVIEW_SIDE = 10
"""Images in a row and in a column of the preview."""


class ImageQuality(QualityCheck):
    """Samples images and compares their features with those of validation images."""

    @classmethod
    def of(
        cls, codec: Codec, train: pa.Table, validation: pa.Table, encoded: Batch, *, seed: int
    ) -> Self | None:
        real = codec.encode(validation)
        # Distance and coverage of fewer images say nothing about a model.
        if real.num_rows < SMALLEST_ROWS:
            return None
        assert isinstance(codec.layout, PixelLayout), "images are learnt as pixels"
        return cls(codec.layout, encoded, real, seed=seed)

    def __init__(self, layout: PixelLayout, train: Batch, validation: Batch, *, seed: int) -> None:
        labels = train["label"].cpu().numpy() if layout.classes else None
        pixels = train["pixels"].cpu().numpy()
        self._extractor = make_extractor("auto", pixels, labels, layout.classes, seed=seed)
        self._seed = seed
        real = self._extractor(validation["pixels"][:LARGEST_ROWS].cpu().numpy())
        self._size = len(real)
        self.rows = max(self._size, min(1_024, LARGEST_ROWS))
        self._real, self._radii, self._moments = real, neighbour_radii(real), Moments.of(real)
        picked = np.random.default_rng(seed).permutation(len(pixels))[: self.rows]
        like_real = self._extractor(pixels[picked])
        self._ceiling = self._covered(like_real[: self._size]) if len(like_real) >= self._size else 1.0
        # What other real images reach: the distance of small samples is above zero by itself.
        self._floor = frechet_with_error(like_real, self._moments)[0]
        self._shown = (
            self._fidelity(validation["pixels"].cpu().numpy(), validation["label"].cpu().numpy())
            if layout.classes
            else 0.0
        )
        self._classes = layout.classes
        self._validation = chunks(validation.take(slice(0, LARGEST_ROWS)), BLOCK_ROWS)
        self.preview: bytes | None = None

    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        """`score` (higher is better), its standard error `noise`, `fd`, `coverage` and what real images reach
        in both.

        Raises:
            TrainingError: the model generates images that are not numbers.
        """
        made = concat(list(sample_blocks(model, self.rows, self._seed)))
        if not bool(torch.isfinite(made["pixels"]).all()):
            raise TrainingError("the model generates images that are not numbers")
        pixels = to_uint8(made["pixels"]).numpy()
        self.preview = sheet(
            by_class(pixels, made["label"].numpy() if self._classes else None, PREVIEW_SIDE, PREVIEW_SIDE)
        )
        features = self._extractor(pixels)
        fd, fd_error = frechet_with_error(features, self._moments)
        coverage = self._covered(features[: self._size])
        score = coverage / max(self._ceiling, 1e-6) - fd
        noise = math.hypot(fd_error, _error(coverage, self._size) / max(self._ceiling, 1e-6))
        scores = {"fd": fd, "fd_real": self._floor, "coverage": coverage, "coverage_real": self._ceiling}
        if self._shown:
            fidelity = self._fidelity(pixels, made["label"].numpy())
            score += min(1.0, fidelity / self._shown)
            noise = math.hypot(noise, _error(fidelity, len(pixels)) / self._shown)
            scores |= {"label_fidelity": fidelity, "label_fidelity_real": self._shown}
        # Distance and coverage can't tell memorised training images from good ones; likelihood can.
        device = device_of(model)
        nats = [nats_B for batch in self._validation if (nats_B := model.nats(batch.to(device))) is not None]
        if nats:
            scores["validation_nats"] = float(torch.cat(nats).mean())
            score -= scores["validation_nats"]
        return {"score": score, "noise": noise, **scores}

    def _fidelity(self, pixels: Pixels, labels: Labels) -> float:
        """Share of images that the extractor's classifier sees as labelled; 0 when it is no classifier."""
        if not isinstance(self._extractor, ClassifierExtractor):
            return 0.0
        right, count = accuracy(self._extractor.classifier, pixels, labels)
        return right / count

    def _covered(self, features: Features) -> float:
        return prdc(self._real, features, self._radii).covered / self._size


def _error(share: float, count: int) -> float:
    """Standard error of a share."""
    return math.sqrt(max(share * (1 - share), 1e-6) / count)
