"""How many configurations a budget holds, from what one training and one look cost."""

from dataclasses import dataclass

from synthmill.errors import RecipeError
from synthmill.tune_config import TuneConfig

REDUCTION = 3
LEAST_STEPS = 200
"""Of a training that is looked at early. After fewer all scores are near those of independent columns: the
order that they give is chance, and the look costs more than the steps that it could save."""
LEAST_SEEDS = 2
"""Of a comparison that has a bound."""
MOST_TRIALS = 40
"""Where neither trials nor time are limited."""
USABLE_SHARE = 0.1
"""Of the budget: by then something can be published."""


@dataclass(frozen=True)
class Costs:
    """Seconds."""

    training: float
    """One whole training."""
    scoring: float
    """One look at a sample."""

    @property
    def whole(self) -> float:
        """A configuration that is trained to the end at once."""
        return self.training + self.scoring


def rungs_of(config: TuneConfig, steps: int) -> tuple[float, ...]:
    """Shares of the whole training at which a configuration is looked at, the last one 1."""
    early = [1 / REDUCTION**2, 1 / REDUCTION]
    if config.fidelity == "none":
        early = []
    elif config.fidelity == "steps":
        early = [share for share in early if round(share * steps) >= LEAST_STEPS]
    return (*early, 1.0)


def expected_seconds(costs: Costs, rungs: tuple[float, ...]) -> float:
    """Of one configuration, where a third of those that reach a rung go beyond it."""
    reach, seconds = 1.0, 0.0
    for share in rungs:
        seconds += reach * (share * costs.training + costs.scoring)
        reach /= REDUCTION
    return seconds


def trials_in(config: TuneConfig, costs: Costs, rungs: tuple[float, ...], at_once: int) -> int:
    """Configurations that the budget holds, the default included."""
    limit = config.max_trials
    if config.budget_seconds is None:
        return limit or MOST_TRIALS
    kept = for_repeats(config, config.budget_seconds, costs.whole, at_once)
    seconds = (config.budget_seconds - kept) * at_once
    holds = 1 + int(max(0.0, seconds - costs.whole) / expected_seconds(costs, rungs))
    return holds if limit is None else min(limit, holds)


def require_one(config: TuneConfig, costs: Costs) -> None:
    """Raises RecipeError for a budget that can't hold a single training."""
    if config.budget_seconds is not None and config.budget_seconds < costs.whole:
        raise RecipeError(
            f"{config.budget_seconds:g} s hold no trial: one takes about {costs.whole:.3g} s; give more, or"
            " lower training.max_epochs",
            field="tune.budget_seconds",
        )


def for_repeats(config: TuneConfig, limit: float, whole: float, at_once: int) -> float:
    """Seconds of a budget that the search leaves to the repeats.

    At least what two seeds of one candidate and of the default take: a best score that nothing confirms may
    be luck. But half the budget is the search's.
    """
    if config.confirm_share == 0:
        return 0.0
    rounds = -(-2 * LEAST_SEEDS // at_once)
    return max(config.confirm_share * limit, min(limit / 2, rounds * whole))


def repeats_in(config: TuneConfig, seconds: float | None, whole: float, at_once: int, best: int) -> list[int]:
    """How many candidates and how many seeds are repeated: [candidates, seeds], the default besides.

    `seconds` are left (None: no limit), `whole` is what one training with its look took. Seeds go before
    candidates: a comparison of three by one seed decides nothing.
    """
    most = min(best, 3)
    if most == 0 or config.confirm_share == 0:
        return [0, 0]
    if seconds is None:
        return [most, config.confirm_seeds]
    # As many trainings as fit one after another, on each of the processes.
    fit = int(seconds // whole) * at_once
    seeds = min(config.confirm_seeds, fit // 2)
    if seeds < LEAST_SEEDS:
        return [0, 0]
    return [max(1, min(most, fit // seeds - 1)), seeds]
