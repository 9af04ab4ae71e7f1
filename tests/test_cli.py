"""A user's mistake is one line that names the field and the fix, exit 2, before any cluster work."""

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import synthmill
from customers import write_customers
from jobs import command
from s3 import S3Server
from synthmill.catalog.store import Store
from synthmill.errors import UserError


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong here goes wrong before anyone asks the cluster for anything. A Ray of this machine
    alone may be starting by then, so that the first step comes sooner: here none does."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("cluster work began")

    monkeypatch.setattr("synthmill.runtime.cluster.session", nullcontext)
    monkeypatch.setattr("synthmill.runtime.fit.Crew", lambda _: None)
    for name in ("require", "warn_of_local", "environment", "total_cpus"):
        monkeypatch.setattr(f"synthmill.runtime.cluster.{name}", refuse)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_customers(tmp_path / "customers.csv", rows=100)


def content(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def train(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: Path | str, *sets: str
) -> tuple[int, str]:
    arguments = [
        part for item in ("name=customers", f"data.source={source}", *sets) for part in ("--set", item)
    ]
    code, line, errors = command(capsys, "train", "table", *arguments, "--store", str(tmp_path / "store"))
    assert line["status"] == "failed"
    assert line["exit_code"] == code
    assert len(errors.strip().splitlines()) == 1, errors
    return code, errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data.source: .* is empty"),
        ("a,b\n", "data.source: .* has a header but no rows"),
        ("a,b\n1,2\n", "data.source: .* one row"),
        ("a,b\n1,\n2,\n3,\n", "data.source: column 'b' holds only missing values; drop it"),
        ("a,a\n1,2\n2,3\n", "data.source: .* two columns named 'a'"),
        ("a,b\n1,2,3\n4,5\n", "data.source: line 2 of .* has 3 cells where the header has 2"),
    ],
)
def test_a_bad_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str) -> None:
    code, errors = train(capsys, tmp_path, content(tmp_path / "bad.csv", text))
    assert code == 2
    assert re.search(message, errors), errors


def test_a_missing_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, errors = train(capsys, tmp_path, tmp_path / "none.csv")
    assert (code, "data.source: no file or folder with data at" in errors) == (2, True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.target=churnd", "data.target: no column named 'churnd'; did you mean 'churned'?"),
        ("model.name=ctgam", "model.name: no model named 'ctgam'; did you mean 'ctgan'?"),
        ("model.confg={}", "model.confg: unknown key; did you mean 'config'?"),
        ("training.seed=first", "training.seed: input should be a valid integer"),
        (
            "training.workers=0",
            "training.workers: input should be an integer greater than or equal to 1, or a range",
        ),
        ("name=Adult Census", "name: 'Adult Census' must be lower-case letters"),
        ("name=../../etc", "name: '../../etc' must be lower-case letters"),
        ("training", "--set: expected key=value, got 'training'"),
        ("gates=strict.yaml", "gates: no gates file 'strict.yaml'; give a path or 'default'"),
    ],
)
def test_a_bad_setting(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: Path, setting: str, message: str
) -> None:
    code, errors = train(capsys, tmp_path, source, setting)
    assert code == 2
    assert errors.startswith(f"error: {message}"), errors


