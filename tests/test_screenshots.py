"""The script makes the README's images; those that are committed are small and show something."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
LARGEST_BYTES = 120_000
CHROMIUM = Path("/usr/bin/chromium")


def shown(path: Path) -> int:
    """Different colours of a screenshot: one that failed to load has one or two."""
    with Image.open(path) as image:
        assert image.size == (1100, 720)
        return len(image.convert("RGB").getcolors(maxcolors=1 << 20) or [])


def test_the_committed_images_are_small_and_show_something() -> None:
    assert {path.name for path in IMAGES.iterdir()} == {"flow.svg", "report.png", "page.png"}
    assert {
        path.name: path.stat().st_size for path in IMAGES.iterdir() if path.stat().st_size > LARGEST_BYTES
    } == {}
    assert shown(IMAGES / "report.png") > 20
    assert shown(IMAGES / "page.png") > 20


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium at /usr/bin/chromium")
def test_the_script_makes_them(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    command = [sys.executable, str(ROOT / "docs" / "make_screenshots.py"), str(tmp_path)]
    done = subprocess.run(
        [*command, "--epochs", "20", "--profile", "quick"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "flow.svg").read_text() == (IMAGES / "flow.svg").read_text()
    assert ET.parse(tmp_path / "flow.svg").getroot().tag.endswith("svg")
    assert shown(tmp_path / "report.png") > 20
    assert shown(tmp_path / "page.png") > 20
