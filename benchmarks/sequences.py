"""Sequences: how near generated ones come to real ones, and how fast they are learnt and generated.

    PYTHONPATH=platform:tests .venv/bin/python benchmarks/sequences.py --sequences 3000

The source is the generated one of `tests/visits.py`, whose autocorrelation and transitions are known.
"""

import argparse
import json
import time

import synthmill
from visits import AUTOCORRELATION, MOVES, autocorrelation, moves, visits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train, holdout = visits(given.sequences, given.seed + 1), visits(given.sequences, given.seed + 2)
    started = time.perf_counter()
    model = synthmill.fit(
        train, group_by="customer", order_by="when", overrides={"training.seed": given.seed}
    )
    fitted = time.perf_counter()
    made = model.sample(sequences=given.sequences, seed=given.seed)
    sampled = time.perf_counter()
    report = synthmill.evaluate(made, train=train, holdout=holdout, group_by="customer", order_by="when")
    figures = {
        name: {"value": found.value, "reference": found.reference}
        for name, found in report.metrics.items()
        if name.startswith("sequence.")
    }
    told = {
        "sequences": given.sequences,
        "rows": train.num_rows,
        "fit_seconds": round(fitted - started, 1),
        "rows_per_second": round(made.num_rows / (sampled - fitted)),
        "autocorrelation": [round(autocorrelation(made, lag=lag), 3) for lag in (1, 2, 3)],
        "stated_autocorrelation": [round(AUTOCORRELATION**lag, 3) for lag in (1, 2, 3)],
        "largest_error_of_a_transition": round(float(abs(moves(made) - MOVES).max()), 3),
        **figures,
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
