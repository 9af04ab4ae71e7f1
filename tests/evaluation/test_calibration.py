"""Are the default gates right? 30 trials of real rows posing as synthetic, and planted failures; the full run
is a benchmark."""

import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest

from evidence import people

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gate_calibration.py"
SIZES = (1000, 200, 800, 1000)
TRIALS, PLANTED = 30, 8


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("gate_calibration", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pool(benchmark):
    return benchmark.Pool(people(6000, 11).drop_columns(["code"]), "outcome", "outcome")


def test_no_error_gate_fails_on_real_rows(benchmark, pool):
    found = [benchmark.trial(pool, "real", n, expensive=False, sizes=SIZES) for n in range(TRIALS)]
    judged = Counter(gate for trial in found for gate, status in trial.items() if status in ("pass", "fail"))
    failed = Counter(
        gate
        for trial in found
        for gate, status in trial.items()
        if status == "fail" and gate.endswith(":error")
    )
    assert not failed
    cheap = [gate for gate in judged if gate.endswith(":error")]
    assert {gate.split(":")[0] for gate in cheap} >= {
        "schema.valid_share",
        "tabular.marginal_gap",
        "tabular.pair_gap",
        "privacy.exact_copy_excess",
        "privacy.near_copy_pvalue",
        "privacy.mia_tpr@1fpr",
        "dup.internal",
    }
    assert all(judged[gate] == TRIALS for gate in cheap)


@pytest.mark.parametrize("scenario", ["copies 5%", "dropped class", "shuffled columns", "noise"])
def test_planted_failures_are_seen_by_the_gates_that_should(benchmark, pool, scenario):
    for number in range(PLANTED):
        found = benchmark.trial(pool, scenario, number, expensive=False, sizes=SIZES)
        seen = {
            gate.split(":")[0]
            for gate, status in found.items()
            if status == "fail" and gate.endswith(":error")
        }
        assert seen & set(benchmark.SEEN_BY[scenario]), number


def test_results_become_tables_and_a_rerun_does_nothing_twice(benchmark, pool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "cells.jsonl")
    monkeypatch.setattr(benchmark, "tables", lambda data: {"people": pool})
    monkeypatch.setattr(benchmark, "SIZES", (300, 100, 300, 300))
    docs = tmp_path / "calibration.md"
    docs.write_text(f"before\n{benchmark.MARKS[0]}\nold\n{benchmark.MARKS[1]}\nafter\n")
    words = ["--trials", "2", "--expensive", "0", "--planted", "1", "--docs", str(docs)]
    monkeypatch.setattr("sys.argv", ["gate_calibration.py", *words])
    benchmark.main()
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()
    assert len(lines) == 2 + len(benchmark.SCENARIOS) - 1
    assert "| copies 5% | any error gate | " in capsys.readouterr().out
    before, tables, after = re.split(r"<!--.*-->", docs.read_text())
    assert (before, after) == ("before\n", "\nafter\n")
    assert "old" not in tables
    assert "| gate | people | all |" in tables
    benchmark.main()
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == len(lines)
