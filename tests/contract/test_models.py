"""What every model in the registry must do; nothing here knows a model by name."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from contract_cases import CASES, Case, case, plain
from encoded import Records, settings
from synthmill import registry
from synthmill.config import dump, parse_model
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import GenerativeModel, Phase, build, model_class
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from synthmill.training.rng import StepRng, generator
from synthmill.training.rows import ByCategory

NAMES = registry.names("models")
TRAINED = [name for name in NAMES if case(name).fresh().stages()]


def fitted(name: str) -> GenerativeModel:
    """A model after a few steps, or fitted in closed form, in eval mode."""
    made = case(name).fresh()
    if not made.stages():
        made.fit_closed([case(name).data])
        return made.eval()
    outcome = train(made, case(name).data, settings(max_steps=3), parallel=Single(), reporter=Records())
    published = case(name).fresh()
    published.load_state_dict(outcome.state_dict)
    return published.eval()


def sampled(
    model: GenerativeModel, seed: int = 0, rows: int = 64, condition: Condition | None = None
) -> Batch:
    with torch.inference_mode():
        return model.sample(rows, condition=condition, generator=generator("cpu", seed))


def same(left: Batch, right: Batch) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> GenerativeModel:
    return fitted(request.param)


def phases() -> list[tuple[str, Phase]]:
    return [
        (name, phase) for name in TRAINED for stage in case(name).fresh().stages() for phase in stage.phases
    ]


def terms_of(model: GenerativeModel, name: str, phase: Phase) -> tuple[dict[str, torch.Tensor], int]:
    rows = 4 * model.row_group
    rng = StepRng(torch.device("cpu"), 0, rows, slice(0, rows)).at(0, phase.name, 0)
    data = case(name).data
    if phase.sampling == "category" and model.layout.category_spans:
        batch = ByCategory(data, model.layout).batch(rng)
    else:
        batch = data.take(slice(0, rows))
    return model.train().loss(phase.name, batch, rng=rng, progress=0.5), rows


@pytest.mark.parametrize(
    ("name", "phase"), phases(), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_each_phase_moves_only_its_own_parameters_and_some_of_them(name: str, phase: Phase) -> None:
    model = case(name).fresh()
    terms, _ = terms_of(model, name, phase)
    sum(term.mean() for key, term in terms.items() if not key.startswith("log_")).backward()
    own = {
        key
        for key, _ in model.named_parameters()
        if any(key == module or key.startswith(f"{module}.") for module in phase.modules)
    }
    moved = {
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is not None and bool((parameter.grad != 0).any())
    }
    assert own, f"{phase.modules} name no parameters"
    assert moved & own
    before = copy.deepcopy(model.state_dict())
    trainer = case(name).fresh()
    others = [key for key, _ in trainer.named_parameters() if key not in own]
    only = model_with_phases(trainer, phase)
    train(only, case(name).data, settings(max_steps=1), parallel=Single(), reporter=Records())
    after = trainer.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in others)
    assert any(not torch.equal(before[key], after[key]) for key in own)


def model_with_phases(model: GenerativeModel, phase: Phase) -> GenerativeModel:
    """The same model, trained by one of its phases alone."""
    (stage, *_) = [stage for stage in model.stages() if phase in stage.phases]
    alone = type(stage)(name=stage.name, share=1.0, phases=(phase,))
    model.stages = lambda: (alone,)  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize(
    ("name", "phase"), phases(), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_loss_terms_are_per_row_or_per_row_group(name: str, phase: Phase) -> None:
    model = case(name).fresh()
    terms, rows = terms_of(model, name, phase)
    assert any(not key.startswith("log_") for key in terms)
    for key, term in terms.items():
        assert term.shape in ((rows,), (rows // model.row_group,)), key
        assert term.dtype == torch.float32, key
        assert bool(term.isfinite().all()), key


@pytest.mark.parametrize("name", NAMES)
def test_config_survives_json(name: str) -> None:
    cls = model_class(name)
    config = cls.Config()
    assert parse_model(cls.Config, dump(config)) == config
    assert cls.reference
    assert set(cls.modalities) <= {"table", "image", "text", "audio"}


def test_weights_survive_safetensors(model: GenerativeModel) -> None:
    data = safetensors.torch.save(
        {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    )
    again = type(model)(model.config, model.layout)
    again.load_state_dict(safetensors.torch.load(data))
    assert same(sampled(model), sampled(again.eval()))


def test_sampling_depends_on_the_generator_alone(model: GenerativeModel) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sampled(model)
    assert torch.equal(before, torch.get_rng_state()), "sampling drew from torch's global generator"
    torch.manual_seed(2)
    other = sampled(model, seed=1)
    assert same(first, sampled(model)), "a block must not depend on the blocks before it"
    assert not same(first, other)


def test_samples_have_the_layout_s_shape_and_range(model: GenerativeModel) -> None:
    kind = CASES[model.encoding]
    kind.check(model.layout, sampled(model, rows=64), 64)
    kind.check(model.layout, sampled(model, rows=1), 1)


def test_a_declared_condition_holds(model: GenerativeModel) -> None:
    kind = CASES[model.encoding]
    condition = kind.condition(model)
    if condition is None:
        assert model.conditions == "none"
        return
    kind.check_condition(sampled(model, condition=condition), condition)


def test_a_likelihood_is_told_for_each_row_or_not_at_all(model: GenerativeModel) -> None:
    data = CASES[model.encoding].data.take(slice(0, 12))
    with torch.inference_mode():
        nats, of_some = model.nats(data), model.nats(data.take(slice(0, 4)))
    if nats is None or of_some is None:
        assert nats is of_some is None
        return
    assert (nats.shape, nats.dtype) == ((12,), torch.float32)
    assert torch.allclose(nats[:4], of_some, atol=1e-4), "a row's likelihood depends on the rows beside it"
    assert bool(nats.isfinite().all())


def test_finishing_twice_leaves_a_model_that_samples(model: GenerativeModel) -> None:
    if not model.stages():
        return
    again = copy.deepcopy(model)
    rng = StepRng(torch.device("cpu"), 0, 100, slice(0, 100)).at("finish")
    data = CASES[model.encoding].data
    for _ in range(2):
        with torch.no_grad():
            again.finish([data.take(slice(0, 100)), data.take(slice(100, 150))], rng=rng)
    again.eval()
    CASES[model.encoding].check(model.layout, sampled(again), 64)
    assert not any(module.training for module in again.modules())


@pytest.mark.parametrize("name", TRAINED)
def test_two_runs_give_equal_weights_to_the_bit(name: str) -> None:
    outcomes = [
        train(
            case(name).fresh(), case(name).data, settings(max_steps=3), parallel=Single(), reporter=Records()
        )
        for _ in range(2)
    ]
    assert all(
        torch.equal(value, outcomes[1].state_dict[key]) for key, value in outcomes[0].state_dict.items()
    )


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every trained model after a few steps by two gloo workers with unequal shares; NAME.safetensors in a
    folder."""
    folder = tmp_path_factory.mktemp("ranks")
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent), str(here.parents[1] / "platform")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(here / "two_ranks.py"), str(folder)]
    workers = [
        subprocess.Popen([*script, str(rank)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors[-2000:]
    return folder


@pytest.mark.parametrize("name", TRAINED)
def test_two_workers_match_one_to_rounding(name: str, two_ranks: Path) -> None:
    single = plain(case(name).fresh())
    train(
        single,
        case(name).data,
        settings(max_steps=4, global_batch_rows=111),
        parallel=Single(),
        reporter=Records(),
    )
    together = safetensors.torch.load((two_ranks / f"{name}.safetensors").read_bytes())
    start = plain(case(name).fresh()).state_dict()
    for key, value in single.state_dict().items():
        if value.is_floating_point():
            moved = float((value - start[key]).abs().max())
            assert float((value - together[key]).abs().max()) <= 1e-6 + 0.01 * moved, key


def test_a_case_stands_for_every_encoding() -> None:
    assert {model_class(name).encoding for name in NAMES} <= set(CASES)
    assert all(isinstance(kind, Case) for kind in CASES.values())


def test_build_names_a_wrong_key() -> None:
    from synthmill.errors import RecipeError

    with pytest.raises(
        RecipeError, match=r"model\.config\.embeding_dim: unknown key; did you mean 'embedding_dim'\?"
    ):
        build("ctgan", {"embeding_dim": 3}, CASES["mixed"].layout)
