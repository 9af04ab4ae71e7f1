"""Images: pixels and classes of a seeded sample of declared size from every side, and the extractor that
turns them into features. Labels are counted over every image."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.codecs.pixels import PixelCodec
from synthmill.data.image_table import image_of
from synthmill.data.readers.image import IMAGE, LABEL
from synthmill.data.schema import ColumnRule
from synthmill.data.sheet import sheet
from synthmill.errors import DataError, did_you_mean
from synthmill.evaluation import sheets
from synthmill.evaluation.evidence.base import Evidence, Need, Page, Request, Term
from synthmill.evaluation.repeats import repeat_notes
from synthmill.evaluation.tables import Synthetic, Tables, has_rows, numbered, parts_of
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import one_thread
from synthmill.metrics.base import MapTasks, Part, Profile, Result
from synthmill.metrics.lib.binning import Plan
from synthmill.metrics.lib.extractor import make_extractor
from synthmill.metrics.lib.image_evidence import ImageEvidence, Images, ImageSettings, ImageSide, LabelRows
from synthmill.metrics.lib.sample import Sampled, SampleRows
from synthmill.metrics.lib.view import PartView

# Images a side; a nearest-neighbour search grows with the square.
LIMITS: dict[Profile, int] = {"quick": 1_000, "standard": 5_000, "full": 10_000, "audit": 10_000}
SEEDS: dict[Profile, int] = {"quick": 1, "standard": 3, "full": 5, "audit": 5}
LEAST_P = 0.001
"""Of the test for copies: below it a search takes images for copies, as the gates do."""
STRIP_CLASSES = STRIP_STEPS = 10
"""Rows and columns of the sheet of walks."""
NO_PLAN = Plan((), {})
"""Images have no columns to encode."""


def _facts(inputs: Mapping[str, Any]) -> list[str]:
    channels, height, width = inputs["shape"]
    facts = [
        f"{inputs['synthetic_rows']:,} synthetic images",
        f"{height}x{width} {'gray' if channels == 1 else 'RGB'}",
    ]
    return facts + ([f"{len(inputs['classes'])} classes"] if inputs["classes"] else [])


class Image(Evidence):
    """Images, with or without classes."""

    gates = "gates_images.yaml"
    options = frozenset({"extractor", "neighbours"})
    needs: ClassVar[Mapping[str, Need]] = {
        "classes": Need(
            "not_applicable", "there are no labels of at least two classes", lambda e: len(e.classes) >= 2
        ),
        "holdout": Need(
            "unavailable",
            "needs a holdout: images that the generator never saw; train with data.split.holdout > 0",
            lambda e: "holdout" in e.sides,
        ),
    }
    objective: ClassVar[Mapping[str, Term]] = {
        "coverage": Term("image.coverage", lambda found: _share(found.aspects["ratio"].value)),
        "classes": Term("image.balanced_label_fidelity", lambda found: _share(found.value)),
        "utility": Term("image.tstr_ratio", lambda found: _share(found.value)),
    }
    limits: ClassVar[Mapping[str, Term]] = {
        "copies": Term(
            "privacy.pixel_copy_pvalue",
            lambda found: None if found.value is None else LEAST_P - found.value,
        ),
    }
    page = Page(
        heading="Synthetic images",
        tiles={
            "Utility": (("image.tstr_ratio", None),),
            "Fidelity": (("image.label_fidelity", None), ("image.coverage", None), ("image.fd", None)),
            "Privacy": (("privacy.pixel_copy_pvalue", None), ("privacy.feature_copy_pvalue", None)),
        },
        captions={
            "samples": ("Samples", "Synthetic images, a row for each class."),
            "latent": (
                "From one noise to another",
                "Images along a walk between two noises, a row for each class: a smooth walk is no replay.",
            ),
            "neighbours": (
                "Nearest real images",
                "Top: the synthetic images nearest to a training image; below it that image; below that the"
                " nearest holdout image.",
            ),
        },
        facts=_facts,
    )

    def __init__(self, evidence: ImageEvidence, codec: PixelCodec, tables: Tables, request: Request) -> None:
        self.evidence = evidence
        self._codec, self._tables, self._request = codec, tables, request

    @classmethod
    def holds(cls, schema: pa.Schema) -> bool:
        return any(
            pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0 for field in schema
        )

    @classmethod
    def from_elsewhere(cls, tables: Tables, *, target: str | None, rules: Mapping[str, ColumnRule]) -> Tables:
        assert isinstance(tables.synthetic, pa.Table), "data from elsewhere is in memory"
        train = _named(tables.train, target, "train")
        synthetic = _named(tables.synthetic, target, "synthetic")
        validation, holdout = (
            None if side is None else _named(side, target, name)
            for name, side in (("validation", tables.validation), ("holdout", tables.holdout))
        )
        _check_one_size(train, {"validation": validation, "holdout": holdout, "synthetic": synthetic})
        images = [None if side is None else side.select([IMAGE]) for side in (train, holdout, synthetic)]
        return replace(
            tables,
            train=train,
            validation=validation,
            holdout=holdout,
            synthetic=synthetic,
            notes=tuple(repeat_notes(*images)),
        )

    @classmethod
    def sheets_of(cls, generator: Generator, seed: int) -> dict[str, bytes]:
        """Walks between two noises, a class a row; none of models that are not made of one noise vector."""
        codec = generator.codec
        # A page has room for ten rows.
        levels = (codec.levels(LABEL) or [])[:STRIP_CLASSES]
        conditions = [codec.condition(LABEL, level) for level in levels]
        # The same bits as when rows are generated.
        with one_thread():
            walks = [
                generator.sampler.interpolate(STRIP_STEPS, seed=seed, condition=condition)
                for condition in conditions or [None]
            ]
        rows = [walk["pixels"].numpy() for walk in walks if walk is not None]
        return {"latent": sheet(rows)} if rows else {}

    @classmethod
    def gather(cls, tables: Tables, request: Request) -> "Image":
        codec = _codec(tables)
        limit = LIMITS[request.profile] if request.sample_rows is None else request.sample_rows
        settings = ImageSettings(
            seed=request.seed,
            limit=None if limit == "all" else limit,
            confidence=request.gates.defaults.confidence,
            learner_seeds=SEEDS[request.profile],
        )
        evidence = gather(
            tables, codec, settings, extractor=request.options.extractor, map_tasks=request.map_tasks
        )
        return cls(evidence, codec, tables, request)

    @property
    def has_holdout(self) -> bool:
        return "holdout" in self.evidence.sides

    def inputs(self) -> dict[str, Any]:
        tables, codec = self._tables, self._codec
        return {
            "train_rows": tables.train.num_rows,
            "validation_rows": 0 if tables.validation is None else tables.validation.num_rows,
            "holdout_rows": 0 if tables.holdout is None else tables.holdout.num_rows,
            "synthetic_rows": self.evidence.synthetic_rows,
            "sampled_synthetic_rows": len(self.evidence.sides["synthetic"]),
            "shape": [codec.layout.channels, codec.layout.height, codec.layout.width],
            "classes": list(self.evidence.classes),
            "target": "label" if codec.classes else None,
            "columns": {field.name: str(field.type) for field in codec.schema},
            "task": "classification" if codec.classes else None,
        }

    def config(self) -> dict[str, Any]:
        settings = self.evidence.settings
        return {
            "neighbour_rows": settings.limit,
            "classifier_rows": settings.limit,
            "learner_seeds": settings.learner_seeds,
            "extractor": self.evidence.extractor.name,
        }

    def images(self) -> dict[str, bytes]:
        shown = {"samples": sheets.samples(self.evidence), **(self._request.sheets or {})}
        if self._request.options.neighbours:
            shown["neighbours"] = sheets.neighbours(self.evidence)
        return shown

    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.evidence.extractor.name}

    def warnings(self, results: Mapping[str, Result]) -> list[str]:
        notes = []
        if condition := self._tables.asked:
            notes.append(
                f"the images were requested with {condition}: figures compare them with such real images"
            )
        if self.evidence.classes and (unknown := self.evidence.label_rows("synthetic").unknown):
            some, count = ", ".join(sorted(unknown)[:3]), sum(unknown.values())
            notes.append(f"left out: {count:,} synthetic images whose label no training image has ({some})")
        if not self.has_holdout:
            notes.append("no holdout: figures that compare with unseen images can't be given")
        return notes


def gather(
    tables: Tables, codec: PixelCodec, settings: ImageSettings, *, extractor: str, map_tasks: MapTasks
) -> ImageEvidence:
    """Pixels and classes of every side, and the extractor fitted on the training images.

    Raises:
        DataError: an image can't be decoded, labels are missing, or there are no synthetic images of the
            training classes.
    """
    train = _images(tables.train, codec, "train")
    unseen = tables.holdout if has_rows(tables.holdout) else None
    holdout = None if unseen is None else _images(unseen, codec, "holdout")
    synthetic, rows, labels = read_images(tables.synthetic, settings, map_tasks)
    if not rows:
        raise DataError("there are no synthetic images to evaluate", field="synthetic")
    sampled = _images(synthetic, codec, "synthetic")
    # Unknown labels are dropped when images are encoded, so other labels leave nothing.
    if not len(sampled):
        known, got = (", ".join(map(repr, list(values)[:3])) for values in (codec.classes, labels))
        raise DataError(
            f"the images' labels ({got}) are none of the training images' ({known}); give them those",
            field="synthetic",
        )
    classes = tuple(str(value) for value in codec.classes)
    # A generator of which some classes were requested is still judged in the features of all.
    around = train if tables.whole is None else _images(tables.whole.train, codec, "train")
    counted: dict[ImageSide, LabelRows] = {"synthetic": _label_rows(labels, codec)} if classes else {}
    if classes and unseen is not None:
        counted["holdout"] = _label_rows(_labels(unseen), codec)
    return ImageEvidence(
        train,
        holdout,
        sampled,
        classes,
        make_extractor(extractor, around.pixels, around.labels, len(classes), seed=settings.seed),
        settings,
        synthetic_rows=rows,
        label_rows=counted,
        map_tasks=map_tasks,
    )


@dataclass(frozen=True)
class ReadImages:
    """A task: rows, their labels and a sample of the images of some consecutive parts. Picklable."""

    sample: SampleRows

    def __call__(self, parts: Sequence[Part]) -> tuple[int, Counter[Any], Sampled]:
        state, rows, labels = None, 0, Counter[Any]()
        for part in parts:
            table = part.load()
            rows += table.num_rows
            # Of every row, not of the sample: a class that occurs rarely must be seen.
            labels += _labels(table)
            sampled = self.sample.partial(PartView(table, NO_PLAN, part.first_row))
            state = sampled if state is None else self.sample.merge(state, sampled)
        assert state is not None, "a task has at least one part"
        return rows, labels, state


def read_images(
    synthetic: Synthetic, settings: ImageSettings, map_tasks: MapTasks
) -> tuple[pa.Table, int, Counter[Any]]:
    """At most `settings.limit` rows, how many there are, and all their labels."""
    # A seeded sample over all parts, whoever reads them.
    sample = SampleRows(settings.limit, settings.seed)
    if isinstance(synthetic, pa.Table):
        synthetic = parts_of(synthetic)
    parts = synthetic if isinstance(synthetic, Sequence) else list(numbered(synthetic))
    rows, labels, states = zip(*map_tasks(ReadImages(sample), [[part] for part in parts]), strict=True)
    return sample.finish(reduce(sample.merge, states)), sum(rows), sum(labels, Counter[Any]())


def _codec(tables: Tables) -> PixelCodec:
    """The generator's codec; images from elsewhere are described by the training images."""
    if isinstance(tables.codec, PixelCodec):
        return tables.codec
    # From the training images alone, as the generator's own would be.
    return PixelCodec.fit(tables.train, DataConfig(source="train", kind="image"), {})


