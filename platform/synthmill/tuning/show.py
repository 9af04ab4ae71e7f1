"""A search as plain data, for `tunes show` and whoever compares trials elsewhere."""

from typing import Any

from synthmill.tuning.record import Record, Trial


def as_data(record: Record) -> dict[str, Any]:
    """Everything that is known of a search, trials by number."""
    return {
        "seconds": record.seconds,
        "finished": record.finished,
        "published": record.published,
        "repeated": record.confirming,
        "trials": [_trial(trial) for _, trial in sorted(record.trials.items())],
        "settings": record.settings,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "of": trial.of,
        "origin": trial.origin,
        "state": trial.state,
        "reason": trial.reason,
        "seed": trial.seed,
        "point": trial.point,
        "scores": [
            vars(score) | {"values": list(score.values), "mean": score.mean} for score in trial.scores
        ],
        "began": trial.began,
        "ended": trial.ended,
    }
