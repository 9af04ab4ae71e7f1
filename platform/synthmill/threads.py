"""How long the threads of a parallel loop wait for the next one before they sleep.

OpenMP's threads spin: two processes that each take all CPUs then wait for each other's threads to stop
turning. A training step of 3 ms (500 rows, width 128) beside one like it took 48 to 210 ms with the default,
18 ms with 10,000 turns and 6 ms with 1,000; alone it took 3, 3.6 and 8 ms. Both numbers count.
"""

import os

SPIN_TURNS = "10000"


def bound_spin() -> None:
    """Called by entry points before torch loads, which reads this once; processes that they start inherit it.
    What the user set stays."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_TURNS)
