"""Are generated identifiers new? Reads every row."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.counts import Flagged
from synthmill.metrics.lib.identifiers import RealIdentifiers
from synthmill.metrics.lib.intervals import rate_difference, wilson
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

CERTAIN = 0.998
"""Two-sided level at which repeating identifiers are certainly more frequent than in fresh real rows."""


class IdentifierOverlap(TableMetric):
    """Share of generated identifiers that are those of a real row of train, validation or holdout, in the
    worst column.

    Where no real identifier occurs in two rows, every one that is generated again is a fault. Where they
    repeat (a customer's number in a table of orders), fresh real rows have known ones too: the aspect
    `excess` is then only what lies certainly above the share of holdout rows whose identifier train or
    validation have (Newcombe interval, lower end).
    """

    name = "privacy.identifier_overlap"
    title = "Real identifiers"
    question = "Are generated identifiers nobody's?"
    axis = "privacy"
    goal = "minimize"
    target = 0.0
    bounds = (0.0, 1.0)
    profile = "quick"
    advice = (
        "Generated identifiers are real people's or things'. Do not publish these columns; leave them out, or"
        " train with a kind of identifier that makes new ones."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        known, counts = evidence.real.identifiers, evidence.totals.identifiers
        assert counts is not None
        judged = [name for name in known if counts.values[name]]
        if not judged:
            return self.not_applicable("no column holds identifiers")
        share = {name: counts.flagged[name] / counts.values[name] for name in judged}
        excess = {name: _excess(known[name], counts, name) for name in judged}
        # The certain excess first, as a repeating identifier has known values by right.
        worst = max(judged, key=lambda name: (excess[name], share[name]))
        reference = known[worst].reference
        return self.result(
            value=share[worst],
            ci=wilson(counts.flagged[worst], counts.values[worst], evidence.confidence),
            reference=None if reference is None or not reference[1] else reference[0] / reference[1],
            n={"synthetic": counts.values[worst], "real identifiers": len(known[worst].known)},
            gate_n=counts.values[worst],
            method=(
                "every row, by 64-bit hash, against train, validation and holdout; worst column; Wilson"
                " interval; reference: holdout rows whose identifier the other real rows have"
            ),
            aspects={"excess": Estimate(value=excess[worst], reference=0.0)},
            per_column={name: share[name] for name in judged},
            details={"repeating": sorted(name for name in judged if known[name].repeat)},
        )


def _excess(real: RealIdentifiers, counts: Flagged, name: str) -> float:
    """What is certainly more than fresh real rows have."""
    hits, total = counts.flagged[name], counts.values[name]
    if not real.repeat:
        return hits / total
    if real.reference is None or not real.reference[1]:
        # Without a holdout nobody knows how often fresh rows would have a known one.
        return 0.0
    # The lower end: what real rows have by chance must not fail a generator.
    return max(0.0, rate_difference(hits, total, *real.reference, CERTAIN)[0])
