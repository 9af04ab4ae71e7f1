"""cluster.yaml is checked without a cloud: by Ray's own schema, and for what that schema does not know."""

import copy
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
SECRET = re.compile(r"AKIA[0-9A-Z]{12,}|aws_secret|RAY_AUTH_TOKEN=|BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE)
INSTANCES = {"m7i": "cpu", "c7i": "cpu", "g5": "gpu", "g6": "gpu", "p5": "gpu"}


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def kuberay() -> dict[str, Any]:
    text = (ROOT / "docs" / "clusters.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    return next(block for block in blocks if block.get("kind") == "RayCluster")


def pinned(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def docker_environment(cluster: dict[str, Any]) -> dict[str, str]:
    options = [
        option.removeprefix("--env ")
        for option in cluster["docker"]["run_options"]
        if option.startswith("--env ")
    ]
    return dict(option.split("=", 1) for option in options)


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(cluster))


def test_ray_refuses_a_misspelt_key(cluster: dict[str, Any]) -> None:
    broken = copy.deepcopy(cluster)
    broken["available_node_types"]["gpu"]["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(broken))


def test_the_head_takes_no_tasks_and_workers_are_bounded_spot_nodes(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    head = types.pop(cluster["head_node_type"])
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert {("GPU" in node["resources"]) for node in types.values()} == {True, False}
    for name, node in types.items():
        assert 0 < node["max_workers"] <= cluster["max_workers"], name
        assert node["min_workers"] == 0, name
        assert node["resources"]["CPU"] > 0, name
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}, name


def test_instances_fit_their_resources_and_reach_s3_by_profile(cluster: dict[str, Any]) -> None:
    for name, node in cluster["available_node_types"].items():
        family, _, size = node["node_config"]["InstanceType"].partition(".")
        assert re.fullmatch(r"(\d*x)?large", size), name
        assert (INSTANCES[family] == "gpu") == ("GPU" in node["resources"]), name
        assert node["node_config"]["IamInstanceProfile"]["Name"], name


def test_every_image_is_the_pinned_ray_on_the_python_of_the_constraints(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    images = {
        name: node.get("docker", {}).get("worker_image", cluster["docker"]["image"])
        for name, node in types.items()
    }
    for name, image in images.items():
        kind = "gpu" if "GPU" in types[name]["resources"] else "cpu"
        assert image == f"rayproject/ray:{pinned('ray')}-py311-{kind}", name


def test_the_requirements_of_every_node_come_from_pyproject_under_the_constraints(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = [*project["dependencies"], *project["optional-dependencies"]["tune"]]
    mounts = cluster["file_mounts"]
    commands = [cluster["setup_commands"]]
    commands += [
        node["worker_setup_commands"]
        for node in cluster["available_node_types"].values()
        if "worker_setup_commands" in node
    ]
    for write, install in commands:
        assert (
            f"--constraint {next(path for path, source in mounts.items() if source == 'constraints.txt')} "
            in install
        )
        write = write.replace("/home/ray/synthmill/pyproject.toml", str(ROOT / "pyproject.toml"))
        write = write.replace("/tmp/requirements.txt", str(tmp_path / "requirements.txt")).replace(
            "python ", f"{sys.executable} ", 1
        )
        subprocess.run(["bash", "-c", write], check=True)
        assert (tmp_path / "requirements.txt").read_text().splitlines() == expected
    assert not any(
        "pip" in command
        for command in cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    )


def test_every_process_asks_for_the_token_and_the_dashboard_is_not_open(cluster: dict[str, Any]) -> None:
    environment = docker_environment(cluster)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert cluster["file_mounts"][environment["RAY_AUTH_TOKEN_PATH"]] == "~/.ray/auth_token"
    start = " ".join(cluster["head_start_ray_commands"])
    assert re.findall(r"--dashboard-host=(\S+)", start) == ["127.0.0.1"]


def test_serve_goes_through_haproxy_and_the_region_is_one(cluster: dict[str, Any]) -> None:
    environment = docker_environment(cluster)
    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == cluster["provider"]["region"]


def test_no_secret_stands_in_the_file() -> None:
    assert not SECRET.search((ROOT / "cluster.yaml").read_text())
    assert SECRET.search("--env RAY_AUTH_TOKEN=abc")


def test_the_kubernetes_example_follows_the_same_rules() -> None:
    spec = kuberay()["spec"]
    assert spec["rayVersion"] == pinned("ray")
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    containers = {"head": spec["headGroupSpec"]["template"]["spec"]["containers"][0]}
    containers |= {name: group["template"]["spec"]["containers"][0] for name, group in groups.items()}
    for name, container in containers.items():
        kind = "gpu" if "nvidia.com/gpu" in container["resources"]["limits"] else "cpu"
        assert container["image"].endswith(f":{pinned('ray')}-py311-{kind}"), name
        assert {"name": "RAY_SERVE_ENABLE_HA_PROXY", "value": "1"} in container["env"], name
    assert all(group["minReplicas"] == 0 < group["maxReplicas"] for group in groups.values())
