"""What a job would take: from a few real steps or rows, and nothing is started or written."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from customers import write_customers
from jobs import command
from synthmill.catalog.store import Version
from synthmill.runtime import prepare
from synthmill.runtime.cluster import dashboard_link
from synthmill.runtime.progress import Progress
from synthmill.runtime.rates import GeneratingProgress, ScanPace, StepPace, clock_time, workers_text
from synthmill.runtime.writers import Done


@pytest.mark.parametrize("model", ["tvae", "marginals", "bootstrap", "auto"])
def test_a_dry_run_of_training_takes_a_few_steps(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_customers(tmp_path / "customers.csv", rows=300)
    settings = ["name=x", f"data.source={source}", f"model.name={model}", "training.max_epochs=4"]
    arguments = [word for setting in settings for word in ("--set", setting)]
    capsys.readouterr()
    from synthmill.cli import run

    assert run(["train", "table", *arguments, "--dry-run", "--store", str(tmp_path / "store")]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    found = json.loads(lines[-1])["estimate"]
    # 210 training rows, and batches of 50 of them.
    assert found["steps"] == (16 if model == "tvae" else 0)
    assert found["seconds"] > 0
    if model == "auto":
        why = next(
            number for number, line in enumerate(lines) if line.startswith("model.name auto: forest, ")
        )
        # With all of its configuration, as it is trained.
        assert {"model:", "  name: forest", "    trees: 10"} <= set(lines[:why])
    assert found["memory_bytes"] > 50e6
    assert [line.partition(":")[0] for line in lines[-4:-1]] == ["time", "memory", "disk"]
    assert not (tmp_path / "store").exists()


def test_a_dry_run_says_which_reading_tasks_would_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthmill.cli import run

    source = write_customers(tmp_path / "customers.csv", rows=300)
    settings = ["name=x", f"data.source={source}", "data.stream=always", "model.name=marginals"]
    arguments = [word for setting in settings for word in ("--set", setting)]
    for least, expected in ((8, 0), (0, 1)):
        monkeypatch.setattr(prepare, "LEAST_PARTS", least)
        capsys.readouterr()
        assert run(["train", "table", *arguments, "--dry-run", "--store", str(tmp_path / "store")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.startswith("reading: one process took ") for line in lines) == expected
        assert json.loads(lines[-1])["estimate"]["seconds"] > 0


def test_a_dry_run_without_the_source_prints_the_recipe_and_says_why_there_is_no_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from synthmill.cli import run

    arguments = ["--set", "name=x", "--set", f"data.source={tmp_path}/none.csv", "--dry-run"]
    assert run(["train", "table", *arguments]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "name: x"
    assert lines[-2].startswith("no estimate: data.source: ")
    assert json.loads(lines[-1])["estimate"] is None


def test_a_dry_run_of_publishing_writes_one_part_elsewhere(
    trained: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    store = trained.uri.rsplit("/models/", 1)[0]
    start = ("augment", "--model", trained.ref, "--store", store, "--dataset", "planned", "--rows", "5000")
    code, line, _ = command(capsys, *start, "--dry-run", "--shard-rows", "1000", "--workers", "2")
    found = line["estimate"]
    assert (code, found["rows"], found["files"], found["workers"]) == (0, 5000, 5, 2)
    assert 5000 < found["disk_bytes"] < 5_000_000
    assert not Path(store.removeprefix("file://"), "datasets", "planned").exists()
    code, line, _ = command(capsys, *start, "--dry-run", "--where", "plam=pro")
    assert (code, "did you mean 'plan'" in line["error"]) == (2, True)


def test_progress_says_rows_rate_time_left_and_whose_work_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    from synthmill.catalog.manifest import FileEntry

    def part(rows: int, worker: str, seconds: float) -> Done:
        entry = FileEntry(path="p", rows=rows, bytes=1, sha256="0" * 64)
        return Done((entry,), worker, seconds)

    now = iter([0.0, 0.0, 10.0])
    shown = GeneratingProgress(10_000, clock=lambda: next(now))
    with Progress("generating", 4) as bar:
        # The first part is an earlier attempt's: its rows count, its time does not.
        done = {0: part(1000, "", 0.0)}
        shown.update(bar, done)
        done |= {1: part(2000, "a:1", 4.0), 2: part(2000, "b:2", 8.0), 3: part(1000, "a:1", 2.0)}
        shown.update(bar, done)
    assert capsys.readouterr().out.splitlines() == [
        "generating: 1/4  1,000 rows",
        "generating: 4/4  6,000 rows, 500 rows/s, 0:08 left, 2 workers of 250 to 500 rows/s",
    ]
    assert shown.summary() == [
        "worker b:2: 1 part, 2,000 rows, 250 rows/s",
        "worker a:1: 2 parts, 3,000 rows, 500 rows/s",
    ]


def test_time_left_of_training_starts_anew_with_each_process() -> None:
    pace = StepPace(100)
    assert pace.left(0, 0.0) is None
    assert pace.left(20, 10.0) == "0:40"
    # A resumed run: what another process took for its steps says nothing of this one.
    assert pace.left(10, 11.0) is None
    assert pace.left(20, 31.0) == "2:40"
    assert workers_text([0.010, 0.025]) == "2 workers 10 to 25 ms a step (slowest: 1)"
    assert clock_time(3723.4) == "1:02:03"


def test_a_cluster_with_a_dashboard_is_linked() -> None:
    assert dashboard_link("10.0.0.1:8265", "02000000") == "dashboard: http://10.0.0.1:8265/#/jobs/02000000"
    assert dashboard_link("", "02000000") is None


@pytest.mark.parametrize("num_rows", [4_000, None])
def test_what_a_scan_says_of_its_pace(num_rows: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 10.0, 20.0])
    raw = SimpleNamespace(num_rows=num_rows, num_bytes=8_000, read_bytes=500)
    with Progress("scanning", num_rows or raw.num_bytes) as bar:
        shown = ScanPace(bar, raw, clock=lambda: next(now))
        raw.read_bytes += 2_000
        shown.update(1_000, 2)
        # A file whose end is looked at twice.
        raw.read_bytes += 6_500
        shown.update(4_000, 1)
    done, whole = ("1,000", "4,000") if num_rows else ("2,000", "8,000")
    assert capsys.readouterr().out.splitlines() == [
        f"scanning: {done}/{whole}  1,000 rows, 100 rows/s, 0:30 left, 2 tasks",
        f"scanning: {whole}/{whole}  4,000 rows, 200 rows/s, 0:00 left, 1 task",
    ]
