"""Searches on Ray: a winner is published with where it came from, failures are recorded, processes are
reused without a trace of one trial in the next."""

import json
import os
import random
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pacsv
import pytest
import ray
import torch

import synthmill
from integration.conftest import small_recipe
from jobs import command
from processes import ROOT
from synthmill import api
from synthmill.catalog.admin import gc
from synthmill.catalog.store import Store, Version
from synthmill.config import Recipe, dump, parse_model
from synthmill.errors import TrainingError
from synthmill.models.tvae import Tvae
from synthmill.runtime import tune as tuning
from synthmill.runtime.trial import LEAST_ROWS, Shared, reset_process, shortened, take_look
from synthmill.runtime.tune_setup import dry_run, set_up
from synthmill.storage.folder import Folder
from synthmill.tuning.journal import read_events, replay
from synthmill.tuning.record import Record
from synthmill.tuning.search import Proposal

TINY = {
    "max_trials": 3,
    "sample_rows": 300,
    "confirm_seeds": 2,
    "objective": "tabular.pair_gap",
    "constraints": "none",
    "portfolio": False,
}


def tiny(source: Path, **tune: object) -> dict[str, Any]:
    return {**small_recipe(source, max_steps=18), "tune": {**TINY, **tune}}


def record_of(tuned: tuning.Tuned, store: Path) -> Record:
    return replay(read_events(Store(str(store)).root.child("tunes", *tuned.search.split("/"))))


@pytest.fixture(scope="module")
def searched(
    local_ray: None, customers: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuning.Tuned, Path]:
    store = tmp_path_factory.mktemp("tuned")
    return synthmill.tune(tiny(customers), store=str(store)), store


def test_the_winner_is_a_version_that_says_where_it_came_from(
    searched: tuple[tuning.Tuned, Path],
) -> None:
    tuned, store = searched
    record = record_of(tuned, store)
    assert isinstance(tuned.version, Version)
    said = tuned.version.manifest.details["tune"]
    assert (said["search"], said["trial"]) == (tuned.search, tuned.number)
    assert said["why"]
    assert len(record.searched) == 3
    assert record.trials[0].origin == "default"
    assert record.finished is not None
    rows = synthmill.load(tuned.version.ref, store=str(store)).sample(50, seed=1)
    assert rows.num_rows == 50


def test_the_published_weights_are_those_of_an_ordinary_training(
    searched: tuple[tuning.Tuned, Path], tmp_path: Path
) -> None:
    tuned, _ = searched
    recipe = json.loads(tuned.version.folder.read_bytes("config.json"))["recipe"]
    assert recipe["tune"] == {}
    again = api.train(recipe, store=str(tmp_path))
    digests = [
        {entry.path: entry.sha256 for entry in version.manifest.files}["weights.safetensors"]
        for version in (tuned.version, again)
    ]
    assert digests[0] == digests[1]


def test_the_report_shows_every_trial_and_marks_the_default(searched: tuple[tuning.Tuned, Path]) -> None:
    tuned, store = searched
    page = (Folder(tuned.report.rpartition("/")[0]).read_bytes("report.html")).decode()
    assert page.count("<svg") >= 2
    assert "0 (default)" in page
    assert "<script" not in page
    assert "Repeats with fresh seeds" in page
    assert not list(store.rglob("*.pkl"))
    assert not list(store.glob("tunes/*/*/trials/*/checkpoints"))


def test_the_same_search_again_does_nothing_and_more_trials_go_on(
    searched: tuple[tuning.Tuned, Path], customers: Path
) -> None:
    tuned, store = searched
    before = len(record_of(tuned, store).trials)
    again = synthmill.tune(tiny(customers), store=str(store))
    assert again.version.ref == tuned.version.ref
    assert len(record_of(again, store).trials) == before
    more = synthmill.tune(tiny(customers, max_trials=4), store=str(store))
    assert more.search == tuned.search
    assert len(record_of(more, store).searched) == 4


