"""Which evaluation a dataset needs: that of one table, or that of several."""

from typing import TYPE_CHECKING

from synthmill.catalog.several import is_several
from synthmill.catalog.store import Store
from synthmill.config import StorageConfig
from synthmill.runtime.evaluate import EvaluateRequest, Evaluation, evaluate

if TYPE_CHECKING:
    from synthmill.runtime.evaluate_tables import TablesEvaluation


def evaluate_any(
    request: EvaluateRequest,
    store_uri: str,
    *,
    run_id: str,
    storage: StorageConfig | None = None,
    output: str | None = None,
) -> "Evaluation | TablesEvaluation":
    """As `evaluate`, also of a dataset of several tables."""
    store = Store(store_uri, storage or StorageConfig())
    if is_several(store.resolve("datasets", request.dataset, field="--dataset")):
        from synthmill.runtime.evaluate_tables import evaluate_tables

        return evaluate_tables(request, store_uri, run_id=run_id, storage=storage, output=output)
    return evaluate(request, store_uri, run_id=run_id, storage=storage, output=output)
