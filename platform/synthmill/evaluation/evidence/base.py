"""What evaluation must know of a kind of data: one file a kind; its name is its registry entry.

A door reads the real side and the synthetic parts into the evidence that this kind's metrics look at, and
says what the report shows of it. `evaluation/evaluate.py` does everything else, for all kinds alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import pyarrow as pa

from synthmill import registry
from synthmill.data.schema import ColumnRule
from synthmill.errors import RecipeError, UserError, did_you_mean
from synthmill.evaluation.gates import Gates
from synthmill.evaluation.tables import Synthetic, Tables
from synthmill.metrics.base import (
    KINDS,
    MapTasks,
    Metric,
    Profile,
    Result,
    Retrain,
    in_profile,
    map_serially,
    metric_classes,
)

if TYPE_CHECKING:
    from synthmill.generation.generator import Generator

Rows = int | Literal["all"] | None
"""Rows a side for figures that can't read everything: a number, all, or what the profile says (None)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What only some kinds of data understand; an option that would be ignored is refused."""

    include: tuple[str, ...] = ()
    """Metrics to compute beside the profile's."""
    secret: tuple[str, ...] = ()
    """Columns that attribute inference tries to learn; () = the target."""
    budget: float | None = None
    """Seconds that figures which retrain the generator may take."""
    extractor: str = "auto"
    """What turns images into features: auto, classifier, random or torchscript:PATH."""
    neighbours: bool = False
    """Show the nearest real images in the report."""

    def given(self) -> list[str]:
        """Names of those that differ from their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


@dataclass(frozen=True, kw_only=True)
class Request:
    """How one evaluation is done."""

    target: str | None
    profile: Profile
    seed: int
    sample_rows: Rows
    gates: Gates
    options: Options = Options()
    map_tasks: MapTasks = map_serially
    requested_rows: int | None = None
    """How many rows were requested of the generator; None: unknown."""
    retrain: Retrain | None = None
    sheets: Mapping[str, bytes] | None = None
    """Further contact sheets (PNG) for the report, by name."""


@dataclass(frozen=True)
class Need:
    """What a metric can need, and the reason to give where it is missing."""

    status: Literal["unavailable", "not_applicable"]
    reason: str
    met: Callable[[Any], bool]
    """Whether the door's evidence has it."""


@dataclass(frozen=True)
class Page:
    """How report.html shows this kind."""

    heading: str
    """Of a report on data without a name."""
    tiles: Mapping[str, tuple[tuple[str, str | None], ...]]
    """Tile -> figures (metric and aspect), the most important first; those without a result are left out."""
    captions: Mapping[str, tuple[str, str]]
    """Image of the report -> heading and text."""
    facts: Callable[[Mapping[str, Any]], list[str]]
    """Short facts for the head of the page, from the report's `inputs`."""


@dataclass(frozen=True)
class Term:
    """One part of what a search for hyper-parameters looks at."""

    metric: str
    worth: Callable[[Result], float | None]
    """Of a figure, from 0 (as independent columns or worse) to 1 (as real rows); of a limit, how far it is
    broken, 0 or less where it holds. None: the figure has no value."""


