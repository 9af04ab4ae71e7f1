"""The commands of searches: `tune`, and `tunes list|show`; added to the command line by `register`."""

import json
import re
import uuid
from typing import Annotated, Any

import typer

from synthmill.errors import NotFoundError, RecipeError, did_you_mean
from synthmill.runtime.options import DEFAULT_STORE, ResultFile, StoreOption, Verb

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the commands; `verb` turns a function that returns its result into one that prints it and returns
    an exit code."""
    app.command()(verb(tune))
    searches = typer.Typer(no_args_is_help=True, help="Searches for hyper-parameters.")
    searches.command("list")(tunes_list)
    searches.command("show")(tunes_show)
    app.add_typer(searches, name="tunes")


def tune(
    recipe: Annotated[
        str, typer.Argument(help="Path of a recipe, or the name of one that ships with the package.")
    ] = "demo",
    store: StoreOption = DEFAULT_STORE,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value; may be given again.")] = None,
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", help="For everything: 90s, 30m, 2h, or seconds.")
    ] = None,
    max_trials: Annotated[int | None, typer.Option("--max-trials", help="Configurations to try.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the space and how many trials the budget holds.")
    ] = False,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Search hyper-parameters by the quality of what is generated, and publish what surely beats the
    default."""
    from synthmill.config import load_recipe
    from synthmill.runtime.progress import say

    words = list(set_ or ())
    if time_budget is not None:
        words.append(f"tune.budget_seconds={seconds_of(time_budget, '--time-budget')}")
    if max_trials is not None:
        words.append(f"tune.max_trials={max_trials}")
    loaded = load_recipe(recipe, tuple(words))
    if dry_run:
        import os

        from synthmill.runtime.tune_setup import dry_run as plan

        each = (loaded.training.threads or 1) * loaded.training.workers
        at_once = loaded.tune.concurrency or max(1, (os.cpu_count() or 1) // each)
        for line in plan(loaded, store, at_once):
            say(line)
        return {"dry_run": True}
    from synthmill.runtime.tune import tune as run

    done = run(loaded, store, run_id=uuid.uuid4().hex)
    result: dict[str, Any] = {
        "model": done.version.ref if done.version else None,
        "uri": done.version.uri if done.version else None,
        "search": done.search,
        "report": done.report,
        "trials": done.trials,
        "trial": done.number,
        "score": done.score,
        "default_score": done.default_score,
        "why": done.why,
    }
    return result | ({"status": "interrupted", "exit_code": 130} if done.interrupted else {})


def seconds_of(text: str, field: str) -> float:
    """1800.0 for `30m`; RecipeError names `field`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise RecipeError(f"expected a time such as 90s, 30m or 2h, got {text[:80]!r}", field=field)
    return float(match[1]) * UNITS[match[2] or "s"]


def tunes_list(store: StoreOption = DEFAULT_STORE) -> None:
    """Searches, one a line: ref, state, trials, score of the best, model."""
    from synthmill.catalog.store import Store
    from synthmill.runtime.progress import say
    from synthmill.tuning.journal import read_events, replay

    for run in Store(store).runs(kind="tunes"):
        record = replay(read_events(run.folder))
        state = "running" if run.running else "finished" if record.finished else "unfinished"
        scores = [trial.whole.mean for trial in record.searched if trial.whole is not None]
        model = record.published[-1]["ref"] if record.published else ""
        best = f"{max(scores):.4f}" if scores else ""
        say("\t".join([run.ref, state, str(len(record.searched)), best, model]).rstrip())


def tunes_show(
    ref: Annotated[str, typer.Argument(help="NAME or NAME/N.")], store: StoreOption = DEFAULT_STORE
) -> None:
    """A search as JSON: every trial with its scores, what was published and why."""
    from synthmill.catalog.store import Store
    from synthmill.runtime.progress import say
    from synthmill.tuning.journal import read_events, replay
    from synthmill.tuning.show import as_data

    name, _, number = ref.partition("/")
    runs = Store(store).runs(kind="tunes")
    found = [run for run in runs if run.name == name and number in ("", str(run.number))]
    if not found:
        raise NotFoundError(
            f"no search {ref!r}{did_you_mean(ref, [run.ref for run in runs])}", field="search"
        )
    record = replay(read_events(found[-1].folder))
    head = {"ref": found[-1].ref, "uri": found[-1].folder.uri, "running": found[-1].running}
    say(json.dumps({**head, **as_data(record)}, indent=2))
