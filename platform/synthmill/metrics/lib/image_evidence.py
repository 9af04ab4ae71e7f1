"""Everything a metric of images can read: pixels, classes and features of each side, computed once.

Figures compare two sides against the holdout: the synthetic images, and the training images as reference.
Both sides and the holdout enter with equal numbers, because most of these figures depend on how many images
there are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from synthmill.metrics.base import Estimate, MapTasks, Metric, Once, Result, map_serially
from synthmill.metrics.lib.classifier import Labels, Pixels, SmallClassifier, fit_classifier, predict
from synthmill.metrics.lib.columns import Ints
from synthmill.metrics.lib.extractor import ClassifierExtractor, Extractor, Features
from synthmill.metrics.lib.intervals import Interval, wilson
from synthmill.metrics.lib.prdc import Prdc, neighbour_radii, prdc
from synthmill.metrics.lib.validity import Validity, is_beyond

ImageSide = Literal["train", "holdout", "synthetic"]
LEAST = 50
"""Images a side below which figures say `unavailable`."""


@dataclass(frozen=True)
class Images:
    """One side: pixels and, where there are classes, their codes."""

    pixels: Pixels
    labels: Labels | None

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Any) -> "Images":
        """Those at `index` (an array or a slice)."""
        return Images(self.pixels[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class LabelRows:
    """Every row of a side by its label, whether its image was read or not."""

    classes: Ints
    """(classes,): rows of each class of the training images."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Rows of other labels, whose images enter nothing."""

    @property
    def total(self) -> int:
        """All of them."""
        return int(self.classes.sum()) + sum(self.unknown.values())


@dataclass(frozen=True)
class ImageSettings:
    """How thoroughly to look."""

    seed: int = 0
    limit: int | None = 5_000
    """Images a side at most; None: all."""
    confidence: float = 0.95
    learner_seeds: int = 3
    """Classifiers trained for each figure that trains some."""


