"""How tables hang together: in which order they are generated, and what each relation is to its table.

A table's rows are generated for each row of its owner, one of its parents; families of rows are what hangs on
one row of a table without an owner. A row of each further parent is chosen for them. Relations that only
repeat what the owner's say follow it. A relation to the table itself makes levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from synthmill.data.columns import Int64

Role = Literal["owner", "chosen", "follows", "self"]


@dataclass(frozen=True)
class Relation:
    """A foreign key with the rows that it names."""

    child: str
    columns: tuple[str, ...]
    parent: str
    index: Int64
    """The parent's row of each row of the child, -1 where it names none, (N,)."""
    role: Role = "chosen"

    @property
    def text(self) -> str:
        """`orders.customer_id`."""
        return f"{self.child}.{'+'.join(self.columns)}"


def in_order(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Tables with all parents before their children, otherwise as they are given, and one cycle among those
    that can't be ordered, which begins and ends with the same table; `edges` are (child, parent)."""
    waiting = list(names)
    done: list[str] = []
    while waiting:
        free = [name for name in waiting if not any(c == name and p in waiting and p != c for c, p in edges)]
        if not free:
            return done, _cycle(waiting, edges)
        done.append(free[0])
        waiting.remove(free[0])
    return done, []


def decide(
    order: Sequence[str], relations: Sequence[Relation], keys: Mapping[str, tuple[str, ...]]
) -> list[Relation]:
    """The relations with their roles, in the order of the tables."""
    decided: list[Relation] = []
    for name in order:
        own = [relation for relation in relations if relation.child == name and relation.parent != name]
        owner = _owner(own, decided, keys.get(name, ()))
        for relation in (one for one in relations if one.child == name):
            role: Role = "chosen"
            if relation.parent == name:
                role = "self"
            elif relation is owner:
                role = "owner"
            elif owner is not None and _follows(relation, owner, decided):
                role = "follows"
            decided.append(replace(relation, role=role))
    return decided


def owner_of(name: str, relations: Sequence[Relation]) -> Relation | None:
    """The relation whose parent a table's rows are generated for."""
    return next((one for one in relations if one.child == name and one.role == "owner"), None)


def root_of(name: str, relations: Sequence[Relation]) -> str:
    """The table at the top of a table's family."""
    owner = owner_of(name, relations)
    return name if owner is None else root_of(owner.parent, relations)


def ancestors(relation: Relation, decided: Sequence[Relation]) -> dict[str, Int64]:
    """The tables above a relation's child along owners, with the row of each of the child's rows, nearest
    first."""
    found, index, table = {relation.parent: relation.index}, relation.index, relation.parent
    while (owner := owner_of(table, decided)) is not None:
        index = np.where(index >= 0, owner.index[np.maximum(index, 0)], -1)
        found[owner.parent], table = index, owner.parent
    return found


def _owner(own: list[Relation], decided: list[Relation], key: tuple[str, ...]) -> Relation | None:
    """The first that no other implies. A key that is one relation's columns alone, or that holds some
    relation's, must be met by its owner: rows of one owner can be told apart, those of others can not."""
    implied = [
        a for a in own if any(a is not b and _follows(a, b, decided) and not _mutual(a, b) for b in own)
    ]
    candidates = [one for one in own if one not in implied] or own
    exact = [one for one in candidates if set(one.columns) == set(key)]
    inside = [one for one in candidates if set(one.columns) <= set(key)]
    return next(iter([*exact, *inside, *candidates]), None)


def _follows(relation: Relation, other: Relation, decided: Sequence[Relation]) -> bool:
    """Whether the row that a relation names is always one above the row that the other names."""
    above = ancestors(other, decided)
    return relation.parent in above and np.array_equal(above[relation.parent], relation.index)


def _mutual(a: Relation, b: Relation) -> bool:
    return a.parent == b.parent


def _cycle(waiting: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Along parents from any table that waits, until one comes again."""
    path = [waiting[0]]
    while path.count(path[-1]) < 2:
        path.append(next(p for c, p in edges if c == path[-1] and p in waiting and p != c))
    return path[path.index(path[-1]) :]
