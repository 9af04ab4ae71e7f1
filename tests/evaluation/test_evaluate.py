import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from evidence import KINDS, people, replaced, shuffled_columns
from synthmill.errors import DataError, RecipeError
from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.evidence.base import Options
from synthmill.evaluation.files import report_files
from synthmill.evaluation.gates import Gates, load_gates
from synthmill.evaluation.tables import SlicePart, Tables
from synthmill.metrics.lib.table_evidence import Limits

TRAIN, VALIDATION, HOLDOUT = people(1600, 1), people(400, 2), people(900, 3)
FAST = {"target": "outcome", "profile": "quick"}


def include(*names):
    return Options(include=names)


def tables(synthetic, **changes):
    return Tables(
        **{
            "train": TRAIN,
            "validation": VALIDATION,
            "holdout": HOLDOUT,
            "synthetic": synthetic,
            "kinds": KINDS,
            **changes,
        }
    )


def statuses(report, metric):
    return {(g.aspect, g.severity): g.status for g in report.gates if g.metric == metric}


@pytest.fixture(scope="module")
def good():
    return evaluate(
        tables(people(1600, 5)),
        target="outcome",
        profile="standard",
        sample_rows=800,
        provenance={"dataset": "people@1"},
    )


def test_rows_of_the_truth_pass_the_standard_profile(good):
    assert good.verdict in ("pass", "warn"), good.summary
    assert good.passed()
    assert good.exit_code == 0
    assert not [g for g in good.gates if g.status == "fail" and g.severity == "error"]
    assert {"utility.lift_dataset", "fidelity.c2st_auc", "diversity.coverage"} <= set(good.metrics)
    assert "utility.lift_lowdata" not in good.metrics


def test_the_bootstrap_control_is_caught_by_the_privacy_gates():
    rng = np.random.default_rng(0)
    report = evaluate(
        tables(TRAIN.take(rng.integers(1600, size=1600))),
        **FAST,
        options=Options(include=("privacy.mia_tpr@1fpr",)),
    )
    assert report.verdict == "fail"
    assert report.exit_code == 1
    for metric in ("privacy.exact_copy_excess", "privacy.near_copy_pvalue", "privacy.mia_tpr@1fpr"):
        assert "fail" in statuses(report, metric).values(), metric
    fidelity = [g for g in report.gates if g.metric.startswith("tabular.") and g.status == "fail"]
    assert not fidelity


def test_the_marginals_control_is_caught_by_the_fidelity_and_utility_gates():
    report = evaluate(
        tables(shuffled_columns(people(3000, 5)), train=people(3000, 1)),
        **FAST,
        options=include("utility.tstr_ratio"),
    )
    assert report.verdict == "fail"
    assert statuses(report, "utility.tstr_ratio")[(None, "error")] == "fail"
    assert "fail" in statuses(report, "tabular.pair_gap").values()
    assert "fail" not in statuses(report, "tabular.marginal_gap").values()
    assert not [g for g in report.gates if g.metric.startswith("privacy.") and g.status == "fail"]


def test_a_holdout_posing_as_synthetic_passes():
    fresh = replaced(HOLDOUT, "code", people(900, 77)["code"].to_pylist())
    report = evaluate(tables(fresh), **FAST, options=include("privacy.mia_tpr@1fpr"))
    assert report.verdict in ("pass", "warn"), report.summary


def test_the_level_of_intervals_is_stated_as_it_was_chosen():
    gates = Gates.model_validate({"defaults": {"confidence": 0.99}})
    report = evaluate(tables(people(400, 5)), **FAST, gates=gates)
    assert {result.confidence for result in report.metrics.values()} == {0.99}
    files = report_files(report)
    for name in ("report.html", "summary.md"):
        assert "99% interval" in files[name].decode()
        assert "95%" not in files[name].decode()


def test_the_same_seed_gives_the_same_report_in_any_parts_and_order_of_tasks(good):
    fresh = people(1600, 5)

    def backwards(function, items):
        return [function(item) for item in reversed(items)][::-1]

    parts = [SlicePart(fresh.slice(a, b - a), a) for a, b in ((0, 7), (7, 900), (900, 1600))]
    again = evaluate(
        tables(parts),
        target="outcome",
        profile="standard",
        sample_rows=800,
        provenance={"dataset": "people@1"},
        map_tasks=backwards,
    )
    free = {"created": "", "timings": {}}
    assert again.model_copy(update=free) == good.model_copy(update=free)


