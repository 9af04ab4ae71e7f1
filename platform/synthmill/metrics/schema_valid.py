"""Share of synthetic rows that could be rows of this table, or of these images, at all. Reads every row."""

from scipy import stats

from synthmill.metrics._counts import Rules, TableCounts
from synthmill.metrics._evidence import Evidence
from synthmill.metrics._images import ImageEvidence
from synthmill.metrics._intervals import clopper_pearson
from synthmill.metrics.base import Estimate, Metric, Result

CHANCE = 0.001


class SchemaValid(Metric):
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
    modalities = ("table", "image")
    profile = "quick"
    advice = (
        "Look at the columns listed with this figure: values of a wrong kind come from the codec or from a"
        " later step that changed types."
    )

    def compute(self, evidence: Evidence | ImageEvidence) -> Result:
        return self._of_images(evidence) if isinstance(evidence, ImageEvidence) else self._of_rows(evidence)

    def _of_images(self, evidence: ImageEvidence) -> Result:
        if not evidence.classes:
            return self.missing("not_applicable", "there are no labels")
        found, confidence = evidence.label_rows("synthetic"), evidence.settings.confidence
        rows, bad = found.total, sum(found.unknown.values())
        held = evidence.label_rows("holdout") if "holdout" in evidence.sides else None
        reference = int(held.classes.sum()) / held.total if held else None
        real_rows = len(evidence.sides["train"]) + (held.total if held else 0)
        certain = rows - (bad if _beyond(bad, rows, real_rows) else 0)
        return self.result(
            value=(rows - bad) / rows,
            ci=clopper_pearson(rows - bad, rows, confidence),
            reference=reference,
            n={"synthetic": rows},
            gate_n=rows,
            method="the label of every row; Clopper-Pearson interval",
            aspects={
                "beyond_chance": Estimate(
                    value=certain / rows, ci=clopper_pearson(certain, rows, confidence), reference=reference
                )
            },
            per_column={"label": 1 - bad / rows} if bad else {},
        )

    def _of_rows(self, evidence: Evidence) -> Result:
        counts, rules, confidence = evidence.totals.counts, evidence.real.rules, evidence.settings.confidence
        valid = counts.rows - counts.invalid_rows
        certain = counts.rows - min(
            counts.rows, counts.impossible_rows + sum(beyond_chance(counts, rules).values())
        )
        holdout = evidence.real.holdout_totals
        reference = (
            1 - holdout.counts.invalid_rows / holdout.counts.rows if holdout and holdout.counts.rows else None
        )
        return self.result(
            value=valid / counts.rows,
            ci=clopper_pearson(valid, counts.rows, confidence),
            reference=reference,
            n={"synthetic": counts.rows},
            gate_n=counts.rows,
            method="every row; Clopper-Pearson interval",
            aspects={
                "beyond_chance": Estimate(
                    value=certain / counts.rows,
                    ci=clopper_pearson(certain, counts.rows, confidence),
                    reference=reference,
                )
            },
            per_column={name: 1 - bad / counts.rows for name, bad in sorted(counts.invalid.items())},
        )


def beyond_chance(counts: TableCounts, rules: Rules) -> dict[str, int]:
    """Suspect cells by column, of the columns with more of them than fall to one side by chance: 0 of N real,
    k of M synthetic."""
    return {name: k for name, k in counts.suspect.items() if _beyond(k, counts.rows, rules.real_rows)}


def _beyond(suspect: int, rows: int, real_rows: int) -> bool:
    return bool(stats.hypergeom.sf(suspect - 1, rows + real_rows, rows, suspect) < CHANCE)
