"""The commands that one begins with: `init` writes a recipe, `doctor` looks at the machine."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from synthmill.runtime.options import ResultFile, StorageOption, Verb, choice

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the commands; `verb` turns a function that returns its result into one that prints it and returns
    an exit code."""
    app.command()(verb(init))
    app.command()(verb(doctor))


def show_completion(arguments: list[str]) -> bool:
    """`--show-completion bash`, for scripts that name the shell; typer's own option only guesses it from the
    parent process, and fails under make, in containers and in CI."""
    if arguments[:1] != ["--show-completion"] or len(arguments) == 1:
        return False
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    shell = choice("--show-completion", arguments[1], SHELLS)
    script = get_completion_script(prog_name="synthmill", complete_var="_SYNTHMILL_COMPLETE", shell=shell)
    sys.stdout.write(script + "\n")
    return True


def init(
    source: Annotated[str, typer.Argument(help="A CSV or Parquet file or folder, or a folder of images.")],
    output: Annotated[str | None, typer.Option(help="The recipe to write; default: NAME.yaml here.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; default: the source's.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict; default: a guess.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Look at a file and write a recipe for it, with comments that say what was seen."""
    from synthmill.catalog.store import check_name
    from synthmill.config import name_of_source
    from synthmill.runtime.new_recipe import draft_recipe, write
    from synthmill.runtime.options import storage_settings
    from synthmill.runtime.progress import say

    chosen = check_name(name, field="--name") if name is not None else name_of_source(source)
    recipe = Path(output if output is not None else f"{chosen}.yaml")
    schema = recipe.with_name(f"{recipe.stem}.schema.yaml")
    draft = draft_recipe(
        source, name=chosen, target=target, schema_name=str(schema), settings=storage_settings(set_)
    )
    write(draft, recipe, schema, force=force)
    say(draft.recipe.rstrip())
    say(f"\nwrote {recipe}; train with: synthmill train {recipe}")
    return {
        "recipe": str(recipe),
        "schema": str(schema) if draft.schema is not None else None,
        "target": draft.target,
        "dropped": draft.dropped,
    }


def doctor(
    store: Annotated[
        str | None,
        typer.Option(
            "--store", envvar="SYNTHMILL_STORE", help="A store to check as well; nothing stays in it."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The closing JSON line alone.")] = False,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Check Python, Ray, torch, processors, memory, disk, GPU and store; exit 3 when something is broken."""
    from synthmill.runtime.doctor import as_data, as_lines, examine
    from synthmill.runtime.progress import say

    findings = examine(store)
    if not json_:
        for line in as_lines(findings):
            say(line)
    broken = [finding.name for finding in findings if finding.status == "fail"]
    result: dict[str, Any] = {"checks": as_data(findings), "broken": broken}
    if broken:
        result |= {"status": "failed", "error": f"broken: {', '.join(broken)}", "exit_code": 3}
    return result
