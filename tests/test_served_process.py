"""The helpers of the tests that start processes: what they tell of a server that refuses, and that what they
end is gone."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import processes
from processes import descendants, kill_tree, until
from served_process import Server


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[str]:
    """The URL of a server that gives these answers (status, body) in turn."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_refusal_is_not_a_metric_of_zero() -> None:
    refusals = [(status, '{"error": {"message": "try again"}}\n') for status in (503, 429)]
    told = 'synthmill_jobs{status="done"} 1\nsynthmill_jobs{status="running"} 2\nsynthmill_jobs_of_others 9\n'
    with answering(*refusals, (200, told)) as url, subprocess.Popen(["true"]) as process:
        assert Server(process, url, Path()).metric("synthmill_jobs") == 3


def lives(pid: int) -> bool:
    """Whether there is such a process; one that only waits for its parent to take note of its end is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_a_tree_that_keeps_growing_is_killed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process writes its id, starts the next and waits for it; the first list of them is out of date
    when it is used."""
    lists: list[list[int]] = []

    def listed(pid: int) -> list[int]:
        lists.append(descendants(pid))
        if len(lists) == 1:
            until(lambda: started() - {pid, *lists[0]}, what="another process")
        return lists[-1]

    def started() -> set[int]:
        return {int(path.stem) for path in tmp_path.glob("*.pid")}

    monkeypatch.setattr(processes, "descendants", listed)
    script = tmp_path / "grow.py"
    script.write_text(
        "import os, pathlib, subprocess, sys\n"
        "folder = pathlib.Path(sys.argv[0]).parent\n"
        "(folder / f'{os.getpid()}.pid').touch()\n"
        "if len(list(folder.glob('*.pid'))) < 200:\n"
        "    subprocess.run([sys.executable, '-S', sys.argv[0]])\n"
    )
    root = subprocess.Popen([sys.executable, "-S", str(script)])
    until(lambda: len(descendants(root.pid)) >= 3, what="a tree")
    kill_tree(root)
    at_the_end = started()
    until(lambda: not [pid for pid in at_the_end if lives(pid)], seconds=30, what="the end of the tree")
    assert started() == at_the_end
    assert len(at_the_end) < 200
