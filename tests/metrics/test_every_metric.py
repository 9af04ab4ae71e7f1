"""What holds of every metric: declared, documented, tested, bounded, repeatable, plain JSON."""

import json
from pathlib import Path

import pytest

from evidence import computed, look, people
from synthmill import registry
from synthmill.evaluation.evidence.table import Table
from synthmill.metrics.base import PROFILES, Result, in_profile, metric_classes
from synthmill.metrics.lib.sequences import SequenceColumns
from visits import visits

CLASSES = metric_classes("table")
HEAVY = {"utility.lift_lowdata", "privacy.shadow_tpr@1fpr"}


@pytest.fixture(scope="module")
def results():
    return everything(), everything()


def everything():
    evidence = look(
        people(300, 5),
        train=people(500, 1),
        holdout=people(400, 6),
        validation=people(200, 7),
        requested_rows=300,
        constraints=("age >= 18",),
        attacks=60,
        retrain=lambda subset, seed: people(60, 900 + seed),
        lowdata_rows=(40,),
        lowdata_seeds=3,
        shadow_models=6,
        shadow_rows=200,
        learners=("linear",),
    )
    rows = [cls for cls in CLASSES.values() if "sequences" not in cls.needs]
    return computed(evidence, *rows) | sequences()


def sequences():
    evidence = look(
        visits(60, 5),
        train=visits(100, 1),
        holdout=visits(80, 6),
        target=None,
        kinds={"customer": "identifier"},
        sequence=SequenceColumns(("customer",), "when"),
    )
    return computed(evidence, *(cls for cls in CLASSES.values() if "sequences" in cls.needs))


@pytest.mark.parametrize("folder", ["table", "image", "common"])
def test_every_file_has_a_test_of_its_own(folder):
    here = Path(__file__).parent / folder
    missing = [n for n in registry.names(f"metrics/{folder}") if not (here / f"test_{n}.py").is_file()]
    assert missing == []


@pytest.mark.parametrize("name", CLASSES)
def test_declarations(name):
    cls = CLASSES[name]
    assert cls.name == name
    assert cls.__doc__
    assert len(cls.advice) > 30
    assert cls.title[0].isupper()
    assert cls.question[0].isupper()
    assert cls.question.endswith("?")
    assert set(cls.needs) <= set(Table.needs)
    assert "table" in cls.modalities
    assert (cls.target is not None) or cls.goal != "target"
    assert cls.profile in (*PROFILES, "opt-in")


@pytest.mark.parametrize("name", CLASSES)
def test_results_are_bounded_explained_and_repeatable(name, results):
    first, second = (r[name] for r in results)
    assert first.status == "ok", first.reason
    assert first == second
    low, high = first.bounds
    assert low is None or first.value >= low
    assert high is None or first.value <= high
    assert first.method
    assert first.n
    assert first.gate_n > 0
    if first.ci is not None:
        assert first.ci[0] <= first.value <= first.ci[1] or first.axis == "privacy"
    again = Result.model_validate_json(json.dumps(first.model_dump(mode="json"), allow_nan=False))
    assert again == first


def test_profiles_grow():
    sizes = [sum(in_profile(cls, profile) for cls in CLASSES.values()) for profile in PROFILES]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4
    assert not any(
        in_profile(CLASSES[name], "quick") for name in ("fidelity.c2st_auc", "utility.lift_dataset")
    )
    assert in_profile(CLASSES["privacy.near_copy_pvalue"], "quick")
    assert not any(in_profile(CLASSES["privacy.singling_out"], profile) for profile in PROFILES)