class ImageEvidence(Once):
    """One synthetic set of images and the real ones; `holdout` is what the generator never saw."""

    def __init__(
        self,
        train: Images,
        holdout: Images | None,
        synthetic: Images,
        classes: tuple[str, ...],
        extractor: Extractor,
        settings: ImageSettings,
        *,
        synthetic_rows: int | None = None,
        label_rows: Mapping[ImageSide, LabelRows] | None = None,
        map_tasks: MapTasks = map_serially,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.classes = classes
        self.settings = settings
        self.map_tasks = map_tasks
        self.synthetic_rows = len(synthetic) if synthetic_rows is None else synthetic_rows
        self.sides: dict[ImageSide, Images] = {"train": train, "synthetic": synthetic}
        if holdout is not None and len(holdout):
            self.sides["holdout"] = holdout
        self._label_rows = label_rows or {}
        self._shuffled: dict[ImageSide, Images] = {}
        self._features: dict[ImageSide, Features] = {}
        self._classifiers: dict[tuple[ImageSide, int, int], SmallClassifier] = {}

    @property
    def size(self) -> int:
        """Images of each side that enter."""
        # Frechet distance, precision and recall depend on how many images there are: equal numbers, or the
        # reference would not compare.
        least = min(len(side) for side in self.sides.values())
        return least if self.settings.limit is None else min(self.settings.limit, least)

    def label_rows(self, side: ImageSide) -> LabelRows:
        """Rows of a side by label; its images by label where the rows were not counted."""
        if side in self._label_rows:
            return self._label_rows[side]
        labels = self.sides[side].labels
        assert labels is not None
        return LabelRows(np.bincount(labels, minlength=len(self.classes)))

    @property
    def confidence(self) -> float:
        """Two-sided level of intervals."""
        return self.settings.confidence

    def validity(self) -> Validity | str:
        """Labels that no training image has; in words why there is nothing to check."""
        if not self.classes:
            return "there are no labels"
        made = self.label_rows("synthetic")
        holdout = self.label_rows("holdout") if "holdout" in self.sides else None
        rows, bad = made.total, sum(made.unknown.values())
        real_rows = len(self.sides["train"]) + (holdout.total if holdout else 0)
        return Validity(
            rows=rows,
            invalid=bad,
            beyond_chance=bad if is_beyond(bad, rows, real_rows) else 0,
            reference=int(holdout.classes.sum()) / holdout.total if holdout else None,
            cells={"label": bad} if bad else {},
            read="the label of every row",
        )

    def images(self, side: ImageSide, count: int | None = None) -> Images:
        """`count` (default `size`) images of a side in a seeded random order, the same every time."""
        # A side may be sorted by class: its first images would then be of one.
        if side not in self._shuffled:
            whole = self.sides[side]
            number = ("train", "holdout", "synthetic").index(side)
            order = np.random.default_rng([self.settings.seed & 0xFFFFFFFF, number]).permutation(len(whole))
            most = len(order) if self.settings.limit is None else self.settings.limit
            self._shuffled[side] = whole.take(order[:most])
        return self._shuffled[side].take(slice(0, self.size if count is None else count))

    def features(self, side: ImageSide, count: int | None = None) -> Features:
        """Features of the same images, float32 (N, D)."""
        if side not in self._features:
            # Of all images once; metrics take as many as they compare.
            self._features[side] = self.extractor(self.images(side, len(self.sides[side])).pixels)
        return self._features[side][: self.size if count is None else count]

    def flat_pixels(self, side: ImageSide, count: int | None = None) -> Features:
        """Pixels of the same images in [0, 1], float32 (N, C * H * W)."""
        pixels = self.images(side, count).pixels
        return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255.0)

    @cached_property
    def prdc(self) -> tuple[Prdc, Prdc]:
        """Synthetic and training images, each against the holdout."""
        real = self.features("holdout")
        radii = neighbour_radii(real)
        return prdc(real, self.features("synthetic"), radii), prdc(real, self.features("train"), radii)

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose."""
        # Purposes from 100 on, as the sides have the first numbers.
        return np.random.default_rng([self.settings.seed & 0xFFFFFFFF, 100 + purpose])

    def classifier(self, side: ImageSide, seed: int, count: int) -> SmallClassifier:
        """A classifier of a side's classes; seed 0 on all training images is the extractor's own."""
        if (
            side == "train"
            and seed == 0
            and count == len(self.sides["train"])
            and isinstance(self.extractor, ClassifierExtractor)
        ):
            return self.extractor.classifier
        # Two metrics need the same classifiers, which take seconds each.
        key = (side, seed, count)
        if key not in self._classifiers:
            chosen = self.images(side, count)
            assert chosen.labels is not None
            self._classifiers[key] = fit_classifier(
                chosen.pixels, chosen.labels, len(self.classes), seed=self.settings.seed + seed
            )
        return self._classifiers[key]


class ImageMetric(Metric[ImageEvidence]):
    """Base of metrics of images: needs declared as for tables, the extractor's name in the figure's name."""

    modalities: ClassVar[tuple[str, ...]] = ("image",)
    by_feature: ClassVar[bool] = True
    """Whether the figure depends on the extractor."""

    def named(self, evidence: ImageEvidence, **fields: Any) -> Result:
        """A result whose `metric` says `name@extractor`, and whose counts are those that entered."""
        n = dict.fromkeys(("train", "holdout", "synthetic"), evidence.size)
        # Values of different extractors can't be compared: the name must show which it was.
        full = f"{self.name}@{evidence.extractor.name}" if self.by_feature else self.name
        result = self.result(**({"n": n, "gate_n": evidence.size} | fields))
        return result.model_copy(update={"metric": full})

    def beside_training(
        self, evidence: ImageEvidence, value: float, reference: float, interval: Interval, method: str
    ) -> Result:
        """A figure, the same of the training images, and their ratio, which is what gates judge."""
        return self.named(
            evidence,
            value=value,
            ci=interval,
            reference=reference,
            method=method,
            aspects={"ratio": Estimate(value=value / reference if reference > 0 else None, reference=1.0)},
        )

    def share(self, evidence: ImageEvidence, count: Callable[[Prdc], int], k: int) -> Result:
        """The share of points that `count` counts, of the synthetic and of the training images."""
        if few := self.too_few(evidence):
            return few
        synthetic, train = evidence.prdc
        interval = wilson(count(synthetic), synthetic.rows, evidence.confidence)
        method = f"k = {k}, equal numbers; Wilson interval; reference: training images against holdout images"
        value, reference = count(synthetic) / synthetic.rows, count(train) / train.rows
        return self.beside_training(evidence, value, reference, interval, method)

    def too_few(self, evidence: ImageEvidence) -> Result | None:
        """The result instead of a value when a side is small."""
        if evidence.size >= LEAST:
            return None
        return self.unavailable(
            f"only {evidence.size} images on the smallest side; {LEAST} are needed", gate_n=evidence.size
        )


def shown_labels(evidence: ImageEvidence) -> list[tuple[Ints, Ints]]:
    """(classes,) each, of the synthetic and the holdout images: those that a classifier of the training
    images takes for what their label says, and all."""
    model, size = evidence.classifier("train", 0, len(evidence.sides["train"])), len(evidence.classes)
    counts = []
    sides: tuple[ImageSide, ...] = ("synthetic", "holdout")
    for side in sides:
        images = evidence.images(side)
        assert images.labels is not None
        right = images.labels[predict(model, images.pixels) == images.labels]
        counts.append((np.bincount(right, minlength=size), np.bincount(images.labels, minlength=size)))
    return counts
