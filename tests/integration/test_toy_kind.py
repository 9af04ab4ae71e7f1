"""A kind of data that synthmill does not know joins from another package and goes all the way: train,
augment, evaluate and serve, with no edit anywhere."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "toy"
WIDTH = 6


def _run(*command: str) -> dict[str, object]:
    """The last line of a job that must succeed."""
    paths = [str(TOY), str(ROOT / "platform")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines whose first place is nearly always 1 and last nearly always 0; trained and published."""
    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    ones = rng.random((900, WIDTH)) < np.linspace(0.95, 0.05, WIDTH)
    lines = ["".join("1" if bit else "0" for bit in line) for line in ones]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    (folder / "bits.yaml").write_text(
        f"name: bits\ndata: {{source: {folder / 'lines.txt'}, kind: bits}}\nmodel: {{name: coins}}\n"
    )
    _run("jobs/train.py", str(folder / "bits.yaml"), "--store", str(folder / "store"))
    _run(
        "jobs/augment.py",
        "--model",
        "bits",
        "--rows",
        "3000",
        "--dataset",
        "more",
        "--store",
        str(folder / "store"),
    )
    return folder / "store"


def test_rows_are_published_as_the_model_learnt_them(store: Path) -> None:
    rows = pq.read_table(store / "datasets" / "more" / "1")["bits"].to_pylist()
    shares = np.array([[int(char) for char in line] for line in rows]).mean(0)
    assert len(rows) == 3000
    assert np.abs(shares - np.linspace(0.95, 0.05, WIDTH)).max() < 0.05


def test_its_own_gates_judge_it(store: Path) -> None:
    result = _run("jobs/evaluate.py", "--dataset", "more", "--store", str(store))
    assert result["verdict"] == "pass"
    report = json.loads((store / "reports" / "more" / "1" / "report.json").read_text())
    assert list(report["metrics"]) == ["bits.share_difference"]
    assert "3,000 lines" in (store / "reports" / "more" / "1" / "report.html").read_text()


def test_an_option_that_it_would_ignore_is_refused(store: Path) -> None:
    command = [
        sys.executable,
        "jobs/evaluate.py",
        "--dataset",
        "more",
        "--store",
        str(store),
        "--extractor",
        "random",
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOY), str(ROOT / "platform")])}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--extractor: is not read for data of kind 'bits', only for image" in done.stderr


@pytest.fixture
def toy_components(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy's components in this process, until the test ends."""
    from synthmill import registry

    monkeypatch.syspath_prepend(str(TOY))
    registry.forget()
    yield
    for name in [name for name in sys.modules if name == "toykind" or name.startswith("toykind.")]:
        del sys.modules[name]
    registry.forget()


def test_a_server_answers_it(store: Path, toy_components: None) -> None:
    import httpx

    from http_app import running

    with running(store=str(store), models=("bits",), insecure_local=True) as server, httpx.Client() as client:
        described = client.get(f"{server.url}/v1/models/bits").json()
        assert described["modality"] == "bits"
        response = client.post(f"{server.url}/v1/models/bits/rows", json={"num_rows": 20, "seed": 3})
    rows = response.json()["rows"]
    assert len(rows) == 20
    assert set("".join(row["bits"] for row in rows)) == {"0", "1"}