def test_nan_is_missing_like_null_wherever_it_stands():
    """Parquet files hold NaN where a table was written by NumPy; generators write null."""

    def gappy(seed, missing):
        rng = np.random.default_rng(seed)
        x = [
            missing if gone else float(v)
            for v, gone in zip(rng.normal(size=1000), rng.random(1000) < 0.2, strict=True)
        ]
        return pa.table(
            {
                "x": pa.array(x, pa.float64(), from_pandas=False),
                "z": pa.array(rng.normal(size=1000), pa.float32()),
            }
        )

    nan = float("nan")
    gates = load_gates().model_copy(update={"constraints": ("x >= -100",)})
    by_nan, by_null, mixed = (
        evaluate(
            Tables(gappy(1, real), None, gappy(2, real), gappy(3, fake)),
            target=None,
            profile="quick",
            gates=gates,
        )
        for real, fake in ((nan, nan), (None, None), (nan, None))
    )
    assert by_null.verdict in ("pass", "warn"), by_null.summary
    assert by_nan.metrics == mixed.metrics == by_null.metrics
    assert by_nan.metrics["tabular.constraint_violations"].value == 0


def test_a_stream_of_tables_is_read_once():
    fresh = people(900, 5)
    streamed = evaluate(tables(iter([fresh.slice(0, 500), fresh.slice(500)])), **FAST)
    whole = evaluate(tables(fresh), **FAST)
    assert streamed.metrics == whole.metrics


def test_another_seed_draws_other_rows():
    one, two = (evaluate(tables(people(900, 5)), **FAST, seed=seed, sample_rows=300) for seed in (0, 1))
    assert one.metrics["privacy.near_copy_pvalue"].details != two.metrics["privacy.near_copy_pvalue"].details
    assert one.metrics["tabular.marginal_gap"].value == two.metrics["tabular.marginal_gap"].value


def test_full_row_figures_read_every_row_and_samples_declare_their_size():
    fresh = people(3000, 5)
    spoiled = replaced(fresh, "age", [*fresh["age"].to_pylist()[:-1], None])
    report = evaluate(tables(spoiled), **FAST, sample_rows=100)
    assert report.metrics["schema.valid_share"].value == 1 - 1 / 3000
    assert report.metrics["tabular.pair_gap"].n["synthetic"] == 3000
    assert report.metrics["privacy.near_copy_pvalue"].n == {"train": 100, "holdout": 100, "synthetic": 100}
    assert report.config["neighbour_rows"] == 100
    everything = evaluate(tables(fresh), **FAST, sample_rows="all")
    assert everything.metrics["privacy.near_copy_pvalue"].n["synthetic"] == 3000
    assert everything.config["neighbour_rows"] is None


def test_without_a_holdout_it_says_what_it_can_not_give():
    report = evaluate(tables(people(900, 5), holdout=None), **FAST)
    assert report.verdict == "inconclusive"
    assert not report.passed()
    assert report.passed(allow_inconclusive=True)
    assert report.metrics["privacy.near_copy_pvalue"].status == "unavailable"
    assert report.metrics["tabular.marginal_gap"].reference is None
    assert "privacy.near_copy_pvalue" in report.warnings[0]
    assert any("no holdout" in line for line in report.privacy.not_tested)


def test_too_few_rows_are_inconclusive_and_membership_needs_700():
    report = evaluate(tables(people(150, 5)), **FAST)
    assert report.verdict == "inconclusive"
    small = evaluate(
        tables(people(900, 5), holdout=people(650, 3)),
        **FAST,
        options=include("privacy.mia_tpr@1fpr"),
    )
    assert set(statuses(small, "privacy.mia_tpr@1fpr").values()) == {"inconclusive"}
    assert small.verdict == "inconclusive"


def test_without_a_target_utility_is_not_applicable():
    report = evaluate(
        tables(people(900, 5)), target=None, profile="quick", options=include("utility.tstr_ratio")
    )
    assert report.metrics["utility.tstr_ratio"].status == "not_applicable"
    assert report.verdict in ("pass", "warn")


def test_a_single_class_is_inconclusive():
    one = replaced(people(900, 1), "outcome", ["ill"] * 900)
    report = evaluate(
        tables(replaced(people(900, 5), "outcome", ["ill"] * 900), train=one),
        **FAST,
        options=include("utility.tstr_ratio"),
    )
    assert set(statuses(report, "utility.tstr_ratio").values()) == {"inconclusive"}
    assert report.verdict != "pass"


