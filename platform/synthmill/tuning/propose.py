"""The next configuration, as a function of what is known: Optuna is asked afresh each time.

No sampler's state is kept, so that a search that was cut off proposes what it would have proposed. Trials
that were stopped early count as pruned with their intermediate values, failed ones as failed, running ones as
running: the sampler expects little of them until they are known (constant liar).
"""

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

from synthmill.errors import RecipeError
from synthmill.training.space import Choice, Range
from synthmill.tuning.record import Trial
from synthmill.tuning.space import MODEL, Point, Space

STARTUP_TRIALS = 8
"""Trials before the sampler's model is believed; first points count."""


def check_sampler(name: str) -> None:
    """Raises RecipeError where the sampler's package is not installed."""
    if name != "random":
        _optuna()


def propose(space: Space, trials: Sequence[Trial], *, sampler: str, seed: int, objectives: int) -> Point:
    """The point that the sampler wants to see next; `trials` are those of the search so far."""
    number = len(trials)
    with warnings.catch_warnings():
        # Experimental features are what this is; a person who tunes need not hear of it.
        warnings.simplefilter("ignore")
        study = make_study(space, trials, objectives, _sampler(sampler, _seed(seed, number), space))
        asked = study.ask()
        families = list(space.families)
        family = asked.suggest_categorical(MODEL, families) if len(families) > 1 else families[0]
        point: Point = {MODEL: family}
        for name, where in space.families[family].items():
            point[name] = _suggested(asked, name, where)
    return point


def make_study(space: Space, trials: Sequence[Trial], objectives: int, sampler: Any) -> Any:
    """An Optuna study of the trials; points outside the space are left out."""
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)
    for trial in trials:
        if space.has(trial.point):
            study.add_trial(_frozen(optuna, space, trial))
    return study


def _frozen(optuna: Any, space: Space, trial: Trial) -> Any:
    states = optuna.trial.TrialState
    spaces = space.families[trial.point[MODEL]]
    distributions = {name: _distribution(optuna, where) for name, where in spaces.items()}
    params = {name: _stored(where, trial.point[name]) for name, where in spaces.items()}
    if len(space.families) > 1:
        distributions[MODEL] = optuna.distributions.CategoricalDistribution(list(space.families))
        params[MODEL] = trial.point[MODEL]
    options: dict[str, Any] = {"params": params, "distributions": distributions}
    last = trial.last
    if last is not None and trial.state != "running":
        options["constraints"] = dict(last.violations)
    if trial.state == "complete":
        assert last is not None, "a complete trial has a score"
        return optuna.trial.create_trial(state=states.COMPLETE, values=list(last.values), **options)
    if trial.state == "stopped" and last is not None and len(last.values) == 1:
        seen = {round(1000 * score.share): score.values[0] for score in trial.scores}
        return optuna.trial.create_trial(state=states.PRUNED, intermediate_values=seen, **options)
    state = states.RUNNING if trial.state == "running" else states.FAIL
    return optuna.trial.create_trial(state=state, **options)


def _sampler(name: str, seed: int, space: Space) -> Any:
    samplers = _optuna().samplers
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False)
    # With several families the parameters of each are modelled together, apart from the others'.
    return samplers.TPESampler(
        seed=seed,
        n_startup_trials=STARTUP_TRIALS,
        multivariate=True,
        group=len(space.families) > 1,
        constant_liar=True,
        warn_independent_sampling=False,
    )


def _distribution(optuna: Any, where: Range | Choice) -> Any:
    kinds = optuna.distributions
    if isinstance(where, Choice):
        # By place, as Optuna keeps only plain values and a choice may be a list of widths.
        return kinds.CategoricalDistribution(list(range(len(where.options))))
    if where.integer:
        return kinds.IntDistribution(int(where.low), int(where.high), log=where.log)
    return kinds.FloatDistribution(where.low, where.high, log=where.log)


def _stored(where: Range | Choice, value: Any) -> Any:
    if isinstance(where, Choice):
        return where.options.index(tuple(value) if isinstance(value, list) else value)
    return int(value) if where.integer else float(value)


def _suggested(asked: Any, name: str, where: Range | Choice) -> Any:
    if isinstance(where, Choice):
        return where.options[asked.suggest_categorical(name, list(range(len(where.options))))]
    if where.integer:
        return asked.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return asked.suggest_float(name, where.low, where.high, log=where.log)


def _seed(seed: int, number: int) -> int:
    """Of one proposal: another for each, and the same after a restart."""
    return int.from_bytes(hashlib.sha256(f"{seed},{number}".encode()).digest()[:4], "big")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise RecipeError(
            "needs Optuna, which is not installed: pip install 'synthmill[tune]'", field="tune.sampler"
        ) from None
    return optuna


def importance_evaluator() -> Any:
    """PED-ANOVA (arXiv 2304.10255)."""
    return _optuna().importance.PedAnovaImportanceEvaluator()
