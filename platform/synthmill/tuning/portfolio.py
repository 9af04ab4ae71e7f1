"""Where a search begins after the default: configurations that did well on other tables, and the best of
earlier searches on the same source.

The portfolio is a file of the package; a benchmark makes it from journals of searches (`benchmarks/tune.py
portfolio`), which says in it what it was made from.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from synthmill.tuning.order import ranked
from synthmill.tuning.record import Record
from synthmill.tuning.search import FirstPoint
from synthmill.tuning.space import MODEL, Space

FILE = "portfolio.json"
FORMAT = "synthmill.portfolio/1"
MOST_EARLIER = 3


def shipped(space: Space) -> list[FirstPoint]:
    """The portfolio's configurations of every searched family, family by turns; values that the space does
    not hold are replaced by the recipe's."""
    content = json.loads((resources.files("synthmill") / "tuning" / FILE).read_text("utf-8"))
    assert content["format"] == FORMAT, f"{FILE} has format {content['format']}"
    by_family = [
        [fitted(space, family, config) for config in content["models"].get(family, [])]
        for family in space.families
    ]
    # The other families' defaults come before anybody's portfolio.
    found = [FirstPoint(space.default(family), f"default of {family}") for family in list(space.families)[1:]]
    for turn in range(max((len(some) for some in by_family), default=0)):
        found += [FirstPoint(some[turn], "portfolio") for some in by_family if turn < len(some)]
    return found


def fitted(space: Space, family: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as a point of this space."""
    point = space.default(family)
    for name in space.families[family]:
        if name in config and space.has({**point, name: config[name]}):
            point[name] = config[name]
    return point


def earlier(space: Space, records: Sequence[Record]) -> list[FirstPoint]:
    """The best configurations of earlier searches on this source, as far as they are points of the space."""
    found: list[FirstPoint] = []
    for record in records:
        whole = [trial for trial in record.searched if trial.whole is not None and trial.whole.feasible]
        scores = [trial.whole for trial in whole if trial.whole is not None]
        for index in ranked(scores)[:MOST_EARLIER]:
            point = whole[index].point
            if point.get(MODEL) in space.families:
                found.append(FirstPoint(fitted(space, point[MODEL], point), "earlier"))
    return found


def choose(worth: Sequence[Mapping[str, float]], size: int, *, given: str) -> list[str]:
    """Greedy portfolio: configurations, by name, of which the best on each table is good on the mean, where
    `given` is tried anyway.

    `worth`: by table, configuration -> score. What a table has no score for counts as its worst. Where
    nothing is left to gain, the configurations that are good everywhere follow.
    """
    tables = [
        {name: table.get(name, min(table.values())) for other in worth for name in other} for table in worth
    ]
    chosen = [given]

    def gains(name: str) -> tuple[float, float]:
        best = [max(table[other] for other in (*chosen, name)) for table in tables]
        return sum(best), sum(table[name] for table in tables)

    while len(chosen) <= size:
        left = sorted(set(tables[0]) - set(chosen))
        if not left:
            break
        chosen.append(max(left, key=gains))
    return chosen[1:]
