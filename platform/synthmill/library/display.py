"""How models and training look: text and HTML of a model, one rich bar on terminals and in notebooks."""

from collections.abc import Mapping
from html import escape
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from synthmill.catalog.artifact import Artifact
from synthmill.training.reporter import Record

LEFT = "style='text-align:left'"


def facts(artifact: Artifact, ref: str | None) -> dict[str, str]:
    """What a person wants to know of a model at a glance: no data values."""
    config = artifact.config
    training, split, recipe = config["training"], config["split"]["counts"], config["recipe"]
    steps = f"{training['steps']:,} steps in {training['seconds']:.1f} s"
    quality = training.get("quality") or {}
    shown = {
        "model": str(config["model"]),
        "stored as": ref or "not saved",
        "learnt from": f"{split['train']:,} of {config['source']['rows']:,} rows",
        "target": recipe["data"]["target"] or "none",
        "trained": steps + (", stopped by hand" if training.get("interrupted") else ""),
    }
    if "score" in quality:
        shown["score"] = f"{quality['score']:.3f} on validation rows (fidelity, not privacy)"
    return shown


def model_text(artifact: Artifact, ref: str | None) -> str:
    """One line for a prompt."""
    shown = facts(artifact, ref)
    name = artifact.config["recipe"]["name"]
    return f"<Model {name}: " + ", ".join(f"{key} {value}" for key, value in shown.items()) + ">"


def model_html(artifact: Artifact, ref: str | None) -> str:
    """A small table for notebooks; every value is escaped, as names come from the user's data."""
    rows = "".join(
        f"<tr><th {LEFT}>{escape(key)}</th><td {LEFT}>{escape(value)}</td></tr>"
        for key, value in facts(artifact, ref).items()
    )
    name = escape(str(artifact.config["recipe"]["name"]))
    return f"<table><caption {LEFT}><b>{name}</b></caption>{rows}</table>"


class Bar:
    """A reporter of the training loop that moves one bar; silent in files, pipes and logs.

    `shown`: True or False decides; None shows it on a terminal or in a notebook."""

    def __init__(self, total_steps: int, shown: bool | None, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        enabled = console.is_terminal or console.is_jupyter if shown is None else shown
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._console, self._enabled = console, enabled
        self._progress = Progress(*columns, console=console, disable=not enabled)
        self._task = self._progress.add_task("training", total=total_steps, note="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def log(self, record: Record) -> None:
        """Move to the record's step; the newest score stands beside the bar."""
        if "message" in record and self._enabled:
            self.say(str(record["message"]))
        quality = record.get("quality")
        if isinstance(quality, Mapping) and "score" in quality:
            self._progress.update(self._task, note=f"score {quality['score']:.3f}")
        if "step" in record:
            self._progress.update(self._task, completed=int(record["step"]))

    def say(self, text: str) -> None:
        """A line above the bar, also where there is none."""
        self._console.print(text, markup=False, highlight=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
