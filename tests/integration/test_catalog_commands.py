"""The catalog from the command line: list, show, pull, verify, delete, gc."""

import json
import shutil
from pathlib import Path

import pandas
import pytest

from jobs import command
from synthmill import api
from synthmill.catalog.store import Version
from synthmill.cli import run


@pytest.fixture
def store(trained: Version, tmp_path: Path) -> str:
    """A store of this test alone with one model and one dataset."""
    copied = tmp_path / "store"
    source = Path(trained.uri.removeprefix("file://")).parents[2]
    for kind in ("models", "runs"):
        shutil.copytree(source / kind, copied / kind)
    api.augment("customers@1", rows=500, dataset="listed", store=str(copied))
    return str(copied)


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    assert run(list(arguments)) == 0
    return capsys.readouterr().out.strip().splitlines()


def test_list_and_show(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split("\t")[0] for line in lines(capsys, "models", "list", "--store", store)] == [
        "customers@1"
    ]
    listed = [line.split("\t") for line in lines(capsys, "datasets", "list", "--store", store)]
    assert ["listed@1", "500"] in [[row[0], row[2]] for row in listed]
    shown = json.loads("\n".join(lines(capsys, "datasets", "show", "listed", "--store", store)))
    assert (shown["ref"], shown["rows"]) == ("listed@1", 500)
    [[run, state]] = [line.split("\t") for line in lines(capsys, "runs", "list", "--store", store)]
    assert (run.startswith("customers-"), run.endswith("/1"), state) == (True, True, "ended")
    for ref in (run, run.removesuffix("/1")):
        told = json.loads("\n".join(lines(capsys, "runs", "show", ref, "--store", store)))
        assert (told["ref"], told["running"], told["step"]) == (run, False, 40)
    code, _, errors = command(capsys, "runs", "show", "custommers-1", "--store", store)
    assert (code, "run: no run 'custommers-1'" in errors) == (2, True)


def test_pull_copies_a_dataset_that_pandas_reads(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result, _ = command(capsys, "datasets", "pull", "listed", str(tmp_path / "copy"), "--store", store)
    assert (code, result["rows"]) == (0, 500)
    assert len(pandas.read_parquet(tmp_path / "copy")) == 500


def test_verify_names_the_part_that_changed(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"{store}/datasets/listed/1"
    assert command(capsys, "verify", uri)[0] == 0
    part = Path(uri) / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)
    code, result, errors = command(capsys, "verify", uri)
    assert (code, result["status"]) == (3, "failed")
    assert "part-00000.parquet" in errors


def test_delete_refuses_while_something_descends_from_it(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = command(capsys, "delete", "models/customers@1", "--store", store)
    assert code == 2
    assert "datasets/listed@1" in errors
    assert command(capsys, "delete", "models/customers@1", "--cascade", "--store", store)[0] == 0
    assert lines(capsys, "datasets", "list", "--store", store) == []


def test_gc_keeps_what_is_committed(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    dead = Path(store) / "datasets/dead/1"
    dead.mkdir(parents=True)
    (dead / "part-00000.parquet").write_bytes(b"half")
    code, result, _ = command(capsys, "gc", "--older-than", "0m", "--store", store)
    assert code == 0
    assert any("runs/" in uri for uri in result["removed"])
    assert not (dead / "part-00000.parquet").exists()
    assert command(capsys, "verify", f"{store}/datasets/listed/1")[0] == 0
    assert command(capsys, "gc", "--older-than", "soon", "--store", store)[0] == 2
