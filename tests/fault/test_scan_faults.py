"""Workers that are killed, and files that change, while tasks scan a source."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from processes import ROOT
from scanned import first_difference, folder_of, scanned, told
from synthmill.data.constrained_counts import ConstrainedCounts
from synthmill.data.scan.block import Block
from synthmill.data.scan.counts import Counts
from synthmill.data.scan.division import Sorter
from synthmill.errors import DataError, SynthmillError
from synthmill.runtime import scan_parts
from synthmill.runtime.scan_parts import ScanRunner
from synthmill.training import prepare

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

Counted = Counts | ConstrainedCounts


class Troubled(Sorter[Counted]):
    """Has its trouble at row 2,700, where a task and not this process comes to it."""

    driver: int
    folder: Path

    def add(self, block: Block) -> None:
        if block.first_row <= 2_700 < block.first_row + block.table.num_rows and os.getpid() != self.driver:
            self.trouble()
        super().add(block)

    def trouble(self) -> None:
        raise NotImplementedError

    def happened(self) -> int:
        """How often before; from now on once more."""
        times = len(list(self.folder.iterdir()))
        (self.folder / str(times)).touch()
        return times


class Killed(Troubled):
    def trouble(self) -> None:
        if not self.happened():
            os.kill(os.getpid(), signal.SIGKILL)


class AlwaysKilled(Troubled):
    def trouble(self) -> None:
        self.happened()
        os.kill(os.getpid(), signal.SIGKILL)


class Written(Troubled):
    """Another program appends to the file that is read."""

    def trouble(self) -> None:
        path = next(self.folder.parent.glob("rows/*2025/*.parquet"))
        with path.open("ab") as out:
            out.write(b"more")


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}"}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "times").mkdir()
    return folder_of(tmp_path / "rows")


def meets(kind: type[Troubled], source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on scans of the source do."""
    monkeypatch.setattr(scan_parts, "PART_ROWS", 900)
    monkeypatch.setattr(prepare, "Sorter", kind)
    monkeypatch.setattr(kind, "driver", os.getpid(), raising=False)
    monkeypatch.setattr(kind, "folder", source.parent / "times", raising=False)
    make = kind.__init__

    def made(self: Troubled, *words: object) -> None:
        make(self, *words)
        # Of the object: what is set of the class stays in this process.
        self.driver, self.folder = kind.driver, kind.folder

    monkeypatch.setattr(kind, "__init__", made)


def test_a_killed_task_is_done_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(scanned(source))
    meets(Killed, source, monkeypatch)
    found = told(scanned(source, ScanRunner(2)))
    assert len(list((source.parent / "times").iterdir())) == 2
    assert first_difference(whole, found) is None


def test_a_task_that_is_lost_again_and_again_ends_the_job(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meets(AlwaysKilled, source, monkeypatch)
    with pytest.raises(SynthmillError, match="a task that scans the source was lost 4 times") as raised:
        scanned(source, ScanRunner(2))
    assert "\n" not in str(raised.value)
    assert len(list((source.parent / "times").iterdir())) == 4


def test_a_file_that_is_written_while_tasks_read_it(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meets(Written, source, monkeypatch)
    with pytest.raises(DataError, match=r"year=2025/part\.parquet changed while it was read"):
        scanned(source, ScanRunner(2))