class Evidence(ABC):
    """One evaluation's evidence. `evidence` is what the metrics of this kind read."""

    gates: ClassVar[str]
    """The gates file that holds unless another is named: in `evaluation/` of the package that the kind comes
    from."""
    options: ClassVar[frozenset[str]]
    """The options that this kind understands."""
    needs: ClassVar[Mapping[str, Need]]
    page: ClassVar[Page]
    objective: ClassVar[Mapping[str, Term]] = {}
    """What the compound objective of a search averages, by name."""
    limits: ClassVar[Mapping[str, Term]] = {}
    """What a search may not break, by name."""
    evidence: Any
    """Typed by each door; the metrics of a kind and its door agree on it."""

    @classmethod
    def gates_file(cls) -> Traversable:
        """The shipped gates file."""
        return resources.files(cls.__module__.partition(".")[0]) / "evaluation" / cls.gates

    @classmethod
    @abstractmethod
    def gather(cls, tables: Tables, request: Request) -> Self:
        """Read the real side and every synthetic part.

        Raises:
            DataError: tables that can't be compared; names the table and the column.
        """

    @classmethod
    def against(cls, tables: Tables, request: Request) -> "Callable[[Synthetic], Evidence]":
        """`gather` for many synthetic sides of one real side."""
        return lambda synthetic: cls.gather(replace(tables, synthetic=synthetic), request)

    @classmethod
    def holds(cls, schema: pa.Schema) -> bool:
        """Whether columns in memory are certainly of this kind; a table is what no other kind claims."""
        return False

    @classmethod
    def from_elsewhere(cls, tables: Tables, *, target: str | None, rules: Mapping[str, ColumnRule]) -> Tables:
        """Data that none of our readers and models made, in the form that `gather` expects.

        Raises:
            DataError: sides that can't be compared; one line that names every column at fault.
        """
        return tables

    @classmethod
    def sheets_of(cls, generator: "Generator", seed: int) -> dict[str, bytes]:
        """What the model itself can show, as contact sheets (PNG) by name."""
        return {}

    @property
    @abstractmethod
    def has_holdout(self) -> bool:
        """Whether there are real rows that the generator never saw."""

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """What was compared, for the report: at least `columns`, and the rows of each side as `train_rows`,
        `validation_rows`, `holdout_rows` and `synthetic_rows`."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What this kind adds to the configuration that the report states."""

    @abstractmethod
    def warnings(self, results: Mapping[str, Result]) -> list[str]:
        """What a reader should know before the figures."""

    def for_metric(self, metric: type[Metric[Any]]) -> Any:
        """The evidence that a metric looks at."""
        return self.evidence

    def plots(self, results: Mapping[str, Result]) -> dict[str, Any]:
        """Numbers that report.html draws."""
        return {}

    def images(self) -> dict[str, bytes]:
        """Images (PNG) of the report, by name."""
        return {}

    def neighbours(self) -> tuple[dict[str, Any], ...]:
        """The synthetic rows nearest to a real one."""
        return ()

    def provenance(self) -> dict[str, Any]:
        """What this kind adds to where things came from."""
        return {}

    @classmethod
    def metrics(cls, kind: str, profile: Profile, include: Sequence[str]) -> list[type[Metric[Any]]]:
        """The profile's metrics of this kind and those that were named."""
        # Only this kind's metrics: one of another kind would ask this evidence for what it lacks.
        known = metric_classes(kind)
        for name in include:
            if name not in known:
                raise RecipeError(f"no metric named {name!r}{did_you_mean(name, known)}", field="include")
        return [metric for name, metric in known.items() if in_profile(metric, profile) or name in include]

    def relevant(self, chosen: list[type[Metric[Any]]]) -> list[type[Metric[Any]]]:
        """Of the chosen metrics those that a report on this evidence names."""
        return chosen

    def unmet(self, metric: type[Metric[Any]]) -> Need | None:
        """The need of a metric that is not met; what does not apply comes before what is lacking."""
        # That there is no target is the answer; that there is no holdout as well would send people the wrong
        # way.
        needs = sorted(
            (self.needs[name] for name in metric.needs), key=lambda need: need.status != "not_applicable"
        )
        return next((need for need in needs if not need.met(self.evidence)), None)


def evidence_door(kind: str, *, field: str = "data.kind") -> type[Evidence]:
    """The door of a kind of data."""
    return registry.load(KINDS, kind, Evidence, field=field)


def refuse_ignored(kind: str, options: Options) -> None:
    """Raises UserError for an option that evaluations of this kind would not read."""
    understood = evidence_door(kind).options
    # A secret column that is silently ignored would look tested.
    for name in options.given():
        if name not in understood:
            takers = [other for other in registry.names(KINDS) if name in evidence_door(other).options]
            raise UserError(
                f"is not read for data of kind {kind!r}, only for {', '.join(takers)}; leave it out",
                field=f"--{name}",
            )
