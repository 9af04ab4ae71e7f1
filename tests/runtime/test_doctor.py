"""`synthmill doctor`: a sound machine passes; each broken thing is named with its fix, and ends in exit 3."""

import importlib.metadata
import json
import socket
from pathlib import Path

import pytest

from jobs import command
from s3 import S3Server
from synthmill.runtime import doctor


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment that is to be looked at, and no waiting."""
    for name in ("RAY_ADDRESS", "SYNTHMILL_STORE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.0)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_sound_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, line, _ = command(capsys, "doctor", "--store", str(tmp_path / "store"))
    assert (code, line["status"], line["broken"]) == (0, "done", [])
    names = [check["name"] for check in line["checks"]]
    assert names[:3] == ["python", "packages", "processor"]
    assert {"threads", "memory", "disk", "gpu", "ray", "store"} <= set(names)
    assert {check["status"] for check in line["checks"]} <= {"ok", "warn"}
    assert list((tmp_path / "store").iterdir()) == []


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from synthmill.cli import run

    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "done"


def test_what_is_broken_is_named_with_its_fix_and_exits_3(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_ADDRESS", f"ray://127.0.0.1:{closed_port()}")
    code, line, _ = command(capsys, "doctor", "--store", str(tmp_path / "file"))
    assert (code, line["status"], line["exit_code"]) == (3, "failed", 3)
    assert line["broken"] == ["ray", "store"]
    fixes = {check["name"]: check["fix"] for check in line["checks"]}
    assert "unset RAY_ADDRESS" in fixes["ray"]
    assert "--store" in fixes["store"]


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "ray":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    found = doctor.packages()
    assert (found.status, found.fix) == ("fail", "pip install synthmill")
    assert found.detail.startswith("ray missing; torch ")


def test_another_ray_than_the_tested_one(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda n: "2.600.1" if n == "ray" else known(n))
    found = doctor.packages()
    assert (found.status, found.fix) == ("warn", "tested with ray 2.60; use constraints.txt")


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.version_info", (3, 10, 1))
    assert doctor.python().status == "fail"


def test_a_full_disk_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"total": 100 * doctor.GIB, "used": 97 * doctor.GIB, "free": 3 * doctor.GIB})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert (doctor.disk().status, "97% full" in doctor.disk().detail) == ("fail", True)
    monkeypatch.setattr(doctor, "_free_memory", lambda: doctor.GIB)
    assert doctor.memory().status == "warn"


def test_threads_beyond_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert doctor.threads().status == "ok"
    monkeypatch.setenv("OMP_NUM_THREADS", "5000")
    assert "unset OMP_NUM_THREADS" in doctor.threads().fix


def test_a_gpu_that_torch_can_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    assert (doctor.gpu().status, "CUDA wheel index" in doctor.gpu().fix) == ("warn", True)


def test_a_check_that_fails_itself_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Finding:
        raise ValueError("odd system")

    monkeypatch.setattr(doctor, "processor", broken)
    found = doctor.examine(None)
    assert [f.detail for f in found if "odd system" in f.detail] == [
        "could not be checked: ValueError: odd system"
    ]
    assert len(found) > 5


def test_a_store_on_s3(s3: S3Server, s3_store: str) -> None:
    found = doctor.storage(s3_store, {**s3.environment})
    assert found is not None
    assert (found.status, "refuses to overwrite" in found.detail) == ("ok", True), found
    absent = doctor.storage("s3://no-such-bucket-here/x", {**s3.environment})
    assert absent is not None
    assert (absent.status, "does not exist" in absent.detail) == ("fail", True), absent


def test_an_endpoint_without_a_store(s3: S3Server) -> None:
    assert doctor.storage(None, {}) is None
    for endpoint, status in (
        (s3.endpoint, "ok"),
        (f"http://127.0.0.1:{closed_port()}", "fail"),
        ("nothing", "fail"),
    ):
        found = doctor.storage(None, {"AWS_ENDPOINT_URL": endpoint})
        assert found is not None
        assert found.status == status, found


def test_no_password_is_shown() -> None:
    found = doctor.storage(None, {"AWS_ENDPOINT_URL": f"http://me:secret@127.0.0.1:{closed_port()}"})
    assert found is not None
    assert "secret" not in found.detail + found.fix
