"""The same model behind other servers, for serving.py: `serving_apps.py bare|litserve|bentoml STORE MODEL
PORT WORKERS`.

Each draws rows as `synthmill serve` does for a request without a seed and answers the same JSON. `bare` is
the least that FastAPI and uvicorn can be: one process, no keys, no limits, no metrics, no labels, no
batching, the model called in the handler. LitServe and BentoML get as many workers as there are cores, and
their own batching.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from synthmill.catalog.store import Store
from synthmill.generation.generator import Generator
from synthmill.generation.stream import draw

BATCH_REQUESTS = 64
LITSERVE_BATCH_SECONDS = 0.002
BENTOML_LATENCY_MS = 1000


class Rows:
    """A loaded model."""

    def __init__(self, store: str, model: str) -> None:
        torch.set_num_threads(1)
        self.generator = Generator.load(Store(store).resolve("models", model, field="model"))
        self(64)

    def __call__(self, rows: int) -> pa.Table:
        return self.generator.codec.decode(draw(self.generator.model, rows), first_row=0)

    def batch(self, counts: list[int]) -> list[list[dict[str, Any]]]:
        """One call of the model for all requests of a batch."""
        rows = self(sum(counts)).to_pylist()
        starts = [sum(counts[:i]) for i in range(len(counts))]
        return [rows[start : start + count] for start, count in zip(starts, counts, strict=True)]


def bare(store: str, model: str, port: int, workers: int) -> None:
    import uvicorn
    from fastapi import FastAPI, Response
    from pydantic import BaseModel

    class Asked(BaseModel):
        num_rows: int

    app, rows = FastAPI(), Rows(store, model)

    @app.post("/rows")
    async def generate(asked: Asked) -> Response:
        # Faster than leaving it to FastAPI's encoder.
        return Response(json.dumps({"rows": rows(asked.num_rows).to_pylist()}), media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def litserve(store: str, model: str, port: int, workers: int) -> None:
    os.environ |= settings(store, model, workers)
    import serving_litserve

    serving_litserve.serve(port, workers)


def bentoml(store: str, model: str, port: int, workers: int) -> None:
    command = [
        str(Path(sys.executable).parent / "bentoml"),
        "serve",
        "serving_bento:Rows",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    os.execve(command[0], command, {**os.environ, **settings(store, model, workers)})


def settings(store: str, model: str, workers: int) -> dict[str, str]:
    """What the workers of the peers read; they are started by the peers, with our folder on their path."""
    return {
        "BENCHMARK_STORE": store,
        "BENCHMARK_MODEL": model,
        "BENCHMARK_WORKERS": str(workers),
        "BENTOML_DO_NOT_TRACK": "true",
        "PYTHONPATH": f"{Path(__file__).parent}:{os.environ['PYTHONPATH']}",
    }


if __name__ == "__main__":
    name, store, model, port, workers = sys.argv[1:]
    {"bare": bare, "litserve": litserve, "bentoml": bentoml}[name](store, model, int(port), int(workers))
