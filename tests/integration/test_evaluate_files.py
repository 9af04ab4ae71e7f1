"""`synthmill evaluate --synthetic`: files that anything made, from the command line, without Ray."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evidence import people
from image_cases import digits
from synthmill.errors import DataError, NotFoundError, UserError
from synthmill.evaluation.report import from_json
from synthmill.runtime.evaluate_files import FilesRequest, evaluate_files

REAL = {"train": "train.csv", "holdout": "holdout.csv", "target": "outcome", "profile": "quick"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, rows, seed in (("train", 900, 1), ("holdout", 600, 2), ("made", 700, 3)):
        pyarrow.csv.write_csv(people(rows, seed), tmp_path / f"{name}.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_and_the_json_lie_beside_the_synthetic_file(folder: Path) -> None:
    (folder / "vendor").mkdir()
    pq.write_table(people(700, 3), folder / "vendor" / "made.parquet")
    found = evaluate_files(FilesRequest(synthetic="vendor/made.parquet", **REAL), "store")
    assert found.report.verdict in ("pass", "warn"), found.report.summary
    assert [uri.rpartition("/")[2] for uri in found.written] == ["made.report.html", "made.report.json"]
    saved = from_json((folder / "vendor" / "made.report.json").read_bytes())
    assert saved == found.report
    assert not (folder / "store").exists()


def test_a_folder_gets_every_file(folder: Path) -> None:
    evaluate_files(FilesRequest(synthetic="made.csv", **REAL), "store", output="out")
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"report.html", "report.json", "junit.xml", "summary.md"}


def test_the_command_ends_1_for_copies_and_never_imports_ray(folder: Path) -> None:
    script = (
        "import sys; from synthmill.cli import run\n"
        "code = run(sys.argv[1:]); assert 'ray' not in sys.modules; sys.exit(code)"
    )
    words = ["evaluate", "--synthetic", "train.csv", "--train", "train.csv", "--holdout", "holdout.csv"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words, "--profile", "quick"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["verdict"] == "fail"
    assert "Exact copies" in last["why"]


def test_folders_of_images_are_recognised(tmp_path: Path) -> None:
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(pixels))
    for name, rows in (("train", order[:400]), ("holdout", order[400:700]), ("made", order[700:1000])):
        for row in rows:
            place = tmp_path / name / str(labels[row])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[row, 0]).save(place / f"{row}.png")
    where = {name: str(tmp_path / name) for name in ("train", "holdout")}
    request = FilesRequest(synthetic=str(tmp_path / "made"), profile="quick", extractor="random", **where)
    found = evaluate_files(request, str(tmp_path / "store"))
    assert found.report.kind == "image"
    assert found.report.verdict in ("pass", "warn", "inconclusive"), found.report.summary
    with pytest.raises(UserError, match=r"^--include: is not read for .* 'image', only for table"):
        evaluate_files(
            FilesRequest(synthetic=str(tmp_path / "made"), include=("tabular.pair_gap",), **where), "store"
        )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"synthetic": "nowhere.csv"}, DataError, "^--synthetic: no file or folder"),
        ({"train": "nowhere.csv"}, DataError, "^--train: no file or folder"),
        ({"target": "nope"}, DataError, "^--train and --target: no column named 'nope'"),
        ({"kind": "tabel"}, NotFoundError, "^--kind: .*did you mean 'table'"),
        ({"baseline": "nope.json"}, NotFoundError, "^--baseline: no file"),
        ({"sample_rows": "few"}, UserError, "^--sample-rows: must be a positive number"),
        ({"schema": "nope.yaml"}, DataError, "^--schema: no file"),
    ],
)
def test_mistakes_name_the_option(folder: Path, changes, error, message) -> None:
    with pytest.raises(error, match=message):
        evaluate_files(FilesRequest(**{"synthetic": "made.csv", **REAL, **changes}), "store")
