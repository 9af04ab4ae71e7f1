"""Data from anywhere, judged: tables in memory and in files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthmill
from synthmill.errors import DataError, NotFoundError
from tables import customers


@pytest.fixture(scope="module")
def sides() -> dict[str, pa.Table]:
    return {
        name: customers(700, seed=number) for number, name in enumerate(("train", "holdout", "synthetic"))
    }


@pytest.fixture(scope="module")
def report(sides: dict[str, pa.Table]) -> synthmill.Report:
    return synthmill.evaluate(
        sides["synthetic"], train=sides["train"], holdout=sides["holdout"], target="churned", profile="quick"
    )


def test_as_good_as_real_data_does_not_fail(report: synthmill.Report) -> None:
    assert report.verdict != "fail"


def test_copied_rows_fail(sides: dict[str, pa.Table]) -> None:
    copied = synthmill.evaluate(
        sides["train"], train=sides["train"], holdout=sides["holdout"], target="churned", profile="quick"
    )
    assert copied.verdict == "fail"
    assert copied.exit_code == 1


def test_figures_by_name_and_by_axis(report: synthmill.Report) -> None:
    figure = report["fidelity.pair_gap"]
    assert figure is report["tabular.pair_gap"]
    assert figure.interval is not None
    assert figure.interval[0] <= figure.interval[1]
    with pytest.raises(
        NotFoundError, match=r"no figure named 'tabular.pair_gab'; did you mean 'tabular.pair_gap'"
    ):
        _ = report["tabular.pair_gab"]


def test_a_report_shows_itself(report: synthmill.Report, capsys: pytest.CaptureFixture[str]) -> None:
    report.show()
    assert "real vs real" in capsys.readouterr().out
    assert report._repr_html_().startswith('<iframe srcdoc="&lt;!')


def test_files_and_frames_are_judged_the_same(
    report: synthmill.Report, sides: dict[str, pa.Table], tmp_path: Path
) -> None:
    for name, table in sides.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    from_files = synthmill.evaluate(
        tmp_path / "synthetic.parquet",
        train=str(tmp_path / "train.parquet"),
        holdout=sides["holdout"].to_pandas(),
        target="churned",
        profile="quick",
    )
    assert {n: r.value for n, r in from_files.metrics.items()} == {
        n: r.value for n, r in report.metrics.items()
    }


def test_an_earlier_report_is_a_baseline(
    report: synthmill.Report, sides: dict[str, pa.Table], tmp_path: Path
) -> None:
    saved = tmp_path / "report.json"
    saved.write_bytes(report.to_json())
    for baseline in (report, saved):
        again = synthmill.evaluate(
            sides["synthetic"],
            train=sides["train"],
            holdout=sides["holdout"],
            target="churned",
            profile="quick",
            baseline=baseline,
        )
        assert len(again.gates) > len(report.gates)
    with pytest.raises(NotFoundError, match="baseline: no report at"):
        synthmill.evaluate(sides["synthetic"], train=sides["train"], baseline=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synthetic": pa.table({"age": [1, 2, 3]})}, "synthetic: lacks 10 of the training table's columns"),
        ({"target": "churn"}, "data.target: no column named 'churn'; did you mean 'churned'?"),
        ({"holdout": 7}, "holdout: expected a table"),
        ({"train": "nowhere.csv"}, "no file or folder with data at nowhere.csv"),
    ],
)
def test_what_can_not_be_compared(
    sides: dict[str, pa.Table], change: dict[str, object], message: str
) -> None:
    given = {**sides, "target": "churned", "profile": "quick", **change}
    with pytest.raises(DataError, match=message):
        synthmill.evaluate(given.pop("synthetic"), **given)  # type: ignore[arg-type]
