"""What does not fit a cluster is said at once, instead of waiting for ever; keys stay out of what Ray
shows."""

from pathlib import Path

import pytest
import ray
from ray.train import ScalingConfig

from integration.conftest import small_recipe
from synthmill.config import Recipe, parse_model
from synthmill.errors import ResourceError
from synthmill.runtime import cluster
from synthmill.runtime import train as job


def test_workers_fit_machines_whole() -> None:
    machines = [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}, {"memory": 1.0}]
    assert cluster._room(machines, {"CPU": 1}) == 6
    assert cluster._room(machines, {"CPU": 3}) == 1
    assert cluster._room(machines, {"CPU": 2, "GPU": 1}) == 1
    assert cluster._room(machines, {"CPU": 4, "GPU": 1}) == 0


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"workers": 9}, r"training\.workers: 9 workers need 9 CPUs but the cluster has 4; use at most 4$"),
        (
            {"threads": 8},
            r"training\.threads: one worker needs 8 CPUs but the cluster has 4; use at most 4 a worker$",
        ),
        (
            {"workers": 2, "threads": 3},
            r"training\.threads: 2 workers need 6 CPUs but the cluster has 4; use at most 1$",
        ),
        ({"device": "cuda"}, r"training\.device: a GPU is needed but the cluster has 0; choose cpu or auto$"),
    ],
)
def test_what_can_not_be_had_is_refused(
    local_ray: None, customers: Path, training: dict[str, object], message: str
) -> None:
    recipe = parse_model(Recipe, small_recipe(customers, **training))
    with pytest.raises(ResourceError, match=message):
        job._scaling(recipe)


def test_keys_are_no_argument_that_ray_shows(
    local_ray: None, customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, object]] = []

    def stop(work: object, *, train_loop_config: dict[str, object], **_: object) -> None:
        seen.append(train_loop_config)
        raise KeyboardInterrupt

    prepared = job.prepare(parse_model(Recipe, small_recipe(customers)), str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show-me")
    monkeypatch.setattr(job, "TorchTrainer", stop)
    with pytest.raises(KeyboardInterrupt):
        job._fit(prepared, prepared.store.run_folder("run"), ScalingConfig(num_workers=1))
    assert "do-not-show-me" not in repr(seen)
    reference: ray.ObjectRef = seen[0]["env"]
    assert ray.get(reference)["AWS_SECRET_ACCESS_KEY"] == "do-not-show-me"


def test_the_token_of_a_cluster_on_this_machine_is_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    cluster._hide_token()
    token.write_text("t")
    token.chmod(0o644)
    cluster._hide_token()
    assert token.stat().st_mode & 0o777 == 0o600
