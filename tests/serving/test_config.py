import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray import cloudpickle
from ray.serve.schema import ServeDeploySchema

from processes import ROOT
from synthmill.config import parse_model
from synthmill.errors import RecipeError
from synthmill.serving.app import autoscaling, build
from synthmill.serving.config import Limits, Scaling, ServeArgs

CONFIG = yaml.safe_load((ROOT / "serve" / "config.yaml").read_text())


def test_the_config_is_one_that_ray_serve_accepts():
    schema = ServeDeploySchema.model_validate(CONFIG)
    (application,) = schema.applications
    assert application.import_path == "synthmill.serving.app:build"
    parse_model(ServeArgs, application.args)


def test_the_kubernetes_service_has_the_same_config():
    service = yaml.safe_load((ROOT / "deploy" / "kuberay.yaml").read_text())
    served = yaml.safe_load(service["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(served)
    assert served["applications"][0]["args"].pop("store").startswith("s3://")
    expected = yaml.safe_load((ROOT / "serve" / "config.yaml").read_text())
    del expected["applications"][0]["args"]["store"]
    assert served == expected


def test_the_kubernetes_service_starts_ray_with_haproxy_everywhere():
    cluster = yaml.safe_load((ROOT / "deploy" / "kuberay.yaml").read_text())["spec"]["rayClusterConfig"]
    import ray

    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    for container in containers:
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        assert env["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert env["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "60"
        assert env["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "300"
        assert "synthmill.serving.haproxy" in container["args"][0]
    assert len({container["image"] for container in containers}) == 1


def test_arguments_come_as_text_from_serve_run():
    args = ServeArgs.model_validate(
        {"store": "s3://b/p", "models": "adult@1, digits", "max_loaded_models": "2", "insecure_local": "true"}
    )
    assert args.models == ("adult@1", "digits")
    assert args.max_loaded_models == 2
    assert args.insecure_local is True
    assert args.keys_location == ("s3://b/p", "serve-keys.json")


def test_folders_are_made_absolute_before_they_travel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    args = ServeArgs(store="store", models="a", keys="keys/k.json")
    assert args.store == str(tmp_path / "store")
    assert args.keys_location == (str(tmp_path / "keys"), "k.json")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "models: is required"),
        ({"models": None}, "models: input should be a valid tuple, got null"),
        ({"models": ""}, "models: .*is not NAME or NAME@N"),
        ({"models": "a,../b"}, "models: .*'../b' is not NAME"),
        ({"models": "a", "storee": "x"}, "storee: unknown key; did you mean 'store'"),
        ({"models": "a", "limits": {"max_rows": 0}}, "limits.max_rows: "),
        ({"models": "a", "scaling": {"min_replicas": 3, "max_replicas": 2}}, "max_replicas"),
        ({"models": "a", "scaling": {"look_back_s": 1, "report_s": 2}}, "look_back_s"),
    ],
)
def test_wrong_arguments_name_the_key(given: dict[str, object], message: str):
    with pytest.raises(RecipeError, match=message):
        parse_model(ServeArgs, given)


def test_the_builder_is_typed_so_that_ray_serve_validates_arguments():
    assert build.__annotations__["args"] is ServeArgs


def test_the_autoscaling_policy_travels_without_this_package():
    policy = autoscaling(Scaling(target_queued_rows=100)).policy
    code = "import sys; from ray import cloudpickle as c; print(c.loads(bytes.fromhex(sys.argv[1]))(target_rows=100).target_rows)"
    shown = subprocess.run(
        [sys.executable, "-c", code, policy.get_serialized_policy_def().hex()],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin"},
        timeout=120,
    )
    assert shown.stdout.strip() == "100", shown.stderr
    assert cloudpickle.loads(policy.get_serialized_policy_def()).__name__ == "QueuedRows"
    assert policy.policy_kwargs == {"target_rows": 100, "target_requests": 32.0}


def test_every_setting_is_documented_with_its_default():
    page = (ROOT / "docs" / "serving.md").read_text()
    stated = dict(re.findall(r"^\| `([\w.]+)` \| (?:`([^`]*)`|required) \|", page, re.MULTILINE))
    groups = {"": ServeArgs, "limits.": Limits, "scaling.": Scaling}
    fields = {
        f"{prefix}{name}": field
        for prefix, model in groups.items()
        for name, field in model.model_fields.items()
    }
    for group in ("limits", "scaling", "storage"):
        del fields[group]
    assert set(stated) == set(fields)
    for name, field in fields.items():
        default = (
            ""
            if field.is_required()
            else field.default
            if isinstance(field.default, str)
            else json.dumps(field.default)
        )
        assert stated[name] == default, name
