"""Searches on Ray: a winner is published with where it came from, failures are recorded, processes are
reused without a trace of one trial in the next."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import synthmill
from integration.conftest import small_recipe
from synthmill import api
from synthmill.catalog.store import Store, Version
from synthmill.config import Recipe, dump, parse_model
from synthmill.errors import TrainingError, UserError
from synthmill.models.tvae import Tvae
from synthmill.runtime import tune as tuning
from synthmill.runtime.trial import Shared, reset_process, take_look
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


def tiny(source: Path, **tune: object) -> dict[str, object]:
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


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"budget_seconds": 0.001}, r"tune\.budget_seconds: .* hold no trial"),
        ({"objective": "utility.tstr_rato"}, r"tune\.objective: no metric"),
        ({"models": ["tvae", "vae"]}, r"tune\.models: names models of different kinds"),
        ({"space": {"nothing": 1}}, r"tune\.space\.nothing"),
    ],
)
def test_mistakes_are_one_line_before_a_trial_begins(
    local_ray: None, customers: Path, tmp_path: Path, tune: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        synthmill.tune(tiny(customers, **tune), store=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("tunes/*/*/events/*"))


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
