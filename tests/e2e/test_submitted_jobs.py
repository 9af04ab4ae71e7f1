"""The commands of the README against a cluster with token auth, without synthmill installed on it, and a
store on S3."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pandas
import pyarrow.fs
import pytest

from customers import write_customers
from e2e.conftest import Head
from jobs import last_line
from processes import ROOT
from s3 import S3Server
from synthmill.storage.folder import Folder

pytestmark = pytest.mark.timeout(600)

TINY = [
    part
    for key, value in {
        "name": "customers",
        "data.target": "churned",
        "model.name": "tvae",
        "model.config": "{embedding_dim: 8, compress_dims: [32], decompress_dims: [32]}",
        "training.max_steps": "30",
        "training.threads": "1",
    }.items()
    for part in ("--set", f"{key}={value}")
]


@pytest.fixture
def store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.new_uri()


def job_result(output: str) -> dict[str, object]:
    lines = [line for line in output.splitlines() if line.startswith('{"status"')]
    found: dict[str, object] = json.loads(lines[-1])
    return found


def test_train_augment_and_evaluate_as_submitted_jobs(head: Head, store: str, tmp_path: Path) -> None:
    source = write_customers(tmp_path / "customers.csv", rows=800)
    result_file = f"{store}/results/train.json"
    trained = head.submit(
        "python",
        "jobs/train.py",
        "table",
        *TINY,
        "--set",
        f"data.source={source}",
        "--store",
        store,
        "--result-file",
        result_file,
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert json.loads(Folder(f"{store}/results").read_bytes("train.json"))["model"] == "customers@1"

    # The script form: found through its shebang, run by the interpreter that has Ray.
    rows = [
        "--model",
        "customers@1",
        "--rows",
        "3000",
        "--seed",
        "7",
        "--dataset",
        "out",
        "--store",
        store,
        "--workers",
        "2",
    ]
    published = head.submit("jobs/augment.py", *rows)
    assert published.returncode == 0, published.stdout + published.stderr
    result = job_result(published.stdout)
    assert (result["dataset"], result["rows"]) == ("out@1", 3000)

    evaluated = head.submit(
        "python", "jobs/evaluate.py", "--dataset", "out", "--store", store, "--profile", "quick"
    )
    assert evaluated.returncode in (0, 1), evaluated.stdout + evaluated.stderr
    assert job_result(evaluated.stdout)["report"] == "out@1"

    filesystem, path = pyarrow.fs.FileSystem.from_uri(f"{store}/datasets/out/1")
    assert len(pandas.read_parquet(path, filesystem=filesystem)) == 3000


def test_a_search_as_a_submitted_job(head: Head, store: str, tmp_path: Path) -> None:
    source = write_customers(tmp_path / "customers.csv", rows=800)
    few = {
        "data.source": source,
        "tune.max_trials": 2,
        "tune.sample_rows": 300,
        "tune.confirm_share": 0,
        "tune.objective": "tabular.pair_gap",
        "tune.fidelity": "none",
    }
    sets = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    done = head.submit("jobs/tune.py", "table", *TINY, *sets, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    result = job_result(done.stdout)
    # The first usable one is published before the pick.
    assert str(result["model"]).startswith("customers@")
    assert result["trials"] == 2
    page = str(result["report"]).removeprefix(store + "/")
    assert b"<svg" in Folder(store).read_bytes(page)


def test_without_a_recipe_it_is_the_demo(head: Head, tmp_path: Path) -> None:
    done = head.submit("jobs/train.py", "--store", str(tmp_path), "--set", "training.max_steps=20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert job_result(done.stdout)["model"] == "breast-cancer@1"


def test_a_mistake_fails_the_job_with_one_line(head: Head, tmp_path: Path) -> None:
    done = head.submit(
        "python",
        "jobs/train.py",
        "table",
        *TINY,
        "--set",
        "model.name=ctgam",
        "--set",
        "data.source=x.csv",
        "--store",
        str(tmp_path),
    )
    assert done.returncode != 0
    assert "error: model.name: no model named 'ctgam'; did you mean 'ctgan'?" in done.stdout + done.stderr


def test_the_cluster_refuses_without_the_token(head: Head) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{head.address}/api/jobs/", timeout=10)
    assert refused.value.code in (401, 403)


def test_the_closing_line_is_the_last(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "jobs/train.py", "nope", "--store", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2
    assert last_line(done.stdout)["status"] == "failed"
    assert done.stderr.startswith("error: recipe: no recipe file or shipped recipe 'nope'; there is: demo, ")
    assert len(done.stderr.strip().splitlines()) == 1
