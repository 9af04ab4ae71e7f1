"""The shape of the repository that everything else relies on: the source root, empty packages, imports
without effect."""

import ast
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).parents[1]
SOURCE_ROOT = ROOT / "platform"
PACKAGE = SOURCE_ROOT / "synthmill"
MAX_FILE_LINES = 460
MAX_JOB_LINES = 40

PROBE = """
import importlib, json, logging, os, random, signal, sys, threading, warnings
from pathlib import Path

def state():
    import ray, torch
    return {
        "environment": dict(os.environ),
        "path": list(sys.path),
        "files": sorted(str(path) for path in Path.cwd().rglob("*")),
        "handlers": [repr(logging.root.handlers), repr(logging.getLogger("synthmill").handlers), logging.root.level],
        "warnings": [repr(entry) for entry in warnings.filters],
        "signals": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "torch": [torch.get_num_threads(), str(torch.get_default_dtype()), torch.get_rng_state().sum().item()],
        "random": hash(random.getstate()),
        "ray": ray.is_initialized(),
    }

for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
before = state()
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
after = state()
print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))
"""


def modules() -> list[str]:
    names = (".".join(path.relative_to(SOURCE_ROOT).with_suffix("").parts) for path in PACKAGE.rglob("*.py"))
    return sorted(name.removesuffix(".__init__") for name in names)


def third_party_imports() -> list[str]:
    """Every module outside the standard library and synthmill that a file of the package imports at its top
    level."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return sorted(
        name for name in found if name.partition(".")[0] not in {*sys.stdlib_module_names, "synthmill"}
    )


def import_effects(first: list[str], then: list[str], folder: Path) -> dict[str, list[object]]:
    """What importing `then` changes in a fresh process that already imported `first`."""
    env = {**os.environ, "PYTHONPATH": str(SOURCE_ROOT), "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", PROBE, json.dumps(first), json.dumps(then)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    changed: dict[str, list[object]] = json.loads(done.stdout.splitlines()[-1])
    return changed


def test_the_source_root_is_no_package() -> None:
    assert not (SOURCE_ROOT / "__init__.py").exists()
    assert not (ROOT / "tests" / "platform").exists()
    assert [
        path.name for path in SOURCE_ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()
    ] == ["synthmill"]


def test_import_platform_is_the_standard_library_from_the_repository_root() -> None:
    code = (
        "import platform, sysconfig; print(platform.__file__); print(sysconfig.get_path('stdlib')); assert"
        " platform.system()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found, stdlib = done.stdout.split()
    assert Path(found).parent == Path(stdlib)


def test_package_files_are_empty_but_for_the_roots() -> None:
    """The root's holds the version and the public names, which tests/library/test_api.py lists."""
    filled = [path.parent.name for path in PACKAGE.rglob("__init__.py") if path.read_text().strip()]
    assert filled == ["synthmill"]
    assert '__version__ = "' in (PACKAGE / "__init__.py").read_text()


def test_every_folder_with_python_files_is_a_package() -> None:
    assert not {path.parent for path in PACKAGE.rglob("*.py") if not (path.parent / "__init__.py").exists()}


def test_importing_any_module_has_no_effect(tmp_path: Path) -> None:
    assert import_effects(["ray", "torch", *third_party_imports()], modules(), tmp_path) == {}


def test_the_import_probe_sees_effects(tmp_path: Path) -> None:
    (tmp_path / "guilty.py").write_text(
        "import logging, os, pathlib, random\n"
        "os.environ['GUILTY'] = '1'\nlogging.basicConfig()\npathlib.Path('made').mkdir()\nrandom.seed(0)\n"
    )
    assert set(import_effects(["ray", "torch"], ["guilty"], tmp_path)) == {
        "environment",
        "handlers",
        "files",
        "random",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.py")), ids=lambda path: path.name)
def test_jobs_are_short_and_run_as_commands(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < MAX_JOB_LINES
    if not path.name.startswith("_"):
        assert lines[0] == "#!/usr/bin/env python3"
        assert path.stat().st_mode & stat.S_IXUSR


def test_no_file_of_the_package_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_an_upload_holds_what_the_cluster_needs_and_little_else(tmp_path: Path) -> None:
    """`ray job submit --working-dir .` ships sources, jobs and the user's data, not environments, stores and
    tests."""
    sources = [path for folder in ("platform", "jobs", "serve") for path in (ROOT / folder).rglob("*")]
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in sources
        if path.is_file() and not {"__pycache__", "synthmill.egg-info"} & {*path.parts}
    }
    wanted |= {"adult.csv", "my/recipe.yaml", "data/part-0.parquet", "pyproject.toml", "constraints.txt"}
    unwanted = {
        ".venv/lib/big",
        ".venv-peers/lib/big",
        "store/models/a",
        "tests/test_a.py",
        "benchmarks/results/a.json",
        "docs/a.md",
    }
    unwanted |= {
        "platform/synthmill.egg-info/PKG-INFO",
        "jobs/__pycache__/a.pyc",
        ".git/config",
        ".mypy_cache/x.json",
    }
    tree = tmp_path / "tree"
    for name in wanted | unwanted:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    for name in (".gitignore", ".rayignore"):
        (tree / name).write_bytes((ROOT / name).read_bytes())
    create_package(
        str(tree),
        tmp_path / "upload.zip",
        include_gitignore=True,
        excludes=get_runtime_env_default_excludes(),
    )
    with zipfile.ZipFile(tmp_path / "upload.zip") as upload:
        shipped = {name for name in upload.namelist() if not name.endswith("/")}
    assert shipped - {".gitignore", ".rayignore"} == wanted
