"""When a search publishes a model before its end: something usable early on, then only what is better.

Versions stay for ever, so that there is at most one for each tenth of the work.
"""

from synthmill.tune_config import TuneConfig
from synthmill.tuning.budget import MOST_TRIALS, USABLE_SHARE
from synthmill.tuning.order import ranked
from synthmill.tuning.record import Record, Trial


def due(record: Record, config: TuneConfig, *, seconds: float, whole_seconds: float) -> Trial | None:
    """The trial to publish now; None: none.

    `seconds` of the search are over; `whole_seconds` is what a whole training with its look takes.
    """
    best = _best([trial for trial in record.searched if trial.whole is not None])
    if record.published:
        latest = record.published[-1]
        waited = work_done(record, config, seconds) - work_done(record, config, latest["seconds"])
        # Scores of all looks are of the same kind: more training that made it worse is no reason.
        better = best is not None and best.last is not None and best.last.mean > latest["score"]
        # Differences of shares are a little off: 0.15 - 0.05 is below 0.1.
        return best if better and waited > USABLE_SHARE - 1e-9 else None
    budget = config.budget_seconds
    # What had a part of the training only, where nothing whole can be there in time.
    if best is None and budget is not None and seconds + whole_seconds > USABLE_SHARE * budget:
        looked = [trial for trial in record.searched if trial.state == "running" and trial.last is not None]
        longest = max((trial.last.share for trial in looked if trial.last is not None), default=0.0)
        best = _best([trial for trial in looked if trial.last is not None and trial.last.share == longest])
    return best


def work_done(record: Record, config: TuneConfig, seconds: float) -> float:
    """The share of its budget, in time or in trials, that a search had used after so many seconds."""
    shares = [0.0]
    if config.budget_seconds is not None:
        shares.append(seconds / config.budget_seconds)
    trials = config.max_trials or (MOST_TRIALS if config.budget_seconds is None else None)
    if trials is not None:
        ended = [t for t in record.searched if t.state != "running" and t.ended <= seconds]
        shares.append(len(ended) / trials)
    return max(shares)


def _best(trials: list[Trial]) -> Trial | None:
    """The best that breaks no limit."""
    able = [trial for trial in trials if trial.last is not None and trial.last.feasible]
    order = ranked([trial.last for trial in able if trial.last is not None])
    return able[order[0]] if order else None
