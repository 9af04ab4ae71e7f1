"""Is every synthetic value written as real values are? Reads every row."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.counts import Flagged
from synthmill.metrics.lib.forms import beyond_chance
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class FormKept(TableMetric):
    """Share of values that read as the column's type and have a written form that some real value has.

    Text and identifiers: the pattern of kinds of characters. Numbers: no more decimals than any real one.
    Times: no finer than any real one. Real rows are train, validation and holdout together. A new form may be
    rare rather than wrong: the aspect `beyond_chance` is the share of the worst column among those with more
    new forms than fresh real rows would have, by how many real values are the only ones of their form (Good
    1953).
    """

    name = "schema.form_kept"
    title = "Written form"
    question = "Is every value written as the real ones are?"
    axis = "schema"
    goal = "maximize"
    bounds = (0.0, 1.0)
    profile = "quick"
    advice = (
        "The columns listed with this figure hold values of another type or form than the source: a program"
        " that reads the real data may fail on them. State the column's kind in a schema file, or mend the"
        " step that wrote them."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        forms, read = evidence.real.forms, evidence.totals.forms
        assert read is not None
        # Cells that did not read as the column's type were taken for missing, and so are not counted yet.
        counts = Flagged(
            *(
                {name: count + evidence.unreadable.get(name, 0) for name, count in by_column.items()}
                for by_column in (read.values, read.flagged)
            )
        )
        # A column none of whose real values has a form of its own can still have cells of another type.
        others = {name: bad for name, bad in evidence.unreadable.items() if name not in forms and bad}
        values = sum(counts.values.values()) + sum(others.values())
        if not values:
            return self.not_applicable("no column has a written form to keep")
        strange = sum(counts.flagged.values()) + sum(others.values())
        share = {name: 1 - bad / counts.values[name] for name, bad in counts.flagged.items() if bad}
        certain = [
            1 - counts.flagged[name] / counts.values[name]
            for name, form in forms.items()
            if beyond_chance(name, counts, form, len(forms)) or evidence.unreadable.get(name)
        ] + [1 - bad / evidence.synthetic_rows for bad in others.values()]
        share |= {name: 1 - bad / evidence.synthetic_rows for name, bad in others.items()}
        return self.result(
            value=1 - strange / values,
            ci=wilson(values - strange, values, evidence.confidence),
            # Forms come from all real rows, so these have every one by construction.
            reference=1.0,
            n={"synthetic": evidence.synthetic_rows, "columns": len(forms) + len(others)},
            gate_n=evidence.synthetic_rows,
            method=(
                "every value; forms of train, validation and holdout rows together; Wilson interval over"
                " values; columns beyond chance by an exact test, corrected for their number"
            ),
            aspects={"beyond_chance": Estimate(value=min(certain, default=1.0), reference=1.0)},
            per_column=dict(sorted(share.items())),
        )
