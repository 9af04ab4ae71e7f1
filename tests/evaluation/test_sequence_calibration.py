"""Are the gates on sequences right? Some trials of real sequences posing as synthetic ones, and planted
failures; the full run is a benchmark."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from synthmill.evaluation.gates import judge, load_gates
from synthmill.metrics.lib.sequences import SequenceColumns, lost_share
from visits import visits

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sequence_calibration.py"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        spec = importlib.util.spec_from_file_location("sequence_calibration", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


@pytest.fixture(scope="module")
def pool(benchmark):
    return benchmark.Pool(visits(800, 11), SequenceColumns(("customer",), "when"))


def test_no_error_gate_fails_on_real_sequences(benchmark, pool):
    found = [benchmark.trial(pool, "real", number, expensive=False)["gates"] for number in range(8)]
    counted = Counter((gate, status) for trial in found for gate, status in trial.items())
    errors = {gate for gate, _ in counted if gate.endswith(":error")}
    assert {gate.split(":")[0] for gate in errors} == set(benchmark.CHEAP)
    assert all(counted[gate, "pass"] == 8 for gate in errors)


@pytest.mark.parametrize("scenario", ["rows without memory", "half as long", "three times as slow"])
def test_planted_failures_are_seen_by_the_gates_that_should(benchmark, pool, scenario):
    for number in range(3):
        found = benchmark.trial(pool, scenario, number, expensive=False)["gates"]
        failed = {gate.split(":")[0] for gate, status in found.items() if status == "fail"}
        assert failed & set(benchmark.SEEN_BY[scenario]), number


def test_results_become_tables_and_a_rerun_does_nothing_twice(benchmark, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "cells.jsonl")
    monkeypatch.setattr(benchmark, "pools", lambda: {"visits": pool})
    docs = tmp_path / "calibration.md"
    docs.write_text(f"before\n{benchmark.MARKS[0]}\nold\n{benchmark.MARKS[1]}\nafter\n")
    words = ["--trials", "1", "--planted", "1", "--docs", str(docs)]
    monkeypatch.setattr("sys.argv", ["sequence_calibration.py", *words])
    benchmark.main()
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(benchmark.SEEN_BY)
    assert "| gate | visits | all |" in docs.read_text()
    assert "| half as long | sequence.lengths | 1.00 |" in docs.read_text()
    benchmark.main()
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == len(lines)


def test_without_sequences_the_gates_are_not_run():
    gates = load_gates()
    mine = gates.model_copy(
        update={"gates": tuple(g for g in gates.gates if g.metric.startswith("sequence."))}
    )
    assert {outcome.status for outcome in judge(mine, {})} == {"not_run"}


def test_the_lost_share_is_beyond_what_sampling_adds():
    assert lost_share(0.05, 0.05, 0.4) == 0.0
    assert lost_share(0.4, 0.05, 0.4) == pytest.approx(1.0)
    assert lost_share(0.3, None, 0.4) == pytest.approx(0.75)
    assert lost_share(0.06, 0.05, 0.06) == 0.0, "real rows have none to lose"
