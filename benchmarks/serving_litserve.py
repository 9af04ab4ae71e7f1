"""The LitServe API of serving_apps.py; its workers are spawned and import it."""

import os
from typing import Any

import litserve
import serving_apps


class Api(litserve.LitAPI):
    """`POST /rows {"num_rows": 10}`."""

    def setup(self, device: str) -> None:
        self.rows = serving_apps.Rows(os.environ["BENCHMARK_STORE"], os.environ["BENCHMARK_MODEL"])

    def decode_request(self, request: dict[str, int]) -> int:
        return request["num_rows"]

    def batch(self, inputs: list[int]) -> list[int]:
        return inputs

    def predict(self, counts: list[int]) -> list[list[dict[str, Any]]]:
        return self.rows.batch(counts)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"rows": output}


def serve(port: int, workers: int) -> None:
    api = Api(
        max_batch_size=serving_apps.BATCH_REQUESTS,
        batch_timeout=serving_apps.LITSERVE_BATCH_SECONDS,
        api_path="/rows",
    )
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
