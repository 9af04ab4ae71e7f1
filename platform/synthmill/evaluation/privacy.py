"""The privacy section of a report: what was assumed, what was tested, what was not."""

from collections.abc import Mapping

from synthmill.evaluation.report import Privacy
from synthmill.metrics.base import Result, metric_classes

THREAT_MODEL = (
    "The attacker has the published synthetic rows and the exact record of a person, and wants to know"
    " whether that person was in the training data (membership), or to read values off a copied row. The"
    " attacker does not have the generator."
)
ALWAYS_OPEN = (
    "an attacker with the generator's weights (white box), as when the model is downloaded",
    "an attacker who knows many of the training rows and trains models of their own (only the audit profile"
    " tries)",
    "several publications from one source taken together; each evaluation looks at one",
    "groups of rows that belong to one person, unless the split was grouped by that person",
)
DISCLAIMER = (
    "Empirical tests can show a leak; passing them proves nothing more than that these tests found none. Only"
    " differential privacy gives a guarantee. Distance to the closest record (overfit.dcr_share) measures"
    " overfitting and is not a privacy figure."
)


def privacy_section(results: Mapping[str, Result], has_holdout: bool, *, kind: str) -> Privacy:
    """What this evaluation tested, by the results that have a value."""
    # What was not tested is as much a result as what was.
    private = {name: cls for name, cls in metric_classes(kind).items() if cls.axis == "privacy"}
    done = [name for name in private if name in results and results[name].status == "ok"]
    open_ones = []
    if not has_holdout:
        open_ones = ["everything that compares with people the generator never saw: there is no holdout"]
    for name in (name for name in private if name not in done):
        why = (results[name].reason or "no value") if name in results else "not part of this profile"
        open_ones.append(f"{name}: {why}")
    return Privacy(
        threat_model=THREAT_MODEL,
        tested=tuple(done),
        not_tested=(*open_ones, *ALWAYS_OPEN),
        disclaimer=DISCLAIMER,
    )
