"""Evaluate synthetic images against real ones: the same report, gates and verdict as for tables, metrics of
images.

Every part is read once, for a seeded sample of declared size; all figures come from that sample.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import fingerprint
from synthmill.data.codecs.pixels import PixelCodec
from synthmill.data.readers.image import LABEL
from synthmill.errors import DataError, RecipeError, did_you_mean
from synthmill.evaluation import sheets
from synthmill.evaluation.baseline import incomparable, regressions
from synthmill.evaluation.evaluate import PART_ROWS, Profile, SlicePart, Tables
from synthmill.evaluation.gates import Gates, judge, load_gates, verdict
from synthmill.evaluation.privacy import privacy_section
from synthmill.evaluation.report import Report, sentence
from synthmill.metrics._extractor import make_extractor
from synthmill.metrics._images import ImageEvidence, Images, ImageSettings, ImageSide, LabelRows
from synthmill.metrics._sample import SampleRows
from synthmill.metrics._view import PartView
from synthmill.metrics.base import (
    PROFILES,
    MapTasks,
    Metric,
    Part,
    Result,
    in_profile,
    map_serially,
    metric_classes,
)

GATES = "gates_images.yaml"
LIMITS: dict[str, int] = {"quick": 1_000, "standard": 5_000, "full": 10_000, "audit": 10_000}
SEEDS: dict[str, int] = {"quick": 1, "standard": 3, "full": 5, "audit": 5}


def evaluate_images(
    tables: Tables,
    codec: PixelCodec,
    *,
    profile: Profile = "standard",
    seed: int = 0,
    sample_rows: int | Literal["all"] | None = None,
    gates: Gates | None = None,
    baseline: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    map_tasks: MapTasks | None = None,
    extractor: str = "auto",
    images: Mapping[str, bytes] | None = None,
    show_neighbours: bool = False,
) -> Report:
    """Compute the profile's metrics and hold them against the gates (default: those of images).

    Args:
        sample_rows: images a side; None: 1,000 in the quick profile, 5,000 in the standard one, else 10,000;
        "all": every one. extractor: what turns images into features: auto, classifier, random or
        torchscript:PATH. images: further contact sheets (PNG) for the report, by name.
        show_neighbours: put the nearest real images into the report.

    Raises:
        DataError: an image can't be decoded, labels are missing, or there are no synthetic images of the
        training classes. RecipeError: an unknown profile or extractor.
    """
    started = time.monotonic()
    if profile not in PROFILES:
        raise RecipeError(f"no profile named {profile!r}{did_you_mean(profile, PROFILES)}", field="profile")
    gates = gates or load_gates(shipped=GATES)
    limit = None if sample_rows == "all" else sample_rows or LIMITS[profile]
    settings = ImageSettings(
        seed=seed, limit=limit, confidence=gates.defaults.confidence, learner_seeds=SEEDS[profile]
    )
    evidence = gather(tables, codec, settings, extractor=extractor, map_tasks=map_tasks or map_serially)
    timings = {"read": time.monotonic() - started}
    results = compute(
        evidence, [cls for cls in metric_classes("image").values() if in_profile(cls, profile)], timings
    )
    outcomes = (*judge(gates, results), *(regressions(gates, results, baseline) if baseline else []))
    decided = verdict(outcomes, gates.defaults)
    shown = {"samples": sheets.samples(evidence), **(images or {})}
    if show_neighbours:
        shown["neighbours"] = sheets.neighbours(evidence)
    timings["total"] = time.monotonic() - started
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=decided,
        summary=sentence(decided, outcomes, profile),
        inputs=_inputs(tables, evidence, codec),
        config=_config(profile, settings, gates, evidence),
        gates=outcomes,
        metrics=results,
        privacy=privacy_section(results, "holdout" in evidence.sides, modality="image"),
        images={name: sheets.data_uri(content) for name, content in shown.items()},
        provenance={**(provenance or {}), "extractor": evidence.extractor.name},
        warnings=(*_warnings(evidence, tables.asked), *(incomparable(results, baseline) if baseline else ())),
        timings={key: round(value, 3) for key, value in timings.items()},
    )


def gather(
    tables: Tables, codec: PixelCodec, settings: ImageSettings, *, extractor: str, map_tasks: MapTasks
) -> ImageEvidence:
    """Pixels and classes of every side, and the extractor fitted on the training images."""
    train = _images(tables.train, codec, "train")
    held = None if tables.holdout is None or not tables.holdout.num_rows else tables.holdout
    holdout = None if held is None else _images(held, codec, "holdout")
    synthetic, rows, labels = read_images(tables.synthetic, settings, map_tasks)
    if not rows:
        raise DataError("there are no synthetic images to evaluate", field="synthetic")
    found = _images(synthetic, codec, "synthetic")
    if not len(found):
        known, got = (", ".join(map(repr, list(values)[:3])) for values in (codec.classes, labels))
        raise DataError(
            f"the images' labels ({got}) are none of the training images' ({known}); give them those",
            field="synthetic",
        )
    classes = tuple(str(value) for value in codec.classes)
    around = train if tables.whole is None else _images(tables.whole.train, codec, "train")
    fitted = make_extractor(extractor, around.pixels, around.labels, len(classes), seed=settings.seed)
    counted: dict[ImageSide, LabelRows] = {"synthetic": _label_rows(labels, codec)} if classes else {}
    if classes and held is not None:
        counted["holdout"] = _label_rows(_labels(held), codec)
    return ImageEvidence(
        train,
        holdout,
        found,
        classes,
        fitted,
        settings,
        synthetic_rows=rows,
        label_rows=counted,
        map_tasks=map_tasks,
    )


def compute(
    evidence: ImageEvidence, chosen: Sequence[type[Metric]], timings: dict[str, float] | None = None
) -> dict[str, Result]:
    """Every chosen metric's result, by name without the extractor; one whose needs aren't met says so instead
    of a value."""
    results: dict[str, Result] = {}
    for cls in chosen:
        begun = time.monotonic()
        if "classes" in cls.needs and len(evidence.classes) < 2:
            results[cls.name] = cls.missing("not_applicable", "there are no labels of at least two classes")
        elif "holdout" in cls.needs and "holdout" not in evidence.sides:
            why = "needs a holdout: images that the generator never saw; train with data.split.holdout > 0"
            results[cls.name] = cls.missing("unavailable", why)
        else:
            results[cls.name] = cls().compute(evidence)
        results[cls.name] = results[cls.name].model_copy(update={"confidence": evidence.settings.confidence})
        if timings is not None:
            timings[cls.name] = time.monotonic() - begun
    return results


@dataclass(frozen=True)
class ReadImages:
    """A task: rows, their labels and a sample of the images of some consecutive parts. Picklable."""

    sample: SampleRows

    def __call__(self, parts: Sequence[Part]) -> tuple[int, Counter[Any], Any]:
        rows, labels, state = 0, Counter[Any](), None
        for part in parts:
            table = part.load()
            rows += table.num_rows
            labels += _labels(table)
            found = self.sample.partial(PartView(table, None, part.first_row))  # type: ignore[arg-type]
            state = found if state is None else self.sample.merge(state, found)
        return rows, labels, state


def read_images(
    synthetic: Any, settings: ImageSettings, map_tasks: MapTasks
) -> tuple[pa.Table, int, Counter[Any]]:
    """At most `settings.limit` rows of a table, of parts or of an iterator of tables, how many there are, and
    all their labels."""
    sample = SampleRows(settings.limit, settings.seed)
    if isinstance(synthetic, pa.Table):
        synthetic = [
            SlicePart(synthetic.slice(at, PART_ROWS), at)
            for at in range(0, max(1, synthetic.num_rows), PART_ROWS)
        ]
    if not isinstance(synthetic, Sequence):
        synthetic = _as_parts(synthetic)
    answers = map_tasks(ReadImages(sample), [[part] for part in synthetic])
    merged = answers[0][2]
    for _, _, state in answers[1:]:
        merged = sample.merge(merged, state)
    return (
        sample.finish(merged),
        sum(rows for rows, _, _ in answers),
        sum((labels for _, labels, _ in answers), Counter[Any]()),
    )


def _as_parts(tables: Any) -> list[SlicePart]:
    parts, first_row = [], 0
    for table in tables:
        parts.append(SlicePart(table, first_row))
        first_row += table.num_rows
    return parts


def _images(table: pa.Table, codec: PixelCodec, side: str) -> Images:
    if codec.classes and LABEL not in table.column_names:
        raise DataError(
            f"these images have no {LABEL!r} column as those of the generator do; name the classes in it",
            field=side,
        )
    batch = codec.encode(table)
    return Images(batch["pixels"].numpy(), batch["label"].numpy() if codec.classes else None)


def _labels(table: pa.Table) -> Counter[Any]:
    """Rows by label; empty where there are none."""
    if LABEL not in table.column_names:
        return Counter()
    return Counter({found["values"]: found["counts"] for found in pc.value_counts(table[LABEL]).to_pylist()})


def _label_rows(labels: Counter[Any], codec: PixelCodec) -> LabelRows:
    known = np.array([labels.get(value, 0) for value in codec.classes], dtype=np.int64)
    return LabelRows(
        known, {str(value): rows for value, rows in labels.items() if value not in codec.classes}
    )


def _inputs(tables: Tables, evidence: ImageEvidence, codec: PixelCodec) -> dict[str, Any]:
    return {
        **({"asked": tables.asked} if tables.asked else {}),
        "train_rows": tables.train.num_rows,
        "validation_rows": 0 if tables.validation is None else tables.validation.num_rows,
        "holdout_rows": 0 if tables.holdout is None else tables.holdout.num_rows,
        "synthetic_rows": evidence.synthetic_rows,
        "sampled_synthetic_rows": len(evidence.sides["synthetic"]),
        "shape": [codec.layout.channels, codec.layout.height, codec.layout.width],
        "classes": list(evidence.classes),
        "target": "label" if codec.classes else None,
        "columns": {field.name: str(field.type) for field in codec.schema},
        "task": "classification" if codec.classes else None,
    }


def _config(profile: str, settings: ImageSettings, gates: Gates, evidence: ImageEvidence) -> dict[str, Any]:
    return {
        "profile": profile,
        "seed": settings.seed,
        "neighbour_rows": settings.limit,
        "classifier_rows": settings.limit,
        "learner_seeds": settings.learner_seeds,
        "confidence": settings.confidence,
        "extractor": evidence.extractor.name,
        "gates": gates.model_dump(mode="json", exclude_defaults=True),
        "gates_sha256": fingerprint(gates),
    }


def _warnings(evidence: ImageEvidence, asked: str) -> tuple[str, ...]:
    found = (
        [f"the images were asked for with {asked}: figures compare them with such real images"]
        if asked
        else []
    )
    if evidence.classes and (unknown := evidence.label_rows("synthetic").unknown):
        some = ", ".join(sorted(unknown)[:3])
        found.append(
            f"left out: {sum(unknown.values()):,} synthetic images whose label no training image has ({some})"
        )
    if "holdout" not in evidence.sides:
        found.append("no holdout: figures that compare with unseen images can't be given")
    return tuple(found)
