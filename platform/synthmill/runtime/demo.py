"""The first two minutes of a newcomer: a medical table, a generator, a synthetic dataset and an honest
verdict."""

from typing import Any

from synthmill.config import load_recipe
from synthmill.runtime import cluster
from synthmill.runtime.augment import AugmentRequest, augment
from synthmill.runtime.evaluate import EvaluateRequest, evaluate
from synthmill.runtime.progress import say
from synthmill.runtime.train import train

ROWS = 2000


def demo(store: str, run_id: str) -> dict[str, Any]:
    """Train, publish, evaluate; says where model, dataset and report are and how to read the rows."""
    recipe = load_recipe("demo")
    say("1/3 training a generator on scikit-learn's breast cancer table")
    with cluster.session():
        model = train(recipe, store, run_id=run_id)
        say(f"2/3 publishing {ROWS:,} synthetic rows")
        request = AugmentRequest(model=model.ref, dataset=f"{recipe.name}-synthetic", rows=ROWS, seed=7)
        dataset = augment(request, store, run_id=run_id).version
        say("3/3 evaluating them against patients the model never saw")
        evaluation = evaluate(EvaluateRequest(dataset=dataset.ref), store, run_id=run_id)
    local = dataset.folder.local_path or dataset.uri
    say("")
    say(f"model    {model.ref}  {model.uri}")
    say(f"dataset  {dataset.ref}  {dataset.uri}")
    say(f"report   {evaluation.version.ref}  {evaluation.version.uri}/report.html")
    say(f"verdict  {evaluation.verdict}")
    for line in evaluation.findings():
        say(f"         {line}")
    say("")
    say("read it:")
    say("    import pandas as pd")
    say(f'    rows = pd.read_parquet("{local}")')
    return {
        "model": model.ref,
        "dataset": dataset.ref,
        "report": evaluation.version.ref,
        "uri": dataset.uri,
        "rows": dataset.manifest.rows,
        "verdict": evaluation.verdict,
    }
