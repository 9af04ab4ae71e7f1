"""`POST /v1/jobs` on a cluster: the state actor hands its commands to Ray's job server, with token auth."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2e.conftest import Head
from served import publish_customers
from synthmill.catalog.store import Store

pytestmark = pytest.mark.timeout(400)


def test_jobs_run_as_ray_jobs(head: Head, tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish_customers(Store(store))
    driver = Path(__file__).with_name("drive_server_jobs.py")
    run = head.submit("env", "PYTHONPATH=platform", "python", str(driver), str(store))
    assert run.returncode == 0, run.stdout + run.stderr
    seen = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("SEEN "))[5:])
    assert seen["done"]["status"] == "done", seen["done"]
    assert seen["done"]["result"]["dataset"] == "published@1"
    parts = (store / "datasets" / "published" / "1").glob("*.parquet")
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 2000
    assert seen["cancelled"]["status"] == "cancelled"
    assert not list((store / "datasets").glob("endless/*/_manifest.json"))
    assert seen["statuses"] == {"published": "SUCCEEDED", "endless": "STOPPED"}
    # Another server waits for the command that runs already, and starts no second one.
    assert seen["taken_up"] == f"{seen['cancelled']['id']}.1"
    assert len(seen["submissions"]) == 2
    assert seen["secret_arrived"]
    assert not seen["secret_shown"]
