"""docs/architecture.md is true: what it lists exists, and every folder of the package is listed."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "platform" / "synthmill"
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def listed() -> list[str]:
    """Paths in the annotated tree, below the package."""
    tree = re.search(r"```text\nplatform/synthmill/\n(.*?)```", PAGE, re.DOTALL)
    assert tree is not None
    found: list[str] = []
    above: list[str] = []
    for line in tree[1].splitlines():
        match = re.match(r"^( +)(\S+) {2,}\S", line)
        assert match is not None, f"no entry with an explanation: {line!r}"
        depth = len(match[1]) // 2 - 1
        above = [*above[:depth], match[2]]
        found.append("".join(above))
    return found


def test_everything_listed_exists() -> None:
    for name in listed():
        path = PACKAGE / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), name


def test_every_folder_of_the_package_is_listed() -> None:
    folders = {
        f"{path.relative_to(PACKAGE).as_posix()}/"
        for path in PACKAGE.rglob("*")
        if path.is_dir() and path.name != "__pycache__" and any(file.is_file() for file in path.iterdir())
    }
    assert folders - set(listed()) == set()


def test_every_module_at_the_top_is_listed() -> None:
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert modules == {name for name in listed() if name.endswith(".py")}


def test_every_folder_of_doors_is_called_one() -> None:
    """A folder with a `base.py` of components is a door, and says so."""
    doors = {line.split()[0] for line in PAGE.splitlines() if re.match(r"^ +\S+/ +a door: ", line)}
    with_base = {f"{path.parent.name}/" for path in PACKAGE.glob("*/*/base.py")}
    assert doors == with_base


def test_the_flow_names_folders_that_exist() -> None:
    flow = re.search(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    assert flow is not None
    for name in re.findall(r"\[([a-z/]+)\]", flow[1]):
        assert (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file(), name


def test_it_is_one_page() -> None:
    assert len(PAGE.splitlines()) < 110
