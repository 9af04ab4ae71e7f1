"""Tune on Ray: search what a model declares searchable, by the quality of what it generates, and publish what
is surely better than the defaults.

A search is named by what determines it, so the same command after a crash finds its journal and goes on.
"""

import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthmill import registry, threads
from synthmill.config import AUTO, Recipe
from synthmill.errors import MissingError, NotFoundError, RecipeError, TrainingError, did_you_mean
from synthmill.runtime import cluster
from synthmill.runtime.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthmill.catalog.store import Version
    from synthmill.runtime.tune_setup import Setup
    from synthmill.storage.folder import Folder
    from synthmill.tuning.record import Record, Trial
    from synthmill.tuning.search import Search
    from synthmill.tuning.selection import Pick


@dataclass(frozen=True, repr=False)
class Tuned:
    """What a search left."""

    version: "Version | None"
    """The model; None: nothing was finished."""
    search: str
    """`NAME/N`, what `tunes show` takes."""
    report: str
    """URI of report.html."""
    trials: int
    number: int | None
    """The trial that was picked."""
    why: str
    score: float | None
    default_score: float | None
    interrupted: bool

    def __repr__(self) -> str:
        ref = self.version.ref if self.version else "nothing published"
        scores = "" if self.score is None else f", score {self.score:.4f}"
        scores += "" if self.default_score is None else f" (default {self.default_score:.4f})"
        ended = ", interrupted" if self.interrupted else ""
        return (
            f"<Tuned {ref}: trial {self.number} of {self.trials}{scores}{ended}; {self.why}; {self.report}>"
        )


def tune(recipe: Recipe, store_uri: str, *, run_id: str) -> Tuned:
    """Search around `recipe` and publish the pick as the next version of its name.

    Raises:
        UserError: anything the user can mend, before a trial begins.
        TrainingError: every trial failed.
    """
    started = time.monotonic()
    check_models(recipe)
    threads.bound_spin()
    with cluster.session_beside(lambda: _set_up(recipe, store_uri)) as preparing:
        setup = preparing.result()
        setup.introduce()
        leased = setup.store.begin_run(setup.run_name, run_key=setup.key, run_id=run_id, kind="tunes")
        with leased as run:
            return _search(setup, run.folder, run_id, f"{setup.run_name}/{run.number}", started)


