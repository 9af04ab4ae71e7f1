"""Share of what was generated that could belong to this data at all. Reads everything."""

from typing import ClassVar, Protocol

from synthmill.metrics.base import Estimate, Metric, Result
from synthmill.metrics.lib.intervals import clopper_pearson
from synthmill.metrics.lib.validity import Validity


class JudgesValidity(Protocol):
    """Evidence of any kind of data in which something can be invalid."""

    def validity(self) -> Validity | str:
        """What is invalid, or why there is nothing to check."""

    @property
    def confidence(self) -> float:
        """Two-sided level of intervals."""


class SchemaValid(Metric[JudgesValidity]):
    """1 - rows with an impossible cell / rows.

    Impossible: infinite, a fraction in a whole-number column, a level outside declared ones. Suspect, and
    counted too: missing where no real row misses, a new level where every level has at least 5 real rows.
    What is suspect may be rare rather than impossible: the aspect `beyond_chance` leaves out a column whose
    suspect cells could all have fallen to the synthetic side by chance (hypergeometric p of at least 0.001).
    Column names and types are checked before. Of images it is the label that is suspect: one that no training
    image has. Such images enter no other figure.
    """

    name = "schema.valid_share"
    title = "Valid rows"
    question = "Could every row be a row of this table?"
    axis = "schema"
    goal = "maximize"
    bounds = (0.0, 1.0)
    modalities: ClassVar[tuple[str, ...]] = ("table", "image")
    profile = "quick"
    advice = (
        "Look at the columns listed with this figure: values of a wrong kind come from the codec or from a"
        " later step that changed types."
    )

    def compute(self, evidence: JudgesValidity) -> Result:
        checked = evidence.validity()
        if isinstance(checked, str):
            return self.not_applicable(checked)
        rows, confidence = checked.rows, evidence.confidence
        valid, certain = rows - checked.invalid, rows - checked.beyond_chance
        # What gates judge: a rare value that fell to the synthetic side is no fault.
        beyond_chance = Estimate(
            value=certain / rows,
            ci=clopper_pearson(certain, rows, confidence),
            reference=checked.reference,
        )
        return self.result(
            value=valid / rows,
            ci=clopper_pearson(valid, rows, confidence),
            reference=checked.reference,
            n={"synthetic": rows},
            gate_n=rows,
            method=f"{checked.read}; Clopper-Pearson interval",
            aspects={"beyond_chance": beyond_chance},
            per_column={name: 1 - bad / rows for name, bad in sorted(checked.cells.items())},
        )
