"""The command line: the five verbs and the catalog. Every command ends in one JSON line and one of five exit
codes.

0 done, 1 a quality gate failed, 2 the user's mistake, 3 infrastructure or our fault, 130 interrupted.
"""

import functools
import json
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import synthmill
from synthmill import threads
from synthmill.errors import ColumnsError, ConstraintsError, SynthmillError, UserError
from synthmill.runtime import (
    augment_commands,
    catalog_commands,
    fit_command,
    forecast_command,
    impute_command,
    setup_commands,
    tune_commands,
)
from synthmill.runtime.options import DEFAULT_STORE, ResultFile, StorageOption, StoreOption, choice
from synthmill.serving import command as serving_commands

if TYPE_CHECKING:
    from synthmill.runtime.results import ResultPlace

# What a command needs beyond its options is imported when it runs: `--help` and completion answer at once.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=__doc__,
)
ParserError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
"""What the parser raises; typer brings its own copy of click, or uses the installed one, by version."""
DEMO_RECIPE = "demo"


def _version(requested: bool) -> None:
    if requested:
        sys.stdout.write(f"synthmill {synthmill.__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """The `synthmill` command; ends the process."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    if code == 130:
        # Ctrl-C on a terminal ends Ray's processes as well, and Ray's threads in this one then crash now and
        # then while Python ends, so that the exit code is 139. Everything is closed and written by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; nothing it raises passes this point."""
    threads.bound_spin()
    _interrupt_on_sigterm()
    try:
        if setup_commands.show_completion(arguments):
            return 0
        code = typer.main.get_command(app).main(args=arguments, prog_name="synthmill", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except ParserError as fault:
        text = fault.format_message()
        if type(fault).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(f"{text}\n")
            return 2
        from synthmill.runtime.results import place_in_words

        return _fail(UserError(" ".join(text.split())), place_in_words(arguments))
    except Exception as fault:
        return _fail(fault, None)
    except SystemExit as stop:
        # Typer ends the process itself when it knows no completion for the shell; 1 is for gates alone.
        return 2 if stop.code else 0
    return int(code or 0)


def verb(function: Callable[..., dict[str, Any]]) -> Callable[..., int]:
    """Makes a job of a function that returns its result: prints it last, turns what it raises into an exit
    code."""

    @functools.wraps(function)
    def job(*args: Any, **options: Any) -> int:
        from synthmill.runtime.results import place_of_job

        place = place_of_job(options)
        try:
            # Before the work: a place that can't be written would lose the result of hours.
            if place:
                place.clear()
        except SynthmillError as fault:
            return _fail(fault, None)
        try:
            result = function(*args, **options)
        except (KeyboardInterrupt, typer.Abort):
            _close({"status": "interrupted", "exit_code": 130}, place)
            return 130
        except Exception as fault:
            return _fail(fault, place)
        failed = result.get("verdict") == "fail" and result.get("gated")
        code = int(result.get("exit_code", bool(failed)))
        return _close({"status": "done", **result}, place) or code

    return job


def _fail(fault: Exception, place: "ResultPlace | None") -> int:
    ours = isinstance(fault, SynthmillError)
    code = fault.exit_code if isinstance(fault, SynthmillError) else 3
    line = " ".join(str(fault).split()) or type(fault).__name__
    message = line if ours else f"{type(fault).__name__}: {line}"
    # A stack helps whoever mends our bug, and hides a user's own mistake.
    if not ours or os.environ.get("SYNTHMILL_DEBUG"):
        traceback.print_exception(fault)
    # Each column at fault has a line of its own; everything else is one line.
    for text in fault.faults if isinstance(fault, ColumnsError | ConstraintsError) else (message,):
        sys.stderr.write(f"error: {' '.join(text.split())}\n")
    sys.stderr.flush()
    _close({"status": "failed", "error": message, "exit_code": code}, place)
    return code


def _close(result: dict[str, Any], place: "ResultPlace | None") -> int:
    """Print the closing line, and write it; the exit code of a result that can't be written, else 0."""
    from synthmill.runtime.progress import say

    code = 0
    try:
        if place:
            place.write(result)
    except SynthmillError as fault:
        sys.stderr.write(f"error: {fault}\n")
        sys.stderr.flush()
        code = fault.exit_code
    say(json.dumps(result))
    return code


def _interrupt_on_sigterm() -> None:
    # Schedulers and containers stop a process by SIGTERM; it then closes what it has open, as for Ctrl-C.
    def stop(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return  # Not the main thread: whoever owns it handles signals.


@app.command()
@verb
def train(
    recipe: Annotated[
        str, typer.Argument(help="Path of a recipe, or the name of one that ships with the package.")
    ] = DEMO_RECIPE,
    store: StoreOption = DEFAULT_STORE,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value; may be given again.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and what it would take, and stop.")
    ] = False,
    inspect: Annotated[bool, typer.Option("--inspect", help="Print what columns become, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --inspect: JSON and a schema file.")] = False,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Train a model and publish it as the next version of its name."""
    from synthmill.config import load_recipe
    from synthmill.runtime.train import train

    loaded = load_recipe(recipe, tuple(set_ or ()))
    if dry_run:
        from synthmill.runtime.estimate import dry_run_of_training

        return {"dry_run": True, "estimate": dry_run_of_training(loaded, store)}
    if inspect:
        from synthmill.runtime.inspect_source import inspected

        return inspected(loaded, store, as_json=as_json)
    version = train(loaded, store, run_id=uuid.uuid4().hex)
    quality = version.manifest.details["training"].get("quality")
    return {
        "model": version.ref,
        "uri": version.uri,
        "content_digest": version.manifest.content_digest,
        "quality": quality,
    }


@app.command()
@verb
def evaluate(
    dataset: Annotated[str | None, typer.Option(help="NAME or NAME@N of a dataset in the store.")] = None,
    synthetic: Annotated[
        str | None, typer.Option(help="Instead of a dataset: a file, folder or URI that anything wrote.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="With --synthetic: the rows it was made from.")] = None,
    holdout: Annotated[
        str | None, typer.Option(help="With --synthetic: real rows that its maker never saw.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="With --synthetic: further real rows.")] = None,
    target: Annotated[
        str | None, typer.Option(help="With --synthetic: the column that models should predict.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="With --synthetic: a schema file that states kinds of columns.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="With --synthetic: table or image; default: what the files hold.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    profile: Annotated[str, typer.Option(help="quick, standard, full or audit.")] = "standard",
    gates: Annotated[
        str | None, typer.Option(help="A gates file, or 'default'; default: what the model's recipe says.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="NAME@N of an earlier report, or its report.json.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Sub-samples, folds and bootstraps follow from it.")] = 0,
    sample_rows: Annotated[
        str | None, typer.Option(help="Rows a side for neighbour and classifier metrics, or 'all'.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds that the full profile may spend on retraining.")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="A metric beside the profile's (privacy.singling_out); may be given again."),
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(help="A column that privacy.attribute_inference tries to learn.")
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            help="Features of images: auto, classifier, random or torchscript:PATH (a file that you trust)."
        ),
    ] = "auto",
    neighbours: Annotated[
        bool, typer.Option("--neighbours", help="Show the nearest real images in the report.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(help="Folder that gets report.html, report.json, junit.xml and summary.md too."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Concurrent tasks; default: one for each CPU.")] = None,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Measure fidelity, utility and privacy against real rows the model never saw; exit 1 when a gate
    fails."""
    shared: dict[str, Any] = {
        "profile": choice("--profile", profile, ("quick", "standard", "full", "audit")),
        "baseline": baseline,
        "seed": seed,
        "sample_rows": sample_rows,
        "budget_seconds": budget,
        "include": tuple(include or ()),
        "secrets": tuple(secret or ()),
        "extractor": extractor,
        "neighbours": neighbours,
    }
    elsewhere: dict[str, Any] = {
        "train": train,
        "holdout": holdout,
        "validation": validation,
        "target": target,
        "schema": schema,
        "kind": kind,
    }
    from synthmill.runtime.options import storage_settings

    storage = storage_settings(set_)
    if synthetic is not None:
        from synthmill.runtime.evaluate_files import FilesRequest, evaluate_files

        _refuse("--synthetic", {"dataset": dataset, "workers": workers})
        if train is None:
            raise UserError("is needed beside --synthetic: the rows that it was made from", field="--train")
        request = FilesRequest(synthetic=synthetic, gates=gates or "default", **shared, **elsewhere)
        judged = evaluate_files(request, store, storage=storage, output=output)
        judged.report.show()
        return {
            "report": judged.written[0],
            "verdict": judged.report.verdict,
            "why": judged.report.summary,
            "gated": True,
        }
    if dataset is None:
        raise UserError(
            "name a dataset of the store, or files with --synthetic and --train", field="--dataset"
        )
    _refuse("--dataset", elsewhere)
    from synthmill.runtime.evaluate import EvaluateRequest
    from synthmill.runtime.judging import evaluate_any

    done = evaluate_any(
        EvaluateRequest(dataset=dataset, gates=gates, workers=workers, **shared),
        store,
        run_id=uuid.uuid4().hex,
        storage=storage,
        output=output,
    )
    return {
        "report": done.version.ref,
        "uri": done.version.uri,
        "verdict": done.verdict,
        "why": done.why,
        "gated": True,
    }


def _refuse(beside: str, options: dict[str, Any]) -> None:
    """Options that would be ignored are a mistake."""
    for name, value in options.items():
        if value is not None:
            raise UserError(f"means nothing beside {beside}; leave it out", field=f"--{name}")


@app.command()
@verb
def demo(store: StoreOption = DEFAULT_STORE, result_file: ResultFile = None) -> dict[str, Any]:
    """Train on a medical table, publish a synthetic one, evaluate it, and say where everything is."""
    from synthmill.runtime.demo import demo

    return demo(store, uuid.uuid4().hex)


augment_commands.register(app, verb)
fit_command.register(app, verb)
tune_commands.register(app, verb)
impute_command.register(app, verb)
forecast_command.register(app, verb)
setup_commands.register(app, verb)
catalog_commands.register(app, verb)
serving_commands.register(app, verb)


if __name__ == "__main__":
    main()
