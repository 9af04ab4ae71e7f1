"""Data that anything made, judged from memory."""

import numpy as np
import pyarrow as pa
import pytest

from evidence import people, replaced
from synthmill.errors import DataError, NotFoundError, UserError
from synthmill.evaluation.anywhere import evaluate, kind_of
from synthmill.evaluation.evidence.base import Options
from synthmill.evaluation.report import Report

TRAIN, HOLDOUT = people(1200, 1), people(800, 2)


def judged(synthetic: pa.Table, **options) -> Report:
    real = {"train": TRAIN, "holdout": HOLDOUT, "target": "outcome", "profile": "quick"}
    return evaluate(synthetic, **{**real, **options})


@pytest.fixture(scope="module")
def good() -> Report:
    return judged(people(1000, 5))


def test_rows_of_the_truth_pass(good) -> None:
    assert good.verdict in ("pass", "warn"), good.summary
    assert good.inputs["columns"]["code"] == "identifier"
    assert not good.warnings


def test_another_order_and_other_types_change_no_figure(good) -> None:
    frame = people(1000, 5).to_pandas()[list(reversed(TRAIN.column_names))]
    frame["age"] = frame["age"].astype(float)
    frame["joined"] = frame["joined"].astype(str)
    again = judged(pa.Table.from_pandas(frame, preserve_index=False))
    assert again.metrics == good.metrics


def test_the_training_rows_themselves_are_caught_and_noted() -> None:
    report = judged(TRAIN)
    assert report.verdict == "fail"
    failed = {gate.metric for gate in report.failing() if gate.severity == "error"}
    assert failed >= {"privacy.exact_copy_excess", "privacy.identifier_overlap", "privacy.near_copy_pvalue"}
    assert "Real identifiers (code)" in report.summary
    assert any("1,200 of 1,200 synthetic rows" in note for note in report.warnings)


def test_a_holdout_that_was_trained_on_is_noted() -> None:
    report = judged(people(1000, 5), holdout=pa.concat_tables([HOLDOUT.slice(0, 400), TRAIN.slice(0, 400)]))
    assert any("400 of 800 holdout rows (50.0%) are training rows" in note for note in report.warnings)


def test_rows_that_repeat_by_chance_are_not_noted() -> None:
    def coins(seed: int) -> pa.Table:
        rng = np.random.default_rng(seed)
        return pa.table({"a": rng.integers(0, 2, 500).astype(str), "b": rng.integers(0, 3, 500).astype(str)})

    report = evaluate(coins(1), train=coins(2), holdout=coins(3), profile="quick")
    assert not report.warnings


def test_the_verdict_names_the_columns_at_fault() -> None:
    fresh = people(1000, 5)
    spoiled = replaced(fresh, "code", [f"{n}-{n}" for n in range(1000)])
    report = judged(spoiled)
    assert report.verdict == "fail"
    assert "Written form (code)" in report.summary


def test_cells_of_another_type_are_counted_against_the_form() -> None:
    fresh = people(1000, 5)
    ages = [str(age) for age in fresh["age"].to_pylist()]
    ages[:50] = ["unknown"] * 50
    at = fresh.schema.get_field_index("age")
    report = judged(fresh.set_column(at, "age", pa.array(ages)))
    assert report.metrics["schema.form_kept"].per_column["age"] == pytest.approx(0.95)
    assert "Written form (age)" in report.summary
    assert any(note.startswith("50 synthetic cells of 'age'") for note in report.warnings)


def test_figures_are_found_by_several_names(good) -> None:
    assert good["tabular.pair_gap"] is good["fidelity.pair_gap"] is good["pair_gap"]
    assert good["fidelity.pair_gap"].interval == good.metrics["tabular.pair_gap"].ci
    with pytest.raises(NotFoundError, match=r"pair_gab.*did you mean"):
        good["tabular.pair_gab"]


def test_it_shows_itself_on_a_terminal_and_in_a_notebook(good, capsys) -> None:
    good.show()
    text = capsys.readouterr().out
    assert "Column gap" in text or "Pair gap" in text
    assert "gates judged" in text
    page = good._repr_html_()
    assert page.startswith("<iframe srcdoc=")
    assert "<html" not in page


def test_options_of_other_kinds_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^--extractor: is not read for data of kind 'table', only for image"
    ):
        judged(people(100, 5), options=Options(extractor="random"))


def test_images_are_recognised_by_their_column() -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert kind_of(pa.schema([("image", image), ("label", pa.int64())])) == "image"
    assert kind_of(TRAIN.schema) == "table"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "nope"}, "no column named 'nope'"),
        ({"train": TRAIN.slice(0, 0)}, "^train: "),
        ({"holdout": HOLDOUT.drop_columns(["pay"])}, "^holdout: lacks 1 of .*: pay"),
    ],
)
def test_mistakes_are_one_line(changes, message) -> None:
    with pytest.raises(DataError, match=message):
        judged(people(100, 5), **changes)


def test_no_synthetic_row_is_a_mistake() -> None:
    with pytest.raises(DataError, match="synthetic"):
        judged(people(100, 5).slice(0, 0))
