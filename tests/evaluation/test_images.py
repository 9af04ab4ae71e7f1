"""Evaluations of images from tables to a report: labels that don't fit."""

from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from image_cases import digits
from synthmill.config import DataConfig
from synthmill.data import png
from synthmill.data.codecs.pixels import PixelCodec
from synthmill.data.readers.image import image_column
from synthmill.errors import DataError
from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.evidence.base import Options
from synthmill.evaluation.evidence.image import Image, gather
from synthmill.evaluation.gates import judge, load_gates
from synthmill.evaluation.tables import SlicePart, Tables
from synthmill.metrics.base import Result, map_serially
from synthmill.metrics.common.schema_valid import SchemaValid
from synthmill.metrics.lib.image_evidence import ImageSettings


@cache
def table() -> pa.Table:
    """scikit-learn's digits in a random order."""
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(pixels))
    images = image_column(png.encode_all(pixels[order, 0]), [f"{row}.png" for row in range(len(order))])
    return pa.table({"image": images, "label": labels[order]})


TRAIN, HOLDOUT, FRESH = slice(0, 600), slice(600, 1000), slice(1000, 1400)


def rows(chosen: slice) -> pa.Table:
    return table().slice(chosen.start, chosen.stop - chosen.start)


def labelled(images: pa.Table, labels: list[int]) -> pa.Table:
    return images.set_column(1, "label", pa.array(labels, pa.int64()))


def inputs(synthetic: object, *, train: pa.Table | None = None, holdout: pa.Table | None = None) -> Tables:
    train = rows(TRAIN) if train is None else train
    codec = PixelCodec.fit(train, DataConfig(source="digits", kind="image"))
    held = rows(HOLDOUT) if holdout is None else holdout
    return Tables(train, None, held, synthetic, codec=codec)  # type: ignore[arg-type]


def valid_share(synthetic: object, **real: pa.Table) -> tuple[Result, dict[str, str]]:
    """The figure, and how its gates come out by severity."""
    tables = inputs(synthetic, **real)
    codec = tables.codec
    evidence = gather(tables, codec, ImageSettings(), extractor="random", map_tasks=map_serially)  # type: ignore[arg-type]
    found = {SchemaValid.name: SchemaValid().compute(evidence)}
    return found[SchemaValid.name], {
        gate.severity: gate.status
        for gate in judge(load_gates(shipped=Image.gates_file()), found)
        if gate.metric in found
    }


def test_real_images_have_known_labels() -> None:
    result, gates = valid_share(rows(FRESH))
    assert (result.value, result.reference, result.n) == (1.0, 1.0, {"synthetic": 400})
    assert gates == {"warn": "pass", "error": "pass"}


def test_labels_that_training_never_saw_are_counted_in_every_part() -> None:
    fresh = rows(FRESH)
    spoiled = labelled(fresh, [77] * 100 + fresh["label"].to_pylist()[100:])
    result, gates = valid_share([SlicePart(spoiled.slice(0, 150), 0), SlicePart(spoiled.slice(150), 150)])
    assert result.value == 0.75
    assert gates == {"warn": "fail", "error": "fail"}


def test_the_report_says_which_images_were_left_out() -> None:
    fresh = rows(FRESH)
    spoiled = labelled(fresh, [77] * 100 + fresh["label"].to_pylist()[100:])
    found = evaluate(inputs(spoiled), kind="image", profile="quick", options=Options(extractor="random"))
    assert found.verdict == "fail"
    assert found.inputs["synthetic_rows"] == 400
    assert found.warnings == ("left out: 100 synthetic images whose label no training image has (77)",)


def test_the_level_of_intervals_and_another_baseline_are_stated() -> None:
    gates = load_gates(shipped=Image.gates_file())
    strict = gates.model_copy(update={"defaults": gates.defaults.model_copy(update={"confidence": 0.99})})
    past = {
        "metrics": {"image.fd": {"metric": "image.fd@torchscript-00000000", "value": 0.1, "ci": [0.05, 0.15]}}
    }
    found = evaluate(
        inputs(rows(FRESH)),
        kind="image",
        profile="quick",
        options=Options(extractor="random"),
        gates=strict,
        baseline=past,
    )
    assert {result.confidence for result in found.metrics.values()} == {0.99}
    assert not [gate for gate in found.gates if gate.kind == "regression"]
    assert [warning for warning in found.warnings if "image.fd@torchscript-00000000" in warning]


def test_a_single_strange_label_may_be_chance() -> None:
    fresh = rows(FRESH)
    result, gates = valid_share(labelled(fresh, [77, *fresh["label"].to_pylist()[1:]]))
    assert result.value == 1 - 1 / 400
    assert gates == {"warn": "pass", "error": "pass"}


def test_no_image_of_a_known_class_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"^synthetic: the images' labels \(77\) are none of the training images' \(0, 1, 2\)"
    ):
        valid_share(labelled(rows(FRESH), [77] * 400))


def test_a_missing_label_column_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^synthetic: these images have no 'label' column"):
        valid_share(rows(FRESH).select(["image"]))


def test_without_labels_there_is_nothing_to_check() -> None:
    plain, held, fresh = (rows(chosen).select(["image"]) for chosen in (TRAIN, HOLDOUT, FRESH))
    result, gates = valid_share(fresh, train=plain, holdout=held)
    assert result.status == "not_applicable"
    assert set(gates.values()) == {"not_applicable"}