def test_dry_run_prints_the_resolved_recipe_and_stops(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: Path
) -> None:
    code, line, _ = command(
        capsys,
        "train",
        "table",
        "--set",
        "name=x",
        "--set",
        f"data.source={source}",
        "--dry-run",
        "--store",
        str(tmp_path / "store"),
    )
    assert (code, line["status"], line["dry_run"]) == (0, "done", True)
    assert line["estimate"] is None or line["estimate"]["seconds"] > 0
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["augment", "--rows", "10"], "Missing option '--model'"),
        (["augment", "--model", "m", "--dataset", "d", "--rows", "ten"], "Invalid value for '--rows'"),
        (
            ["augment", "--model", "m", "--dataset", "d", "--rows", "10", "--require", "perfect"],
            "--require: must be one of pass",
        ),
        (["augment", "--model", "m", "--dataset", "d", "--rows", "10"], "--model: no model named 'm'"),
        (
            ["augment", "--model", "m", "--dataset", "d", "--rows", "10", "--set", "storage.retry_seconds=["],
            "storage.retry_seconds: ",
        ),
        (
            ["gc", "--older-than", "9999999999d"],
            "--older-than: expected a number and d, h or m, such as 7d, at most 36500d",
        ),
        (["gc", "--older-than", "36501d"], "--older-than: "),
        (["evaluate", "--dataset", "d"], "--dataset: no dataset named 'd'"),
        (["trian"], "No such command 'trian'"),
        (["models", "show", "m"], "model: no model named 'm'"),
        (["delete", "models/m@1"], "no model named 'm'"),
    ],
)
def test_other_commands(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("SYNTHMILL_STORE", str(tmp_path / "store"))
    code, line, errors = command(capsys, *arguments)
    assert code == 2, errors
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert line["status"] == "failed"


def test_the_result_file_gets_the_closing_line_also_of_mistakes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "results" / "r.json"
    for arguments in (["train", "nope"], ["augment", "--rows", "ten"], ["trian"]):
        for given in (["--result-file", str(place)], [f"--result-file={place.as_uri()}"]):
            code, line, _ = command(capsys, *arguments, *given)
            assert (code, line["status"]) == (2, "failed")
            assert json.loads(place.read_text()) == line
            place.unlink()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["augment", "--model", "m", "--rows", "5", "--dataset", "d"], 2),
        (["augment", "--rows", "five"], 2),
        (["train", "table", "--set", "name=x", "--set", "data.source={source}", "--dry-run"], 0),
        (["gc"], 0),
        (["keys", "revoke", "none"], 2),
    ],
)
def test_the_result_file_is_encrypted_as_the_store_is(
    capsys: pytest.CaptureFixture[str],
    s3: S3Server,
    s3_store: str,
    tmp_path: Path,
    source: Path,
    arguments: list[str],
    code: int,
) -> None:
    words = [word.format(source=source) for word in arguments]
    settings = ["--set", "storage.encryption=sse-kms", "--set", "storage.kms_key_id=alias/ours"]
    ended, line, errors = command(
        capsys, *words, *settings, "--store", str(tmp_path), "--result-file", f"{s3_store}/r.json"
    )
    assert ended == code, errors
    answer = s3.client().get_object(Bucket=s3.bucket, Key=f"{s3_store.rpartition('/')[2]}/r.json")
    assert json.load(answer["Body"]) == line
    assert (answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId")) == ("aws:kms", "alias/ours")


def test_settings_that_are_wrong_are_told_in_the_result_file_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "r.json"
    for arguments in (["gc"], ["train", "table"], ["train", "nope"]):
        code, line, _ = command(
            capsys, *arguments, "--set", "storage.retry_seconds=long", "--result-file", str(place)
        )
        assert (code, line["status"]) == (2, "failed")
        assert json.loads(place.read_text()) == line


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("admin.gc", ["gc"]),
        ("admin.delete", ["delete", "models/m@1"]),
        ("store.Store.resolve", ["datasets", "pull", "d", "folder"]),
        ("store.Store.resolve", ["datasets", "export", "d", "folder"]),
    ],
)
def test_the_catalog_takes_storage_settings(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    arguments: list[str],
) -> None:
    seen: list[Store] = []

    def stop(store: Store, *_: object, **__: object) -> None:
        seen.append(store)
        raise UserError("seen")

    monkeypatch.setattr(f"synthmill.catalog.{verb}", stop)
    code, line, _ = command(
        capsys, *arguments, "--store", str(tmp_path), "--set", "storage.encryption=sse-s3"
    )
    assert (code, line["error"]) == (2, "seen")
    assert [store.root.settings.encryption for store in seen] == ["sse-s3"]


