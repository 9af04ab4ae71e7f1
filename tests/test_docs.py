"""The documentation keeps its promises: links lead somewhere, commands parse, the reference is current, the
example runs."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from synthmill.config import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
BLOCK = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines() -> list[str]:
    lines = [
        line.strip()
        for page in PAGES
        for text in blocks(page, "bash")
        for line in text.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if line and not line.startswith("#")]


def job_arguments(line: str) -> list[str] | None:
    """The words after `synthmill` that a documented line comes down to; None when it is no command of
    ours."""
    words = shlex.split(line.removesuffix("&"))
    for number, word in enumerate(words):
        if word.startswith("jobs/"):
            return [Path(word).stem, *words[number + 1 :]]
        if word == ".venv/bin/synthmill":
            return words[number + 1 :]
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", target):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        assert found.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(found), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_ascii(page: Path) -> None:
    assert page.read_text().isascii()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {shlex.split(line)[1] for line in command_lines() if line.startswith("make ")}
    assert {"demo", "test"} <= used
    assert used <= targets


def test_documented_scripts_exist() -> None:
    named = {
        word
        for line in command_lines()
        for word in shlex.split(line.removesuffix("&"))
        if re.match(r"(jobs|benchmarks|docs)/\S+\.(py|sh)$", word)
    }
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


@pytest.mark.skipif(not has_module("synthmill.cli"), reason="there is no command line yet")
def test_documented_commands_parse() -> None:
    import typer

    from synthmill.cli import app

    root = typer.main.get_command(app)
    found = [arguments for line in command_lines() if (arguments := job_arguments(line)) is not None]
    assert {"train", "augment", "evaluate", "verify", "gc"} <= {arguments[0] for arguments in found}
    # A recipe that an earlier line has `init` write is not there to be read.
    written = {f"{Path(words[1]).stem}.yaml" for words in found if words[0] == "init"}
    for arguments in found:
        command, context = root, None
        while hasattr(command, "commands"):
            assert arguments[0] in command.commands, arguments
            command, arguments = command.commands[arguments[0]], arguments[1:]
        context = command.make_context(command.name, list(arguments))
        if command.name == "train" and context.params["recipe"] not in written:
            load_recipe(context.params["recipe"], tuple(context.params["set_"] or ()))


def test_the_recipe_reference_is_up_to_date() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate_reference.py"), "--check"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not has_module("synthmill.api"), reason="there is no Python interface yet")
def test_the_python_example_of_the_readme_runs(tmp_path: Path) -> None:
    example = next(text for text in blocks(ROOT / "README.md", "python") if "synthmill" in text)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mean radius" in done.stdout
    assert (tmp_path / "store" / "models" / "breast-cancer" / "1" / "_manifest.json").is_file()