def check_models(recipe: Recipe) -> None:
    """Raises NotFoundError or RecipeError for families that can't be searched together; imports none. `auto`
    stands for all that it chooses from, and so is no family among others."""
    known, families = registry.names("models"), recipe.tune.models
    if AUTO in families:
        raise RecipeError(
            "auto stands for all that it chooses from: set model.name to it and leave this out, or name the"
            " models",
            field="tune.models",
        )
    for name in families or (recipe.model.name,):
        if name == AUTO and not families:
            continue
        if name not in known:
            field = "tune.models" if families else "model.name"
            raise NotFoundError(f"no model named {name!r}{did_you_mean(name, known)}", field=field)
    twice = next((name for name in families if families.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"names {twice!r} twice", field="tune.models")


def _set_up(recipe: Recipe, store_uri: str) -> "Setup":
    from synthmill.runtime.tune_setup import set_up

    return set_up(recipe, store_uri)


def _search(setup: "Setup", folder: "Folder", run_id: str, ref: str, started: float) -> Tuned:
    from synthmill.runtime.tune_ray import places, resources_of, run
    from synthmill.runtime.tune_setup import first_points, measure
    from synthmill.runtime.tune_tracking import Tracking
    from synthmill.tuning.journal import Journal
    from synthmill.tuning.search import Search

    config = setup.recipe.tune
    journal = Journal(folder, lambda: time.monotonic() - started)
    asked = resources_of(config, setup.recipe.training)
    at_once = places(config, setup.recipe.training, asked)
    costs, missing = measure(setup, journal)
    _resume(journal, config.max_trials, config.budget_seconds)
    publisher = Publisher(setup, folder, run_id, ref)
    search = Search(
        setup.space,
        journal,
        rungs=setup.rungs,
        costs=costs,
        at_once=at_once,
        first=first_points(setup, ref),
        objectives=len(setup.goal.objectives),
    )
    interrupted = False
    tracking = Tracking(setup.recipe.name, ref)
    with _display(search, costs, at_once) as heard:

        def after(number: int, history: list[dict[str, Any]]) -> None:
            heard(number)
            tracking.heard(search.record.trials[number], history)
            publisher.consider(search)
            publisher.prune(search)

        try:
            if search.record.finished is None:
                run(
                    search,
                    setup.shared(folder, missing, asked),
                    at_once=at_once,
                    max_failures=config.max_failures,
                    heard=after,
                )
        except KeyboardInterrupt:
            # What there is is published; the same command goes on with the rest.
            interrupted = True
            search.stop()
            say("interrupted: the best so far is published, and the same command goes on")
    try:
        return _finish(setup, search, publisher, folder, ref, interrupted=interrupted)
    finally:
        tracking.close()


def _resume(journal: Any, max_trials: int | None, budget_seconds: float | None) -> None:
    """Say that a search goes on, and open a finished one again that was given more."""
    record = journal.record
    limits = {"max_trials": max_trials, "budget_seconds": budget_seconds}
    if record.trials:
        done = sum(trial.state != "running" for trial in record.trials.values())
        say(f"going on with a search of {done} finished trials")
    if record.finished is not None and limits != record.finished["limits"]:
        journal.append("extend", limits=limits)


class Publisher:
    """Makes model versions of trials: the first that is usable early on, then better ones, then the pick."""

    def __init__(self, setup: "Setup", folder: "Folder", run_id: str, ref: str) -> None:
        self._setup, self._folder, self._run_id, self._ref = setup, folder, run_id, ref
        self._gone: set[int] = set()

    def consider(self, search: "Search") -> None:
        """Publish what is usable early on, or better than what was published last."""
        from synthmill.tuning.publishing import due

        trial = due(
            search.record,
            self._setup.recipe.tune,
            seconds=search.journal.seconds,
            whole_seconds=search.costs.whole,
        )
        if trial is not None:
            self.publish(search, trial, "the best so far of a search that goes on", final=False)

    def publish(self, search: "Search", trial: "Trial", why: str, *, final: bool) -> "Version":
        """Publish the weights of a trial, with where they came from."""
        from synthmill.runtime.publish import publish
        from synthmill.runtime.trial import kept

        assert trial.last is not None, "a trial that was looked at"
        details: dict[str, Any] = {
            "search": self._ref,
            "search_key": self._setup.key,
            "trial": trial.number,
            "origin": trial.origin,
            "share_of_training": trial.last.share,
            "search_score": trial.last.mean,
            "figures": dict(trial.last.figures),
            "repeats": {str(seed): value for seed, value in search.record.repeats(trial.number).items()},
            "why": why,
            "final": final,
        }
        prepared = self._setup.prepared_for(trial)
        version = publish(
            prepared, kept(self._folder, trial.number), run_id=self._run_id, details={"tune": details}
        )
        search.journal.append(
            "published",
            ref=version.ref,
            number=trial.number,
            share=trial.last.share,
            score=trial.last.mean,
            final=final,
            why=why,
        )
        say(f"published {version.ref}: trial {trial.number}, score {trial.last.mean:.4f}; {why}")
        return version

    def prune(self, search: "Search") -> None:
        """Remove checkpoints of trials that ended, and weights of those that won't be published."""
        from synthmill.runtime.trial import HISTORY, WEIGHTS, trial_folder
        from synthmill.tuning.selection import candidates

        keep = {0, *(trial.number for trial in candidates(search.record))}
        for number, trial in search.record.trials.items():
            if trial.state == "running" or number in self._gone:
                continue
            inner = trial_folder(self._folder, number)
            inner.delete_tree("checkpoints")
            if number not in keep:
                for name in (WEIGHTS, HISTORY):
                    inner.delete(name)
                self._gone.add(number)


@contextmanager
def _display(search: "Search", costs: Any, at_once: int) -> "Iterator[Any]":
    from synthmill.runtime.tune_display import Board

    with Board(search, costs, at_once) as board:
        yield board.heard


def _finish(
    setup: "Setup",
    search: "Search",
    publisher: Publisher,
    folder: "Folder",
    ref: str,
    *,
    interrupted: bool,
) -> Tuned:
    """Publish the pick, if it is not what was published last, and write the report."""
    from synthmill.runtime.encode import SHARDS
    from synthmill.tuning.report import report_html
    from synthmill.tuning.selection import pick

    record = search.record
    chosen = pick(record)
    version = _publish_pick(setup, search, publisher, chosen)
    if not interrupted and record.finished is None:
        limits = {
            "max_trials": setup.recipe.tune.max_trials,
            "budget_seconds": setup.recipe.tune.budget_seconds,
        }
        search.journal.append("finish", pick=_as_data(chosen), limits=limits)
    page = report_html(record, chosen, setup.space, setup.about(ref))
    folder.write_bytes("report.html", page.encode())
    if record.finished is not None:
        # Encoded training rows are as private as the source.
        folder.delete_tree(SHARDS)
    if version is None and not interrupted:
        raise TrainingError(_why_nothing(record, folder))
    default = record.trials.get(0)
    trial = record.trials[chosen.number] if chosen else None
    return Tuned(
        version=version,
        search=ref,
        report=folder.uri_of("report.html"),
        trials=len(record.searched),
        number=chosen.number if chosen else None,
        why=chosen.why if chosen else "nothing was finished",
        score=trial.last.mean if trial and trial.last else None,
        default_score=default.last.mean if default and default.last else None,
        interrupted=interrupted,
    )


def _why_nothing(record: "Record", folder: "Folder") -> str:
    """Why a search ends without a model, in one line."""
    scores = [trial.whole for trial in record.searched if trial.whole is not None]
    broken = sorted({name for score in scores for name, value in score.violations.items() if value > 0})
    if broken:
        return (
            f"every finished configuration breaks a limit ({', '.join(broken)}), so none is published; see"
            f" {folder.uri_of('report.html')}, train for fewer epochs, or set tune.constraints=none"
        )
    reasons = [trial.reason for trial in record.searched if trial.reason]
    return f"no trial was finished: {reasons[0] if reasons else 'there was no time'}"


def _publish_pick(
    setup: "Setup", search: "Search", publisher: Publisher, chosen: "Pick | None"
) -> "Version | None":
    """The version of the pick; the last published one where it is that."""
    if chosen is None:
        return None
    trial, published = search.record.trials[chosen.number], search.record.published
    assert trial.last is not None
    same = [p for p in published if p["number"] == trial.number and p["share"] == trial.last.share]
    if same and same[-1] is published[-1]:
        try:
            return setup.store.resolve("models", same[-1]["ref"], field="name")
        except NotFoundError:
            say(f"{same[-1]['ref']} was deleted; it is published again")
    try:
        return publisher.publish(search, trial, chosen.why, final=True)
    except MissingError:
        raise TrainingError(f"the weights of trial {trial.number} are gone; run with another seed") from None


def _as_data(chosen: "Pick | None") -> Mapping[str, Any] | None:
    if chosen is None:
        return None
    return {
        "number": chosen.number,
        "why": chosen.why,
        "standings": [vars(standing) for standing in chosen.standings],
    }
