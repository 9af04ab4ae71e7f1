#!/usr/bin/env python3
"""The README's images: a real report, the real page of a real server, and a drawing of the flow.

    .venv/bin/python docs/make_screenshots.py [FOLDER] [--only flow report page]

Trains the demo's generator on scikit-learn's breast cancer table, judges its rows, serves it, and takes
screenshots with Chromium (CHROMIUM names another one). FOLDER is docs/images unless another is given.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

import synthmill
from synthmill.config import dump, load_recipe
from synthmill.evaluation.html import to_html
from synthmill.metrics.base import Profile
from synthmill.serving.server import free_port

HERE = Path(__file__).resolve().parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WIDTH, HEIGHT = 1100, 720
COLOURS = 128
"""A palette keeps the files small: a screenshot has few colours."""
READY_SECONDS = 240.0
PAGE_MS = 120_000

BOXES = {
    "source": (20, 20, "Your data", "files, frames, URIs"),
    "split": (230, 20, "Split", "train, validation, holdout"),
    "train": (440, 20, "Train", "best weights, not the last"),
    "model": (650, 20, "Model", "versioned, no training rows"),
    "augment": (650, 130, "Augment", "same bytes every time"),
    "dataset": (440, 130, "Dataset", "labelled Parquet, atomic"),
    "evaluate": (230, 130, "Evaluate", "fidelity, utility, privacy"),
    "report": (20, 130, "Report", "figures with intervals, gates"),
    "serve": (860, 20, "Serve", "HTTP API and page"),
}
ARROWS = (
    ("source", "split"),
    ("split", "train"),
    ("train", "model"),
    ("model", "serve"),
    ("model", "augment"),
    ("augment", "dataset"),
    ("dataset", "evaluate"),
    ("evaluate", "report"),
    ("split", "evaluate"),
)
BOX_WIDTH, BOX_HEIGHT = 180, 64


def flow() -> str:
    """The flow as SVG, for light and dark pages alike."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1060 214" role="img"'
        ' font-family="system-ui, sans-serif" aria-label="Data flows from your source over split, training'
        ' and model to published datasets, evaluation and report, or to a server.">',
        '<rect width="1060" height="214" rx="10" fill="#ffffff"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#5b6b7f"/></marker></defs>',
    ]
    for start, end in ARROWS:
        x1, y1, x2, y2 = _ends(BOXES[start][:2], BOXES[end][:2])
        parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#5b6b7f" stroke-width="1.5"'
            ' marker-end="url(#tip)"/>'
        )
    for x, y, title, text in BOXES.values():
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" fill="#eef3f9"'
            ' stroke="#3a6ea5"/>'
            f'<text x="{x + 12}" y="{y + 27}" font-size="16" font-weight="600" fill="#16324f">{title}</text>'
            f'<text x="{x + 12}" y="{y + 48}" font-size="11.5" fill="#3b4a5a">{text}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _ends(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where an arrow leaves one box and meets the next."""
    (x1, y1), (x2, y2) = start, end
    if y1 == y2:
        middle = y1 + BOX_HEIGHT // 2
        return (x1 + BOX_WIDTH, middle, x2, middle) if x1 < x2 else (x1, middle, x2 + BOX_WIDTH, middle)
    middle = x1 + BOX_WIDTH // 2
    return middle, y1 + BOX_HEIGHT, middle, y2


def trained(store: Path, epochs: int, profile: Profile) -> tuple[synthmill.Model, synthmill.Report]:
    """A generator of the medical table in a store, and the report on its rows."""
    import sklearn.datasets

    frame = sklearn.datasets.load_breast_cancer(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "malignant", 1: "benign"})
    rows = frame.sample(frac=1, random_state=0)
    train, holdout = rows[:400], rows[400:]
    # As the demo trains; its own split would hold out rows of rows that are held out already.
    demo = load_recipe("demo")
    training = {
        f"training.{field}": getattr(demo.training, field) for field in demo.training.model_fields_set
    }
    overrides = {
        "model.config": dump(demo)["model"]["config"],
        **training,
        "training.max_epochs": min(epochs, demo.training.max_epochs),
    }
    model = synthmill.fit(
        train, target="target", model=demo.model.name, name=demo.name, overrides=overrides, progress=False
    )
    model.save(str(store))
    report = synthmill.evaluate(
        model.sample(1000, seed=7), train=train, holdout=holdout, target="target", profile=profile
    )
    return model, report


@contextmanager
def served(store: Path, log: Path) -> Iterator[str]:
    """The URL of `synthmill serve`, ready."""
    port = free_port(21_000 + os.getpid() % 1000)
    command = [
        sys.executable,
        "-m",
        "synthmill.cli",
        "serve",
        "--insecure-local",
        "--models",
        "breast-cancer",
    ]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--store", str(store), "--port", str(port)],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + READY_SECONDS
        while not ready(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium with one page of the screenshots' size."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        finally:
            chromium.close()


def save(png: bytes, path: Path) -> None:
    """With a palette: a third of the bytes."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "images")
    parser.add_argument(
        "--only", nargs="+", choices=["flow", "report", "page"], default=["flow", "report", "page"]
    )
    parser.add_argument("--epochs", type=int, default=1_000, help="at most the demo's; few to see it work")
    parser.add_argument("--profile", choices=["quick", "standard"], default="standard", help="of the report")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if "flow" in options.only:
        (options.folder / "flow.svg").write_text(flow())
    if {"report", "page"}.isdisjoint(options.only):
        return
    with tempfile.TemporaryDirectory(prefix="screenshots-") as scratch, browser() as page:
        folder = Path(scratch)
        _, report = trained(folder / "store", options.epochs, options.profile)
        if "report" in options.only:
            (folder / "report.html").write_text(to_html(report))
            page.goto((folder / "report.html").as_uri())
            save(page.screenshot(), options.folder / "report.png")
        if "page" in options.only:
            with served(folder / "store", folder / "server.log") as url:
                page.goto(url)
                page.click("#go")
                page.locator("#status", has_text=" rows from ").wait_for(timeout=PAGE_MS)
                save(page.screenshot(), options.folder / "page.png")


if __name__ == "__main__":
    main()
