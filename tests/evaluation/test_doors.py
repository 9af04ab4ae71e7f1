"""What evaluation asks of a kind of data, of the kinds that ship and of one that another package adds."""

import sys
import types
from typing import Any

import pyarrow as pa
import pytest

from synthmill import registry
from synthmill.errors import UserError
from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.evidence.base import Evidence, Options, Page, evidence_door, refuse_ignored
from synthmill.evaluation.files import report_files
from synthmill.evaluation.gates import load_gates
from synthmill.evaluation.report import from_json
from synthmill.evaluation.tables import Tables
from synthmill.metrics.base import KINDS, metric_classes

SHIPPED = registry.names(KINDS)


@pytest.mark.parametrize("kind", SHIPPED)
def test_a_door_has_metrics_gates_and_needs_that_fit(kind: str) -> None:
    door, metrics = evidence_door(kind), metric_classes(kind)
    assert metrics
    assert {need for metric in metrics.values() for need in metric.needs} <= set(door.needs)
    assert {gate.metric for gate in load_gates(shipped=door.gates_file()).gates} <= set(metrics)
    assert {name for figures in door.page.tiles.values() for name, _ in figures} <= set(metrics)
    assert door.options <= set(Options.__dataclass_fields__)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("image", Options(include=("tabular.pair_gap",)), "^--include: .*'image', only for table"),
        ("image", Options(secret=("age",)), "^--secret: .*'image', only for table"),
        ("image", Options(budget=5.0), "^--budget: .*'image', only for table"),
        ("table", Options(extractor="random"), "^--extractor: .*'table', only for image"),
        ("table", Options(neighbours=True), "^--neighbours: .*'table', only for image"),
    ],
)
def test_what_would_be_ignored_is_refused(kind: str, options: Options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        refuse_ignored(kind, options)
    refuse_ignored(kind, Options())


class Sound(Evidence):
    """A kind that no file of ours knows."""

    gates = "gates.yaml"
    options = frozenset()
    needs = {}  # noqa: RUF012
    page = Page(heading="Synthetic sounds", tiles={}, captions={}, facts=lambda inputs: ["a sound"])

    @classmethod
    def gather(cls, tables: Tables, request: Any) -> "Sound":
        found = cls()
        found.evidence = tables
        return found

    @property
    def has_holdout(self) -> bool:
        return False

    def inputs(self) -> dict[str, Any]:
        rows = {f"{side}_rows": 2 for side in ("train", "validation", "holdout", "synthetic")}
        return {**rows, "columns": {"sound": "sound"}, "target": None, "task": None}

    def config(self) -> dict[str, Any]:
        return {"neighbour_rows": None, "classifier_rows": None}

    def warnings(self, results: Any) -> list[str]:
        return ["a toy"]


@pytest.fixture
def sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind `sound`, added as an installed package would add it."""
    Sound.__module__ = "synthmill.evaluation.evidence.sound"
    module = types.ModuleType(Sound.__module__)
    module.Sound = Sound  # type: ignore[attr-defined]
    known = registry._modules
    monkeypatch.setitem(sys.modules, Sound.__module__, module)
    monkeypatch.setattr(
        registry,
        "_modules",
        lambda folder: {**known(folder), **({"sound": Sound.__module__} if folder == KINDS else {})},
    )


def test_another_kind_needs_no_edit(sounds: None) -> None:
    table = pa.table({"sound": ["a", "b"]})
    report = evaluate(Tables(table, None, None, table), kind="sound", profile="quick")
    assert (report.kind, report.verdict, report.warnings) == ("sound", "inconclusive", ("a toy",))
    files = report_files(report)
    assert "Synthetic sounds" in files["report.html"].decode()
    assert from_json(files["report.json"]).kind == "sound"
