"""How many rows of tables that belong together are generated, from which seed and in which stretches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import Field

from synthmill.config import FrozenModel
from synthmill.data.relations.spec import FamiliesSpec
from synthmill.errors import ConditionError, UserError
from synthmill.generation.clauses import Given, where_texts
from synthmill.generation.condition import Where

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


def _is_empty(value: object) -> bool:
    # A plan without conditions keeps the fingerprint that it had before there were any.
    return not value


class FamilyPlan(FrozenModel):
    """How many rows, from which seed, in which stretches: what determines every byte beside the models."""

    seed: int
    roots: dict[str, int]
    """Rows of the tables without an owner."""
    free: dict[str, int] = Field({})
    """Rows of other tables that name no owner."""
    sizes: dict[str, int]
    """Rows of a stretch, by table without an owner."""
    where: dict[str, tuple[str, ...]] = Field({}, exclude_if=_is_empty)
    """Conditions on rows of tables without an owner, as one table's are written."""

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
    where: Given | Iterable[Given] = (),
) -> FamilyPlan:
    """As many rows of tables without an owner as the source has, times `scale`, or as `rows` says by table;
    all of them meet `where`, whose columns are written `table.column`.

    Raises:
        UserError: no rows, a table that has an owner, or none of that name. ConditionError: a condition on
        another table.
    """
    conditions = _by_root(spec, where)
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
            # Rows without an owner are in no family, and so in none that is asked for.
            if table.free_rows and root not in conditions:
                free[table.name] = round(table.free_rows * roots[root] / source)
    return FamilyPlan(seed=seed, roots=roots, free=free, sizes=sizes, where=conditions)


def _by_root(spec: FamiliesSpec, where: Given | Iterable[Given]) -> dict[str, tuple[str, ...]]:
    """Conditions by table, about its own columns."""
    found: dict[str, list[str]] = {}
    for clause in Where.parse(where_texts(where)).clauses:
        # The longest name: a table may be called `a`, and another `a.b`.
        named = [one.name for one in spec.tables if clause.column.startswith(f"{one.name}.")]
        table = max(named, key=len, default=None)
        roots = ", ".join(spec.roots)
        if table is None:
            raise ConditionError(
                f"{clause}: say of which table, as {spec.roots[0]}.COLUMN{clause.op}...; conditions can be"
                f" put on {roots}",
                field="--where",
            )
        if table not in spec.roots:
            raise ConditionError(
                f"{clause}: rows of {table!r} follow those of {spec.root_of(table)!r}; conditions can be put"
                f" on {roots}",
                field="--where",
            )
        own = replace(clause, column=clause.column.removeprefix(f"{table}."))
        found.setdefault(table, []).append(str(own))
    return {table: tuple(texts) for table, texts in found.items()}