def test_a_version_is_verified_with_storage_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(
        "synthmill.catalog.admin.verify", lambda _, settings: seen.append(settings.retry_seconds) or []
    )
    code, _, errors = command(
        capsys, "verify", "s3://bucket/datasets/d/1", "--set", "storage.retry_seconds=7"
    )
    assert (code, seen) == (0, [7.0]), errors


def test_an_old_result_is_not_left_for_this_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = content(tmp_path / "r.json", '{"status": "done", "model": "of-yesterday@1"}')
    seen = []
    monkeypatch.setattr("synthmill.catalog.admin.gc", lambda *_: seen.append(place.exists()) or [])
    code, line, _ = command(capsys, "gc", "--store", str(tmp_path / "store"), "--result-file", str(place))
    assert (code, seen) == (0, [False])
    assert json.loads(place.read_text()) == line


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("ftp://host/r.json", 2, "--result-file: no storage for 'ftp://'"),
        ("s3://bucket/", 2, "--result-file: '' is not a path inside a store"),
        ("{tmp}/file/r.json", 3, "--result-file: .*a part of the path is a file, not a folder"),
    ],
)
def test_a_result_file_that_can_not_be_written_is_known_before_any_work(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    code: int,
    message: str,
) -> None:
    content(tmp_path / "file", "")
    monkeypatch.setattr("synthmill.catalog.admin.gc", lambda *_: pytest.fail("work began"))
    given = place.format(tmp=tmp_path)
    ended, line, errors = command(capsys, "gc", "--store", str(tmp_path / "store"), "--result-file", given)
    assert (ended, line["status"]) == (code, "failed")
    assert re.search(message, errors), errors
    assert len(errors.strip().splitlines()) == 1


def test_a_fault_of_ours_exits_3_and_keeps_the_stack(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = content(tmp_path / "file", "not a folder")
    code, line, errors = command(capsys, "train", "demo", "--store", str(store / "below"))
    assert code == 3
    assert "a part of the path is a file, not a folder" in errors
    assert json.dumps(line)


def fresh(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`synthmill ...` in a process of its own, with the modules it imported on standard error."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "synthmill.cli", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_and_version_import_nothing_heavy() -> None:
    for words, shown in (
        (["--help"], "Commands:"),
        (["train", "--help"], "--dry-run"),
        (["--version"], f"synthmill {synthmill.__version__}"),
    ):
        done = fresh(*words)
        assert done.returncode == 0
        assert shown in done.stdout
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "typer" in imported
        assert imported & {"ray", "torch", "numpy", "pyarrow", "boto3", "rich", "yaml"} == set()


def test_shells_complete_commands() -> None:
    script = fresh("--show-completion", "bash")
    assert (script.returncode, "complete -o default" in script.stdout) == (0, True)
    words = {"COMP_WORDS": "synthmill mod", "COMP_CWORD": "1", "_SYNTHMILL_COMPLETE": "complete_bash"}
    assert fresh(**words).stdout.split() == ["models"]


def test_completion_for_an_unknown_shell_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = command(capsys, "--show-completion", "tcsh")
    assert (code, "--show-completion: must be one of bash, zsh" in errors) == (2, True)


def test_an_interrupted_command_exits_130_whatever_happens_at_the_end_of_python() -> None:
    """Ray's threads can crash there, when Ctrl-C has ended Ray's processes before."""
    script = (
        "import atexit, os, signal; from synthmill import cli; cli.run = lambda arguments: CODE;"
        " atexit.register(os.kill, os.getpid(), signal.SIGKILL); cli.main([])"
    )

    def code_of(code: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", script.replace("CODE", str(code))], check=False
        ).returncode

    assert code_of(130) == 130
    assert code_of(0) == -9, "what is registered runs otherwise"
