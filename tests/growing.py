"""A cluster whose head takes no tasks and whose workers start at zero: real raylets on this machine, started
and ended by Ray's own autoscaler."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import ROOT, kill_tree, until

HEAD_ID = "f" * 51 + "00000"
"""Ray's fake provider gives nodes these identifiers, counting up."""
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"


@contextmanager
def growing_cluster(
    worker_types: Mapping[str, tuple[Mapping[str, float], int]], *, version: int = 2
) -> Iterator[str]:
    """The address of a cluster that starts machines of `worker_types` (name -> resources, most of them) by
    itself; `version` of Ray's autoscaler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        # Below the ports that Ray gives its workers.
        port = 20000 + free.getsockname()[1] % 9000
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="synthmill-grow-") as folder:
        config = Path(folder) / "autoscaling.json"
        config.write_text(json.dumps(_config(worker_types, address, version)))
        head = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=0"),
                *("--include-dashboard=false", f"--autoscaling-config={config}"),
            ],
            env={**os.environ, **_environment(version)},
            stdout=(Path(folder) / "head.log").open("w"),
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
        try:
            # Ray gives up on a head whose own node is not there yet, as on a busy machine.
            until(lambda: _has_node(address, port) or head.poll() is not None, what="the head")
            yield address
        finally:
            # Whatever the autoscaler started stands below it.
            kill_tree(head)  # type: ignore[arg-type]


def _config(
    worker_types: Mapping[str, tuple[Mapping[str, float], int]], address: str, version: int
) -> dict[str, Any]:
    types = {
        name: {"resources": dict(resources), "node_config": {}, "min_workers": 0, "max_workers": most}
        for name, (resources, most) in worker_types.items()
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    fake = {"gcs_address": address, "launch_multiple": True, "head_node_id": HEAD_ID}
    return {
        "cluster_name": "growing",
        "max_workers": sum(most for _, most in worker_types.values()),
        "idle_timeout_minutes": 5,
        "provider": {"type": "external", "module": PROVIDER, "use_node_id_as_ip": True, **fake},
        "available_node_types": {"ray.head.default": head, **types},
        "head_node_type": "ray.head.default",
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in ("setup_commands", "head_setup_commands", "worker_setup_commands")},
        **{key: [] for key in ("head_start_ray_commands", "worker_start_ray_commands")},
        **{key: [] for key in ("initialization_commands", "cluster_synced_files", "rsync_exclude")},
        "rsync_filter": [],
        "file_mounts_sync_continuously": False,
        "upscaling_speed": 100.0,
    }


def _environment(version: int) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": str(version - 1),
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_NODE_TYPE_NAME": "ray.head.default",
        "RAY_AUTH_MODE": "disabled",
    }


def _has_node(address: str, port: int) -> bool:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import RpcError

    if not _listens(port):
        return False
    try:
        return bool(GcsClient(address=address).get_all_node_info(timeout=10))
    except RpcError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
