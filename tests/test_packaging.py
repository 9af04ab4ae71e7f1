"""The wheel holds everything and works in an empty environment; the image and the hosted checks say what the
repository says."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import synthmill

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "platform" / "synthmill"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder is left in the clone."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "platform", tree / "platform", ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(out), str(tree)], check=True
    )
    return next(out.glob("synthmill-*.whl"))


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("synthmill/")}
    tree = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert shipped == {path.relative_to(PACKAGE.parent).as_posix() for path in tree}
    assert {"synthmill/py.typed", "synthmill/recipes/demo.yaml"} <= shipped


def test_the_wheel_is_named_by_the_version_and_tells_its_requirements(wheel: Path) -> None:
    assert wheel.name.startswith(f"synthmill-{synthmill.__version__}-py3-none-any")
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(archive.read(n).decode() for n in archive.namelist() if n.endswith("/METADATA"))
    assert re.search(r"^Requires-Dist: ray\[serve,train,tune\].*>=2\.60", metadata, re.MULTILINE)
    assert "License" in metadata


def test_the_demo_runs_from_the_wheel_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)], check=True
    )
    # The requirements are those of this environment: gigabytes, not to be installed again. A path in a .pth
    # file does not follow the .pth files there, so that an editable installation there is not found.
    site = next((home / "lib").glob("python3*")) / "site-packages"
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RAY_ADDRESS")}
    where = [str(python), "-c", "import synthmill; print(synthmill.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(site)
    done = subprocess.run(
        [str(home / "bin" / "synthmill"), "demo", "--store", "store"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    line = json.loads(done.stdout.splitlines()[-1])
    assert (line["status"], line["model"]) == ("done", "breast-cancer@1")
    report = tmp_path / "store" / "reports" / "breast-cancer-synthetic" / "1" / "report.html"
    assert "<svg" in report.read_text()
    assert not any(str(ROOT) in text for text in done.stdout.splitlines())


def pinned(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def test_the_image_has_the_pinned_ray() -> None:
    text = (ROOT / "Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.MULTILINE))
    assert arguments["RAY_VERSION"] == pinned("ray")
    assert arguments["DEVICE"] == "cpu"
    image = re.search(r"^FROM (.+)$", text, re.MULTILINE)
    assert image is not None
    named = image[1].replace("${RAY_VERSION}", pinned("ray")).replace("${DEVICE}", "cpu")
    assert named == yaml.safe_load((ROOT / "cluster.yaml").read_text())["docker"]["image"]


def test_the_image_gets_what_it_copies() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    }
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in - {"Dockerfile"}
    assert all((ROOT / name).exists() for name in let_in)


def test_the_image_installs_the_projects_requirements(tmp_path: Path) -> None:
    command = re.search(r'RUN python -c "(.+?)" >', (ROOT / "Dockerfile").read_text())
    assert command is not None
    code = command[1].replace("\\\\n", "\\n")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert any(line.startswith("ray[") for line in done)
    assert any(line.startswith("optuna") for line in done)


def test_the_hosted_checks_run_what_everybody_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["everything"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert workflow["permissions"] == {"contents": "read"}


def test_the_changelog_has_the_version() -> None:
    assert synthmill.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_the_package_is_typed_for_others() -> None:
    assert importlib.util.find_spec("synthmill") is not None
    assert (PACKAGE / "py.typed").is_file()
