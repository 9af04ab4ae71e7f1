"""How long it takes to list many versions, and to verify a large one beside `sha256sum` on the same files.

`catalog.py --versions 2000 --gigabytes 1`; makes its store in a temporary folder.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness import HERE, REPEATS, Cells

from synthmill.catalog import admin
from synthmill.catalog.manifest import FileEntry
from synthmill.catalog.store import Draft, Store, Version

NAMES = 20
PART_BYTES = 64 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=2000)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--results", type=Path, default=HERE / "results/catalog.json")
    options = parser.parse_args()
    cells = Cells(options, "versions", "gigabytes", "repeats")
    with tempfile.TemporaryDirectory() as scratch:
        print(cells.run("list", lambda: listing(Path(scratch, "many"), options)))
        print(cells.run("verify", lambda: verifying(Path(scratch, "large"), options)))


def listing(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds until every manifest of the store has been read."""
    many_versions(root, options.versions)
    store = Store(root)
    assert len(store.open_versions("datasets")) == options.versions // NAMES * NAMES
    return {"seconds": median(options.repeats, lambda: store.open_versions("datasets"))}


def many_versions(root: Path, count: int) -> None:
    """Copies of one version, under several names."""
    first = Path(published(Store(root), "d0", [b"rows"] * 2).uri.removeprefix("file://"))
    text = (first / "_manifest.json").read_text()
    for index in range(1, count // NAMES * NAMES):
        name, number = f"d{index % NAMES}", index // NAMES + 1
        target = root / "datasets" / name / str(number)
        shutil.copytree(first, target)
        stated = text.replace('"name": "d0"', f'"name": "{name}"').replace(
            '"number": 1', f'"number": {number}'
        )
        (target / "_manifest.json").write_text(stated)


def published(store: Store, name: str, parts: Iterable[bytes]) -> Version:
    """A dataset of files with these bytes; neither listing nor verifying reads what they mean."""
    with store.begin("datasets", name, run_key="key", run_id="run") as draft:
        entries = tuple(written(draft, f"part-{index:05d}.parquet", data) for index, data in enumerate(parts))
        return draft.commit(draft.manifest(files=entries))


def written(draft: Draft, path: str, data: bytes) -> FileEntry:
    """One file."""
    draft.folder.write_bytes(path, data)
    return FileEntry(path=path, rows=1, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def verifying(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of `verify` and of `sha256sum`, in turns."""
    count = max(1, round(options.gigabytes * 2**30 / PART_BYTES))
    version = published(Store(root), "large", (os.urandom(PART_BYTES) for _ in range(count)))
    folder = version.uri.removeprefix("file://")
    parts = [str(Path(folder, entry.path)) for entry in version.manifest.files]

    def peer() -> None:
        subprocess.run(["sha256sum", *parts], check=True, stdout=subprocess.DEVNULL)

    def ours() -> None:
        assert admin.verify(version.uri) == []

    # Alternating, so that both meet the same load.
    pairs = [(seconds(ours), seconds(peer)) for _ in range(options.repeats)]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {"seconds": mine, "sha256sum_seconds": theirs, "ratio": mine / theirs}


def median(repeats: int, run: Callable[[], object]) -> float:
    """Of so many runs, in seconds."""
    return statistics.median(seconds(run) for _ in range(repeats))


def seconds(run: Callable[[], object]) -> float:
    """Of one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
