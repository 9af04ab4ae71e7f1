"""What does not fit a cluster is said at once, instead of waiting for ever; keys stay out of what Ray
shows."""

import os
from pathlib import Path

import pytest
import ray
from ray._private import services

from integration.conftest import small_recipe
from synthmill import threads
from synthmill.config import Recipe, parse_model
from synthmill.errors import RecipeError, ResourceError
from synthmill.runtime import autoscaling, cluster
from synthmill.runtime import fit as job
from synthmill.runtime.patience import start_patiently
from synthmill.runtime.prepare import prepare


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
        job.Crew(recipe.training)


def test_a_range_asks_for_its_least_and_takes_what_is_there(local_ray: None, customers: Path) -> None:
    recipe = parse_model(Recipe, small_recipe(customers, workers="2..9"))
    shape = job.Crew(recipe.training).shape
    assert (shape.least, shape.workers, shape.elastic) == (2, 9, True)
    with pytest.raises(
        ResourceError, match=r"^training\.workers: 6 workers need 6 CPUs but the cluster has 4"
    ):
        job.Crew(parse_model(Recipe, small_recipe(customers, workers="6..9")).training)


def test_more_workers_than_rows_to_share_are_refused_before_they_start(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    few = small_recipe(customers, workers="2..9", global_batch_rows=8, max_steps=4)
    prepared = prepare(parse_model(Recipe, few), str(tmp_path))
    with pytest.raises(RecipeError, match=r"training\.workers: 9 workers can't share a batch of 8 groups"):
        job.fit(prepared, prepared.store.run_folder("run"), job.Crew(prepared.recipe.training))


def test_a_platform_that_names_its_machines_says_at_once_what_it_can_grow_to() -> None:
    from ray.core.generated.autoscaler_pb2 import ClusterConfig

    config = ClusterConfig()
    config.node_group_configs.add(resources={"CPU": 4}, max_count=2)
    config.node_group_configs.add(resources={"CPU": 8, "GPU": 1}, max_count=-1)
    for each, workers, expected in (
        ({"CPU": 2}, 1000, True),
        ({"CPU": 16}, 1, False),
        ({"CPU": 4, "GPU": 1}, 50, True),
        ({"GPU": 2}, 1, False),
    ):
        declared = autoscaling.Declared(config)
        declared.heed([each] * workers)
        assert declared.accepts() is expected
    del config.node_group_configs[1]
    declared = autoscaling.Declared(config)
    declared.heed([{"CPU": 2}] * 5)
    assert declared.accepts() is False, "two machines hold four"


def test_the_older_autoscaler_that_starts_nothing_for_long_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not say what is impossible, and a failed start is no refusal."""
    report: dict[str, object] = {"active_nodes": {"head": 1}}
    status = {"time": 0, "autoscaler_report": report, "load_metrics_report": {"request_demand": []}}
    monkeypatch.setattr(autoscaling, "_first_status", lambda: status)
    first = autoscaling.First()
    first.heed([{"CPU": 4}])

    def reports(number: int, **found: object) -> bool | None:
        answer: bool | None = None
        for _ in range(number):
            status["time"] = int(str(status["time"])) + 1
            report.update({"pending_launches": {}, "pending_nodes": [], "failed_nodes": [], **found})
            answer = first.accepts()
        return answer

    assert reports(5) is None, "it has not heard what is asked"
    status["load_metrics_report"] = {"request_demand": [[{"CPU": 4}, 1]]}
    assert reports(2) is None
    assert reports(1, failed_nodes=[["ip", "type"]]) is None
    assert first.coming() == "1 failed"
    assert reports(4, pending_launches={"large": 2}) is None
    assert first.coming() == "2 machines starting"
    assert reports(3) is False


def test_a_start_that_fails_is_tried_again_and_a_mistake_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is left of a failed start is shut down, which here would be the Ray that all tests share.
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    faults: list[Exception] = [TimeoutError("it did not answer"), Exception("timed out during startup")]

    def start() -> None:
        if faults:
            raise faults.pop(0)

    before = services.get_node
    start_patiently(start)
    assert services.get_node is before
    assert capsys.readouterr().out.splitlines() == [
        "Ray did not start (it did not answer): trying again (1 of 2 times)",
        "Ray did not start (timed out during startup): trying again (2 of 2 times)",
    ]
    faults += [ConnectionError("no")] * 3
    with pytest.raises(RuntimeError, match=r"^no$"):
        start_patiently(start)
    faults += [ValueError("num_cpus")] * 2
    with pytest.raises(ValueError, match="num_cpus"):
        start_patiently(start)
    assert len(faults) == 1


def test_keys_are_no_argument_that_ray_shows(
    local_ray: None, customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[job.Work] = []

    def stop(work: job.Work, *_: object) -> None:
        seen.append(work)
        raise KeyboardInterrupt

    prepared = prepare(parse_model(Recipe, small_recipe(customers)), str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show-me")
    monkeypatch.setattr(job, "_alone", stop)
    with pytest.raises(KeyboardInterrupt):
        job.fit(prepared, prepared.store.run_folder("run"), job.Crew(prepared.recipe.training))
    assert "do-not-show-me" not in repr(seen)
    assert ray.get(seen[0].environment)["AWS_SECRET_ACCESS_KEY"] == "do-not-show-me"


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


def test_a_cluster_of_one_command_starts_without_what_nobody_talks_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private import utils
    from ray._private.node import Node

    names = ("start_monitor", "start_api_server", "start_log_monitor")
    before = {name: getattr(Node, name) for name in names}
    assert utils.get_dashboard_dependency_error() is None, "a Ray with its dashboard"
    with cluster._without_helpers(logs=False):
        assert utils.get_dashboard_dependency_error() is not None, "the agent needs no web server"
        node = object.__new__(Node)
        for name in names:
            getattr(node, name)(
                include_dashboard=False, raise_on_failure=False
            ) if "api" in name else getattr(node, name)()
    assert {name: getattr(Node, name) for name in names} == before
    assert utils.get_dashboard_dependency_error() is None
    with cluster._without_helpers(logs=True):
        assert Node.start_log_monitor is before["start_log_monitor"]
    monkeypatch.delattr(Node, "start_monitor")
    with cluster._without_helpers(logs=False):
        assert not hasattr(Node, "start_monitor"), "another Ray, built otherwise"


def test_the_spin_of_threads_is_bounded_but_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    threads.bound_spin()
    assert os.environ["GOMP_SPINCOUNT"] == threads.SPIN_TURNS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    threads.bound_spin()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