def test_rows_in_memory_are_searched_and_the_same_call_finds_its_search(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    frame = pacsv.read_csv(customers)
    recipe = tiny(customers, max_trials=1, confirm_share=0)
    settings = {key: recipe[key] for key in ("training", "tune")}
    model = {f"model.config.{key}": value for key, value in recipe["model"]["config"].items()}
    arguments = {"target": "churned", "model": "tvae", "store": str(tmp_path), "overrides": settings | model}
    tuned = synthmill.tune(frame, **arguments)
    assert tuned.version is not None
    assert tuned.version.ref == "model@1"
    assert re.fullmatch(r"<Tuned model@1: trial 0 of 1, score .*report\.html>", repr(tuned))
    again = synthmill.tune(pacsv.read_csv(customers), **arguments)
    assert again.search == tuned.search
    assert len(list(tmp_path.glob("sources/*"))) == 1
    assert gc(Store(str(tmp_path)), timedelta(0)) == []


def test_a_search_whose_every_configuration_copies_publishes_nothing(
    local_ray: None, customers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit is broken for real: a model in closed form that returns training rows."""
    recipe = tiny(
        customers, models=["bootstrap", "marginals"], constraints="privacy", max_trials=1, confirm_share=0
    )
    recipe["model"] = {"name": "bootstrap"}
    with pytest.raises(TrainingError, match="every finished configuration breaks a limit") as caught:
        synthmill.tune(recipe, store=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert Store(str(tmp_path)).names("models") == []
    [page] = tmp_path.glob("tunes/*/*/report.html")
    assert "broken" in page.read_text()


def test_each_look_has_curves_of_its_own_for_tensorboard(searched: tuple[tuning.Tuned, Path]) -> None:
    tuned, store = searched
    looks = {
        trial.number: [round(1000 * score.share) for score in trial.scores]
        for trial in record_of(tuned, store).searched
    }
    folder = store / "tunes" / tuned.search / "trials"
    for number, shares in looks.items():
        found = sorted(folder.glob(f"{number:05d}/looks/*/tensorboard/events*"))
        assert [int(path.parts[-3]) for path in found] == shares
        assert all(b"quality/score" in path.read_bytes() for path in found)


def test_trials_that_diverge_raise_or_run_out_of_memory_are_recorded(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    recipe = tiny(
        customers,
        space={
            # Wider than any memory; a rate at which weights are no numbers at once; and what works.
            "embedding_dim": [8, 2**44],
            "learning_rate": [1e-3, 1e30],
            "l2scale": None,
            "loss_factor": None,
            "training.global_batch_rows": None,
        },
        max_trials=5,
        sampler="random",
        confirm_share=0,
        fidelity="none",
    )
    tuned = synthmill.tune(recipe, store=str(tmp_path))
    record = record_of(tuned, tmp_path)
    reasons = [trial.reason for trial in record.searched if trial.state == "failed"]
    assert reasons
    assert all(reason for reason in reasons)
    assert any("out of memory" in reason or "became" in reason for reason in reasons)
    assert tuned.version is not None


def test_two_families_and_two_objectives_in_one_search(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    recipe = tiny(
        customers,
        models=["tvae", "ctgan"],
        objective=["tabular.pair_gap", "diversity.coverage"],
        space={"ctgan.generator_dim": [[32]], "ctgan.discriminator_dim": [[32]]},
        portfolio=True,
        max_trials=3,
        confirm_share=0,
        fidelity="none",
    )
    tuned = synthmill.tune(recipe, store=str(tmp_path))
    record = record_of(tuned, tmp_path)
    assert {trial.point["model"] for trial in record.searched} == {"tvae", "ctgan"}
    assert all(len(trial.whole.values) == 2 for trial in record.searched if trial.whole)
    page = (Folder(tuned.report.rpartition("/")[0]).read_bytes("report.html")).decode()
    assert "Pareto front" in page


def test_auto_searches_what_it_chooses_from_and_begins_with_what_it_would_choose(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    recipe = tiny(customers, max_trials=2, confirm_share=0, fidelity="none")
    recipe["model"] = {"name": "auto"}
    tuned = synthmill.tune(recipe, store=str(tmp_path))
    record = record_of(tuned, tmp_path)
    assert record.trials[0].point["model"] == "autoregressive", "840 training rows"
    assert set(record.settings["recipe"]["tune"]["models"]) == {"autoregressive", "forest"}
    assert tuned.version is not None
    assert "choice" not in tuned.version.manifest.details
    assert tuned.version.manifest.details["model"] in ("autoregressive", "forest")


def test_a_search_where_nothing_works_says_why(local_ray: None, customers: Path, tmp_path: Path) -> None:
    recipe = tiny(customers, max_trials=1, confirm_share=0, space={"l2scale": [1e-5, 1e-4]})
    recipe["model"] = {"name": "tvae", "config": {"learning_rate": 1e30}}
    with pytest.raises(TrainingError, match=r"no trial was finished: .*became"):
        synthmill.tune(recipe, store=str(tmp_path))


def test_images_are_searched_through_the_same_hook(local_ray: None, tmp_path: Path) -> None:
    recipe = {
        "name": "digits",
        "data": {"source": "sklearn://digits", "target": "label"},
        "model": {"name": "vae", "config": {"latent_dim": 4, "channels": 8, "hidden_dim": 32}},
        "training": {"max_steps": 20, "global_batch_rows": 64, "threads": 1},
        "tune": {"max_trials": 2, "sample_rows": 200, "confirm_share": 0, "fidelity": "none"},
    }
    tuned = synthmill.tune(recipe, store=str(tmp_path))
    figures = record_of(tuned, tmp_path).trials[0].whole.figures
    assert set(figures) <= {"coverage", "classes", "utility"}
    assert "coverage" in figures


def actors_of_trials() -> set[str]:
    """Ray's ids of all processes that ran trials so far."""
    return {
        key for key, actor in ray._private.state.actors().items() if "ImplicitFunc" in actor["ActorClassName"]
    }


def test_fewer_rows_are_a_cheaper_first_look_in_one_process(
    local_ray: None, customers: Path, tmp_path: Path
) -> None:
    before = actors_of_trials()
    recipe = tiny(customers, fidelity="rows", max_trials=4, confirm_share=0, concurrency=1)
    # There is nothing yet that trials could go on from, whatever the recipe says of trainings.
    recipe["training"]["resume"] = "always"
    tuned = synthmill.tune(recipe, store=str(tmp_path))
    record = record_of(tuned, tmp_path)
    shares = [[score.share for score in trial.scores] for trial in record.searched]
    assert shares[0] == [1.0]
    assert all(some == [1 / 9, 1 / 3, 1.0][: len(some)] for some in shares[1:])
    assert tuned.version is not None
    # A new process costs seconds: all trials have been in the first one's.
    assert len(actors_of_trials() - before) == 1


def test_a_look_with_fewer_rows_reads_them_from_everywhere(customers: Path, tmp_path: Path) -> None:
    setup = set_up(parse_model(Recipe, tiny(customers, fidelity="rows")), str(tmp_path))
    train, codec = setup.prepared.rows.tables.train, setup.prepared.rows.codec
    whole = setup.recipe
    early, rows = shortened(whole, train, codec, 1 / 9)
    assert (rows.num_rows, early.training.max_steps) == (LEAST_ROWS, 2)
    most, more = shortened(whole, train, codec, 0.9)
    assert (more.num_rows, most.training.max_steps) == (round(0.9 * train.num_rows), 16)
    ends = [train["customer"][0].as_py(), train["customer"][-1].as_py()]
    assert [rows["customer"][0].as_py(), rows["customer"][-1].as_py()] == ends
    assert shortened(whole, train, codec, 1.0) == (whole, train)


def test_time_that_ends_ends_a_search_with_a_model(local_ray: None, customers: Path, tmp_path: Path) -> None:
    recipe = tiny(customers, budget_seconds=8, max_trials=None, concurrency=1)
    tuned = synthmill.tune(recipe, store=str(tmp_path))
    record = record_of(tuned, tmp_path)
    assert record.finished is not None
    assert tuned.version is not None
    assert {trial.state for trial in record.trials.values()} <= {"complete", "stopped"}
    # Everything that began has ended: nothing is left to the next command.
    assert record.seconds >= max(trial.ended for trial in record.trials.values())


SHARES = """
import json, os, sys
import ray
from synthmill.config import TrainingConfig, TuneConfig
from synthmill.errors import ResourceError
from synthmill.runtime.tune_ray import places, resources_of
ray.init(address="local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
for tune, training in json.loads(sys.argv[1]):
    tune, training = TuneConfig(**tune), TrainingConfig(**training)
    asked = resources_of(tune, training)
    try:
        print(json.dumps([asked, places(tune, training, asked)]))
    except ResourceError as fault:
        print(json.dumps([asked, str(fault)]))
"""


def test_as_many_trials_at_once_as_cpus_and_shares_of_gpus_hold() -> None:
    """Four CPUs and a GPU, as Ray is told; nothing computes on it."""
    cases = {
        "nothing stated": (({}, {}), [{"CPU": 1.0, "GPU": 1.0}, 1]),
        "half a GPU": (({"gpus": 0.5}, {}), [{"CPU": 1.0, "GPU": 0.5}, 2]),
        "a tenth, and CPUs end first": (({"gpus": 0.1}, {}), [{"CPU": 1.0, "GPU": 0.1}, 4]),
        "a tenth thrice": (({"gpus": 0.3}, {}), [{"CPU": 1.0, "GPU": 0.3}, 3]),
        "no GPU": (({}, {"device": "cpu"}), [{"CPU": 1.0}, 4]),
        "none asked for": (({"gpus": 0}, {"threads": 2}), [{"CPU": 2.0}, 2]),
        "two processes": (({"gpus": 0}, {"workers": 2}), [{"CPU": 1.0}, 2]),
        "three processes": (({}, {"workers": 3}), [{"CPU": 1.0}, 1]),
        "at most one": (({"gpus": 0, "concurrency": 1}, {"workers": 2}), [{"CPU": 1.0}, 1]),
        "two GPUs": (
            ({"gpus": 2}, {}),
            [
                {"CPU": 1.0, "GPU": 2.0},
                "tune.gpus: one worker needs 2 GPUs but the cluster has 1; use at most 1 a worker",
            ],
        ),
        "five processes": (
            ({}, {"workers": 5}),
            [{"CPU": 1.0}, "training.workers: 5 workers need 5 CPUs but the cluster has 4; use at most 4"],
        ),
        "two processes on GPUs": (
            ({}, {"workers": 2, "device": "cuda"}),
            [
                {"CPU": 1.0, "GPU": 1.0},
                "training.device: 2 workers need 2 GPUs but the cluster has 1; use at most 1",
            ],
        ),
    }
    asked = json.dumps([given for given, _ in cases.values()])
    done = subprocess.run(
        [sys.executable, "-c", SHARES, asked],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert dict(zip(cases, found, strict=True)) == {name: answer for name, (_, answer) in cases.items()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tune.budget_seconds=0.001",), r"tune\.budget_seconds: 0\.001 s hold no trial: .* give more, or"),
        (("tune.objective=utility.tstr_rato",), r"tune\.objective: no metric .* 'utility\.tstr_ratio'"),
        (
            ("tune.objective=utility.tstr_ratio", "data.target=null"),
            r"tune\.objective: utility\.tstr_ratio needs a target column; set data\.target",
        ),
        (("tune.models=[tvae, vae]",), r"tune\.models: names models of different kinds"),
        (("tune.models=[tvae, ctgam]",), r"tune\.models: no model named 'ctgam'; did you mean 'ctgan'"),
        (("tune.space.learning_rat=1",), r"tune\.space\.learning_rat: no field .* 'learning_rate'"),
        (("tune.space.learning_rate={low: -1, high: 1}",), r"tune\.space\.learning_rate: .*greater than 0"),
        (("model.name=marginals", "model.config={}"), r"tune\.space: is empty: marginals declares nothing"),
        (("tune.gpus=0.5", "training.device=cpu"), r"tune\.gpus: is 0\.5 but training\.device is cpu"),
        (("tune.gpus=1.5",), r"tune\.gpus: is 1\.5; above 1 Ray gives whole GPUs only"),
        (("tune.gpus=0.5", "training.workers=2"), r"tune\.gpus: .* use 1 or training\.workers=1"),
        (("training.workers=9",), r"training\.workers: 9 workers need 9 CPUs .* use at most 4"),
        (("training.workers=4", "training.global_batch_rows=3"), r"training\.workers: 4 workers can't share"),
        (("data.split={validation: 0, holdout: 0.2}",), r"data\.split\.validation: is 0"),
    ],
)
def test_mistakes_are_one_line_before_a_trial_begins(
    local_ray: None,
    customers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    """As somebody reads them who typed the command."""
    recipe, store = tmp_path / "recipe.yaml", tmp_path / "store"
    recipe.write_text(json.dumps(tiny(customers)))
    sets = [word for setting in words for word in ("--set", setting)]
    code, closing, errors = command(capsys, "tune", str(recipe), *sets, "--store", str(store))
    assert (code, closing["status"]) == (2, "failed")
    [line] = errors.strip().splitlines()
    assert re.search(said, line)
    assert not list(store.glob("tunes/*/*/events/*"))


def test_a_dry_run_shows_the_space_and_what_the_budget_holds(customers: Path, tmp_path: Path) -> None:
    lines = dry_run(parse_model(Recipe, tiny(customers)), str(tmp_path), at_once=2)
    assert any("tvae.learning_rate: 0.0002 to 0.003, log (default 0.001)" in line for line in lines)
    assert any("the budget holds about 3 trials" in line for line in lines)
    assert not list(tmp_path.glob("tunes/*"))


def test_a_reused_process_leaves_no_trace_of_the_trial_before(customers: Path, tmp_path: Path) -> None:
    """The same look in a process that others have used, whatever they left behind."""
    setup = set_up(parse_model(Recipe, tiny(customers)), str(tmp_path))

    def look(folder: str) -> tuple[float, ...]:
        shared = Shared(
            recipe=dump(setup.recipe),
            folder=Folder(tmp_path / folder),
            tables=setup.prepared.rows.tables,
            codecs={name: codec.to_files() for name, codec in setup.codecs.items()},
            missing=(),
            environment={},
        )
        point = setup.space.default("tvae")
        proposal = Proposal(0, point, 0, (1.0,), 0, None, partial=False, keep=False)
        found = take_look(shared, proposal, 1.0, device=torch.device("cpu"))
        return found.verdict.values

    first = look("first")
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    assert look("second") == first
    assert torch.get_default_dtype() == torch.float32
    reset_process()
    assert random.random() == random.Random(0).random()


def test_a_model_that_raises_ends_its_trial_and_not_the_search(
    customers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `run_trial` reports, without Ray: an exception of ours or of anybody's is one line."""
    from ray import tune as ray_tune

    from synthmill.runtime.trial import run_trial

    setup = set_up(parse_model(Recipe, tiny(customers)), str(tmp_path))
    reported: list[dict[str, object]] = []
    monkeypatch.setattr(ray_tune, "report", reported.append)

    def broken(*args: object, **options: object) -> None:
        raise ValueError("a bug\nof two lines")

    monkeypatch.setattr(Tvae, "loss", broken)
    proposal = Proposal(4, setup.space.default("tvae"), 0, (1.0,), 0, None, partial=False, keep=True)
    run_trial({"proposal": proposal}, setup.shared(Folder(tmp_path), (), {}))
    assert reported == [{"number": 4, "failed": "ValueError: a bug"}]
