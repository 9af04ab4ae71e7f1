"""Killed writers while sequences are generated, and while histories go on: the same bytes as undisturbed."""

import shutil
from pathlib import Path

import pytest

import synthmill
from jobs import last_line
from processes import kill, start_job, titled, until
from visits import visits

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def sequence_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    settings = {"model.config": {"embedding_dim": 16, "hidden_dim": 16}, "training.max_steps": 20}
    model = synthmill.fit(
        visits(80), group_by="customer", order_by="when", overrides=settings, progress=False
    )
    model.save(str(store), name="visits")
    return store


def digest_of(store: Path, *words: str, killing: bool) -> str:
    """The content digest of a job with two workers, one of which is killed at its work."""
    job = start_job("augment", "--model", "visits", "--dataset", "out", "--store", str(store), *words)
    if killing:
        until(lambda: list(store.glob("datasets/out/*/_receipts/*.json")), what="the first part")
        kill(until(lambda: titled(job.pid, "ray::write_part"), what="a writer at work")[0])
    output, errors = job.communicate(timeout=400)
    assert job.returncode == 0, errors
    found: str = last_line(output)["content_digest"]
    return found


def test_sequences_of_a_killed_writer_are_written_again(sequence_store: Path, tmp_path: Path) -> None:
    words = ["--sequences", str(24 * 1024 + 100), "--seed", "7", "--shard-rows", "1024", "--workers", "2"]
    digests = {
        digest_of(Path(shutil.copytree(sequence_store, tmp_path / str(k))), *words, killing=k)
        for k in (False, True)
    }
    assert len(digests) == 1
