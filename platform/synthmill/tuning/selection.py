"""Which configuration is published: the best few and the default are trained again with fresh, paired seeds,
and the pick is by the lower confidence bound of what each gains on the default.

The best of many noisy scores is too high by selection alone (the winner's curse): what was searched decides
who is looked at again, the repeats decide who wins, and the difference between both is reported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from synthmill.tuning.order import ranked
from synthmill.tuning.record import Record, Trial

CONFIDENCE = 0.9
"""One-sided, of the bound that picks."""
MOST_CANDIDATES = 3


@dataclass(frozen=True)
class Standing:
    """What the repeats say of one candidate."""

    number: int
    searched: float
    """Its score in the search."""
    repeated: float | None
    """The mean of its repeats."""
    gain: float | None
    """Mean paired difference from the default."""
    bound: float | None
    """The lower confidence bound of the gain."""
    seeds: int

    @property
    def shrinkage(self) -> float | None:
        """How much of the search score was luck."""
        return None if self.repeated is None else self.searched - self.repeated


@dataclass(frozen=True)
class Pick:
    """What is published, and why."""

    number: int
    why: str
    standings: tuple[Standing, ...]


def candidates(record: Record, most: int = MOST_CANDIDATES) -> list[Trial]:
    """The best whole trainings of the search that break no constraint, without the default."""
    whole = [t for t in record.searched if t.whole is not None and t.number != 0 and t.whole.feasible]
    scores = [trial.whole for trial in whole if trial.whole is not None]
    return [whole[i] for i in ranked(scores)[:most]]


def paired(
    default: Mapping[int, float], others: Mapping[int, Mapping[int, float]]
) -> dict[int, tuple[float, float]]:
    """Candidate -> (mean gain, lower bound) over the seeds that it shares with the default.

    The spread of the differences is pooled over candidates, as three seeds of one alone say little of it.
    Candidates with fewer than two seeds have no bound and are left out.
    """
    gains = {
        number: [scores[seed] - default[seed] for seed in sorted(scores) if seed in default]
        for number, scores in others.items()
    }
    gains = {number: some for number, some in gains.items() if len(some) >= 2}
    freedom = sum(len(some) - 1 for some in gains.values())
    squares = sum(sum((gain - sum(some) / len(some)) ** 2 for gain in some) for some in gains.values())
    if not freedom:
        return {}
    spread = math.sqrt(squares / freedom)
    quantile = float(stats.t.ppf(CONFIDENCE, freedom))
    found = {}
    for number, some in gains.items():
        mean = sum(some) / len(some)
        found[number] = (mean, mean - quantile * spread / math.sqrt(len(some)))
    return found


def pick(record: Record) -> Pick | None:
    """The configuration to publish; None: nothing was finished that could be."""
    default = record.trials.get(0)
    best = candidates(record)
    sure = default is not None and default.whole is not None
    if not best and not sure:
        return _unfinished(record)
    if not best and default is not None and not _feasible(default):
        return None  # Every whole training breaks a limit, and what breaks one is never published.
    numbers = record.confirming["candidates"] if record.confirming else [trial.number for trial in best]
    repeats = {number: record.repeats(number) for number in numbers}
    bounds = paired(record.repeats(0), repeats)
    standings = _standings(record, numbers, bounds)
    if bounds:
        return _confirmed(bounds, standings, default_feasible=bool(default and _feasible(default)))
    if not best or (default is not None and _feasible(default) and _beats(default, best[0])):
        return Pick(0, "no searched configuration scored higher than the default", standings)
    why = "the best score of the search; it was not repeated with other seeds"
    return Pick(best[0].number, why, standings)


def _confirmed(
    bounds: Mapping[int, tuple[float, float]], standings: tuple[Standing, ...], *, default_feasible: bool
) -> Pick:
    number = max(bounds, key=lambda candidate: bounds[candidate][1])
    gain, bound = bounds[number]
    surely = f"with {CONFIDENCE:.0%} confidence at least {bound:+.4f}"
    if not default_feasible:
        why = f"the default breaks a limit; this gains {gain:+.4f} on it over paired seeds, {surely}"
        return Pick(number, why, standings)
    if bound > 0:
        return Pick(number, f"gains {gain:+.4f} on the default over paired seeds, {surely}", standings)
    return Pick(
        0, f"no configuration surely beats the default: the best gains {gain:+.4f}, {surely}", standings
    )


def _unfinished(record: Record) -> Pick | None:
    """The best of what was looked at before its time: something usable, and said to be no more."""
    some = [t for t in record.searched if t.last is not None and t.state != "failed" and t.last.feasible]
    if not some:
        return None
    longest = max(t.last.share for t in some if t.last is not None)
    there = [t for t in some if t.last is not None and t.last.share == longest]
    order = ranked([t.last for t in there if t.last is not None])
    why = f"the best after {longest:.0%} of the training; none was finished"
    return Pick(there[order[0]].number, why, ())


def _standings(
    record: Record, numbers: Sequence[int], bounds: Mapping[int, tuple[float, float]]
) -> tuple[Standing, ...]:
    found = []
    for number in dict.fromkeys([0, *numbers]):
        trial = record.trials.get(number)
        if trial is None or trial.whole is None:
            continue
        repeats = record.repeats(number)
        gain, bound = bounds.get(number, (None, None))
        mean = sum(repeats.values()) / len(repeats) if repeats else None
        found.append(Standing(number, trial.whole.mean, mean, gain, bound, len(repeats)))
    return tuple(found)


def _feasible(trial: Trial) -> bool:
    return trial.whole is not None and trial.whole.feasible


def _beats(a: Trial, b: Trial) -> bool:
    assert a.whole is not None
    assert b.whole is not None
    return a.whole.mean >= b.whole.mean