def _named(table: pa.Table, target: str | None, side: str) -> pa.Table:
    """The columns `image` and `label`, whatever they are called."""
    columns = {IMAGE: table[image_of(table, side)]}
    if target is not None and target not in table.column_names:
        raise DataError(f"no column named {target!r}{did_you_mean(target, table.column_names)}", field=side)
    # Without a target a column named `label` has the classes, as everywhere in the platform.
    label = target or LABEL
    if label in table.column_names:
        columns[LABEL] = table[label]
    return pa.table(columns)


def _check_one_size(train: pa.Table, sides: Mapping[str, pa.Table | None]) -> None:
    """Refuse images of other sizes, by the first of each side: scaling them would change every figure."""
    wanted = size_of(train[IMAGE][0].as_py()["bytes"], "train")
    for side, table in sides.items():
        if table is None or not table.num_rows:
            continue
        size = size_of(table[IMAGE][0].as_py()["bytes"], side)
        if size != wanted:
            theirs, ours = ("x".join(map(str, one)) for one in (size, wanted))
            raise DataError(
                f"images are {theirs} pixels and those of train {ours}; bring them to one size", field=side
            )


def size_of(content: bytes, side: str) -> tuple[int, int]:
    """Width and height in pixels, from the head of an image file."""
    try:
        with PIL.Image.open(io.BytesIO(content or b"")) as image:
            return image.size
    except OSError:
        raise DataError("the first image can't be read", field=side) from None


def _images(table: pa.Table, codec: PixelCodec, side: str) -> Images:
    # Without labels every class would look missing.
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
    return Counter({cell["values"]: cell["counts"] for cell in pc.value_counts(table[LABEL]).to_pylist()})


def _label_rows(labels: Counter[Any], codec: PixelCodec) -> LabelRows:
    known = np.array([labels.get(value, 0) for value in codec.classes], dtype=np.int64)
    return LabelRows(
        known, {str(value): rows for value, rows in labels.items() if value not in codec.classes}
    )


def _share(value: float | None) -> float | None:
    return None if value is None else min(1.0, max(0.0, value))
