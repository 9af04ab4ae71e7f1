"""benchmarks/gpu.sh works without Ray: its quick way, on the CPU, beside a Ray that does not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW_RUNTIME = (
    "catalog",
    "config",
    "data",
    "errors",
    "evaluation",
    "generation",
    "metrics",
    "models",
    "nn",
    "registry",
    "storage",
    "training",
)


@pytest.fixture
def no_ray(tmp_path: Path) -> dict[str, str]:
    """An environment in which `import ray` fails."""
    (tmp_path / "without" / "ray").mkdir(parents=True)
    (tmp_path / "without" / "ray" / "__init__.py").write_text("raise ImportError('there is no Ray here')\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "without"), "PYTHON": sys.executable}


def test_the_quick_way_over_the_cpu(no_ray: dict[str, str], tmp_path: Path) -> None:
    command = ["bash", "benchmarks/gpu.sh", "--device", "cpu", "--quick", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=no_ray, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    tables = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert tables["rows_per_second"].keys() == {"loop", "plain"}
    assert tables["limit"]["rows_per_second"] > 0
    images = json.loads((tmp_path / "out" / "images.json").read_text())["cells"]
    assert any(key.endswith("/ours/0") for key in images)
    drawn = json.loads((tmp_path / "out" / "style-gan.json").read_text())
    assert (drawn["steps"], drawn["quick"]) == (3, True)
    assert "passed" in (tmp_path / "out" / "tests.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--device", "tpu"], "--device is cuda or cpu, got tpu"), (["--fast"], "unknown option: --fast")],
)
def test_wrong_options_end_in_2(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        ["bash", "benchmarks/gpu.sh", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, message in done.stderr) == (2, True)


def test_layers_below_runtime_import_without_ray(no_ray: dict[str, str]) -> None:
    package = ROOT / "platform" / "synthmill"
    names = [
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0].removesuffix(".py") in BELOW_RUNTIME
    ]
    assert len(names) > 100
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *names],
        env={**no_ray, "PYTHONPATH": f"{no_ray['PYTHONPATH']}:{ROOT / 'platform'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
