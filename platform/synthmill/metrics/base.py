"""What a metric is: a pure function with a declared axis, goal, bounds, modality and needs; and its result.

A metric is one file in the folder of its kind of data (`table/`, `image/`, or `common/` where several kinds
share it); the file's name is its registry entry, and `Metric.name` is the dotted name that reports and gates
use. What metrics share is in `lib/`. Figures that must read every row are built from `Mergeable`
statistics, so that parts can be read anywhere in any number of processes and give the same result.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar, cast

import pyarrow as pa
from pydantic import Field

from synthmill import registry
from synthmill.config import FrozenModel

if TYPE_CHECKING:
    from synthmill.metrics.lib.view import PartView

Goal = Literal["maximize", "minimize", "target"]
Axis = Literal["schema", "fidelity", "diversity", "utility", "privacy", "overfit"]
Profile = Literal["quick", "standard", "full", "audit"]
"""How thoroughly to look; each includes what the one before it does."""
# From cheap to thorough: a profile includes all before it.
PROFILES: tuple[Profile, ...] = ("quick", "standard", "full", "audit")

KINDS = "evaluation/evidence"
"""The folder whose files are the kinds of data that can be evaluated."""

State = TypeVar("State")
Out = TypeVar("Out")
Evidence = TypeVar("Evidence")
Value = TypeVar("Value")


class MapTasks(Protocol):
    """Runs a picklable function on every item, anywhere; results in the order of the items."""

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any], /) -> list[Any]: ...


class Retrain(Protocol):
    """Trains a fresh generator on `subset` and samples about as many rows from it; picklable, seeded."""

    def __call__(self, subset: pa.Table, seed: int, /) -> pa.Table: ...


def map_serially(function: Callable[[Any], Any], items: Sequence[Any], /) -> list[Any]:
    """The plain loop, where no cluster is given."""
    return [function(item) for item in items]


class Mergeable(ABC, Generic[State, Out]):
    """A statistic of a table that is computed part by part.

    `merge` is associative and parts are merged in row order, so the outcome does not depend on who read which
    part. The size of a state is bounded whatever the number of rows.
    """

    @abstractmethod
    def partial(self, view: "PartView") -> State:
        """The statistic of one part."""

    @abstractmethod
    def merge(self, left: State, right: State) -> State:
        """The statistic of the rows of both."""

    def finish(self, state: State) -> Out:
        """What metrics read: the state itself, unless a statistic says otherwise."""
        return cast(Out, state)


class Once:
    """Base of evidence: what several metrics read of it is computed once, by the first that needs it."""

    def __init__(self) -> None:
        self._outcomes: dict[object, object] = {}

    def once(self, make: Callable[[Self], Value]) -> Value:
        """`make(self)`, a pure function of this evidence."""
        if make not in self._outcomes:
            self._outcomes[make] = make(self)
        return cast(Value, self._outcomes[make])


class Part(Protocol):
    """Some consecutive rows of a table that is too large for memory; can be sent to another process."""

    @property
    def first_row(self) -> int:
        """Global number of its first row."""

    def load(self) -> pa.Table:
        """Its rows, with the columns of the whole table."""


class Estimate(FrozenModel):
    """A number with its uncertainty and the same number on real data."""

    value: float | None = None
    ci: tuple[float, float] | None = None
    """Confidence interval; null where the method gives none (a p-value, a count of everything)."""
    reference: float | None = None
    """The figure of real rows that the generator never saw; null: there are none."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval, by its long name."""
        return self.ci


class Result(Estimate):
    """What one metric measured."""

    metric: str
    axis: Axis
    direction: Goal
    target: float | None = None
    """The ideal value where `direction` is target."""
    bounds: tuple[float | None, float | None] = (None, None)
    status: Literal["ok", "unavailable", "not_applicable"] = "ok"
    """unavailable: this data can't answer. not_applicable: nothing to answer (no target named)."""
    reason: str | None = None
    """Why there is no value, and what to do about it."""
    confidence: float = 0.95
    n: dict[str, int] = Field(default_factory=dict)
    """Rows that entered, by table."""
    gate_n: int = 0
    """The count that a gate's minimum is compared with: usually the smallest table's rows."""
    method: str = ""
    aspects: dict[str, Estimate] = Field(default_factory=dict)
    """Further figures of the same metric (worst decile, each learner) that gates can name."""
    per_column: dict[str, float] = Field(default_factory=dict)
    """The figure by column (`a`) or pair of columns (`a|b`), in the metric's own direction."""
    details: dict[str, Any] = Field(default_factory=dict)


class Metric(ABC, Generic[Evidence]):
    """Base of every metric, by the evidence that it reads. Instances have no state."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What a report calls it."""
    question: ClassVar[str]
    """What it answers, in one sentence for somebody who has never heard of it."""
    axis: ClassVar[Axis]
    goal: ClassVar[Goal]
    target: ClassVar[float | None] = None
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    modalities: ClassVar[tuple[str, ...]] = ("table",)
    needs: ClassVar[tuple[str, ...]] = ()
    """What must be there: holdout, target, constraints, requested, retrain, attacks."""
    on_whole_table: ClassVar[bool] = False
    """Whether it reads all real rows even where the synthetic ones were requested with conditions."""
    profile: ClassVar[Profile | Literal["opt-in"]] = "standard"
    """The cheapest profile that includes it; `opt-in` metrics run only when they are named."""
    advice: ClassVar[str]
    """What to do when a gate on it fails, for the person who trained the generator."""

    @abstractmethod
    def compute(self, evidence: Evidence) -> Result:
        """The figure for this evidence; `needs` are satisfied when it is called."""

    @classmethod
    def result(cls, **fields: Any) -> Result:
        """A `Result` with the class's declarations filled in."""
        return Result(
            metric=cls.name, axis=cls.axis, direction=cls.goal, target=cls.target, bounds=cls.bounds, **fields
        )

    @classmethod
    def unavailable(cls, reason: str, **fields: Any) -> Result:
        """A `Result` without a value: this data can't answer."""
        return cls.result(status="unavailable", reason=reason, **fields)

    @classmethod
    def not_applicable(cls, reason: str, **fields: Any) -> Result:
        """A `Result` without a value: there is nothing to answer."""
        return cls.result(status="not_applicable", reason=reason, **fields)


@cache
def metric_classes(kind: str | None = None) -> dict[str, type[Metric[Any]]]:
    """Every metric of a kind of data (None: of any), by dotted name, in alphabetical order of names."""
    # `common` last and for every kind; what a class says of its kinds decides.
    folders = [f"metrics/{name}" for name in (registry.names(KINDS) if kind is None else [kind])]
    classes = [
        registry.load(folder, file, Metric)
        for folder in (*folders, "metrics/common")
        for file in registry.names(folder)
    ]
    return {
        cls.name: cls
        for cls in sorted(classes, key=lambda cls: cls.name)
        if kind is None or kind in cls.modalities
    }


def in_profile(cls: type[Metric[Any]], profile: Profile) -> bool:
    """Whether a profile includes a metric; each profile includes the cheaper ones."""
    # Opt-in metrics are attacks, which take long: they run only when they are named.
    return cls.profile != "opt-in" and PROFILES.index(cls.profile) <= PROFILES.index(profile)