def test_all_missing_columns_are_seen_on_either_side():
    empty = [None] * 900
    in_synthetic = evaluate(tables(replaced(people(900, 5), "city", empty)), **FAST)
    assert in_synthetic.verdict == "fail"
    everywhere = tables(
        replaced(people(900, 5), "pay", empty),
        train=replaced(people(900, 1), "pay", empty),
        holdout=replaced(people(900, 3), "pay", empty),
        validation=None,
    )
    report = evaluate(everywhere, **FAST)
    assert report.verdict in ("pass", "warn"), report.summary
    assert report.metrics["tabular.marginal_gap"].per_column["pay"] == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [("outcome", None), ("outcome", "unheard of"), ("outcome", "ill"), ("pay", None), ("pay", float("inf"))],
    ids=["target missing", "target unknown", "a single class", "a number missing", "infinite"],
)
def test_a_spoiled_column_never_passes_and_never_breaks_the_classifiers(column, value):
    fake = replaced(people(900, 5), column, [value] * 900)
    report = evaluate(
        tables(fake),
        **FAST,
        options=Options(include=("utility.tstr_ratio", "utility.lift_dataset", "fidelity.c2st_auc")),
    )
    assert report.verdict == "fail"
    assert "pass" not in statuses(report, "tabular.marginal_gap").values()
    if column == "outcome":
        assert "pass" not in statuses(report, "utility.tstr_ratio").values()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop_columns(["city"]), "synthetic: lacks 1 of the training table's columns: city"),
        (lambda t: t.drop_columns(["outcome"]), "outcome"),
        (
            lambda t: t.set_column(0, "age", pa.array(["old"] * t.num_rows)),
            "synthetic: column 'age' is string and does not convert to int64",
        ),
        (lambda t: t.slice(0, 0), "synthetic: the synthetic table has no rows"),
    ],
)
def test_tables_that_can_not_be_compared_are_refused_in_one_line(spoil, message):
    with pytest.raises(DataError) as caught:
        evaluate(tables(spoil(people(300, 5))), **FAST)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="did you mean 'outcome'"):
        evaluate(tables(people(300, 5)), target="outcom")
    with pytest.raises(RecipeError, match="did you mean 'quick'"):
        evaluate(tables(people(300, 5)), target=None, profile="quik")
    with pytest.raises(RecipeError, match="no metric named"):
        evaluate(tables(people(300, 5)), target=None, profile="quick", options=include("privacy.none"))
    with pytest.raises(RecipeError, match="sample_rows"):
        evaluate(tables(people(300, 5)), target=None, profile="quick", sample_rows=0)
    with pytest.raises(DataError, match="training table has no rows"):
        evaluate(tables(people(300, 5), train=TRAIN.slice(0, 0)), target=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age is 3", "can't read"),
        ("aeg > 3", "did you mean 'age'"),
        ("age > agee", "did you mean 'age'"),
        ("city > 3", "not a number"),
    ],
)
def test_bad_constraints_are_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        evaluate(tables(people(300, 5)), target=None, profile="quick", gates=Gates(constraints=(text,)))


def test_other_types_and_further_columns_are_taken_as_the_training_table_says():
    fresh = people(900, 5)
    other = fresh.set_column(0, "age", fresh["age"].cast(pa.int16())).append_column(
        "is_synthetic", pa.array([True] * 900)
    )
    report = evaluate(tables(other), **FAST)
    assert report.metrics == evaluate(tables(fresh), **FAST).metrics
    assert "is_synthetic" in report.warnings[0]


def test_a_baseline_shows_what_got_worse():
    before = json.loads(evaluate(tables(people(900, 5)), **FAST).to_json())
    worse = replaced(people(900, 5), "city", ["Ulm"] * 900)
    report = evaluate(tables(worse), **FAST, baseline=before)
    found = {g.metric: g.status for g in report.gates if g.kind == "regression"}
    assert found["tabular.marginal_gap"] == "fail"
    assert found["privacy.exact_copy_excess"] == "pass"


@dataclass
class Counting:
    """Parts that count how often they are read."""

    table: pa.Table
    first_row: int
    reads: list

    def load(self):
        self.reads.append(self.first_row)
        return self.table


def test_many_parts_are_read_once_in_a_bounded_number_of_tasks():
    fresh, reads, sizes = people(1000, 5), [], []
    parts = [Counting(fresh.slice(a, 10), a, reads) for a in range(0, 1000, 10)]

    def watch(function, items):
        sizes.append(len(items))
        return [function(item) for item in items]

    evaluate(tables(parts), **FAST, map_tasks=watch)
    assert sorted(reads) == list(range(0, 1000, 10))
    assert sizes[0] <= 32


def test_limits_say_what_must_be_kept():
    assert Limits().sample_rows == 50_000
    assert Limits(None, 10).sample_rows is None
