"""How many rows of tables that belong together are generated, from which seed and in which stretches."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from synthmill.config import FrozenModel
from synthmill.data.relations.spec import FamiliesSpec
from synthmill.errors import UserError

MOST_STRETCH_ROWS = 65_536


@dataclass(frozen=True)
class Stretch:
    """A unit of work: the rows `first .. stop` of a table without an owner, and their families."""

    number: int
    """Over all tables."""
    root: str
    index: int
    """Among those of its table."""
    first: int
    stop: int


class FamilyPlan(FrozenModel):
    """How many rows, from which seed, in which stretches: what determines every byte beside the models."""

    seed: int
    roots: dict[str, int]
    """Rows of the tables without an owner."""
    free: dict[str, int] = Field({})
    """Rows of other tables that name no owner."""
    sizes: dict[str, int]
    """Rows of a stretch, by table without an owner."""

    def stretches(self) -> list[Stretch]:
        """All of them, in the order of their tables."""
        found: list[Stretch] = []
        for root, rows in self.roots.items():
            size = self.sizes[root]
            for index, first in enumerate(range(0, rows, size)):
                found.append(Stretch(len(found), root, index, first, min(first + size, rows)))
        return found

    def share(self, total: int, stretch: Stretch) -> tuple[int, int]:
        """The part of `total` things that falls to a stretch."""
        rows = self.roots[stretch.root]
        return total * stretch.first // rows, total * stretch.stop // rows


def plan_families(
    spec: FamiliesSpec,
    *,
    scale: float,
    rows: Mapping[str, int],
    seed: int,
    stretch_rows: int = MOST_STRETCH_ROWS,
) -> FamilyPlan:
    """As many rows of tables without an owner as the source has, times `scale`, or as `rows` says by table.

    Raises:
        UserError: no rows, a table that has an owner, or none of that name.
    """
    if not scale > 0 or scale > 1e6:
        raise UserError(f"must be above 0 and at most a million, got {scale}", field="scale")
    for name, wanted in rows.items():
        if name not in spec.roots:
            raise UserError(
                f"{name!r} is no table whose rows can be asked for; there is: {', '.join(spec.roots)}",
                field="rows",
            )
        if wanted < 1:
            raise UserError(f"must be at least 1, got {wanted}", field="rows")
    roots, free, sizes = {}, {}, {}
    for root in spec.roots:
        source = spec.table(root).rows
        roots[root] = rows.get(root, max(1, round(source * scale)))
        largest = max(table.rows for table in spec.family(root))
        sizes[root] = max(1, min(stretch_rows, stretch_rows * source // max(1, largest)))
        for table in spec.family(root):
            if table.free_rows:
                free[table.name] = round(table.free_rows * roots[root] / source)
    return FamilyPlan(seed=seed, roots=roots, free=free, sizes=sizes)
