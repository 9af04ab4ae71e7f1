"""Did the generator produce as many rows as were requested?"""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class RequestedShare(TableMetric):
    """Rows produced / rows requested, after filters and conditions."""

    name = "size.requested_share"
    title = "Rows delivered"
    question = "Did the generator deliver as many rows as were requested?"
    axis = "schema"
    goal = "maximize"
    bounds = (0.0, None)
    needs = ("requested",)
    profile = "quick"
    advice = (
        "Filters or conditions threw rows away. See the acceptance rate in the job's log, relax the condition"
        " or ask for more rows."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        requested, rows = evidence.settings.requested_rows, evidence.synthetic_rows
        assert requested is not None
        return self.result(
            value=rows / requested,
            reference=1.0,
            n={"requested": requested, "synthetic": rows},
            # Judged however few rows there are: a count has no sampling error.
            gate_n=requested,
            method="a count; no sampling error",
        )
