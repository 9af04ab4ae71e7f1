"""The BentoML service of serving_apps.py; BentoML wants one that it can import."""

import os
from typing import Any

import bentoml
import serving_apps


@bentoml.service(
    workers=int(os.environ["BENCHMARK_WORKERS"]),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Rows:
    """`POST /rows {"num_rows": [10]}`; a batchable interface takes and returns lists."""

    def __init__(self) -> None:
        self.rows = serving_apps.Rows(os.environ["BENCHMARK_STORE"], os.environ["BENCHMARK_MODEL"])

    @bentoml.api(
        route="/rows",
        batchable=True,
        max_batch_size=serving_apps.BATCH_REQUESTS,
        max_latency_ms=serving_apps.BENTOML_LATENCY_MS,
    )
    def generate(self, num_rows: list[int]) -> list[list[dict[str, Any]]]:
        return self.rows.batch(list(num_rows))
