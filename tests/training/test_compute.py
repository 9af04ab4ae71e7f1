"""Loss and gradients as written, with numbers drawn beforehand, compiled, channels last, and from a CUDA
graph: the same each way."""

import copy
import shutil
from typing import Any

import pytest
import torch

from contract_cases import case
from encoded import MemoryFolder, Records, settings
from image_cases import halves, layout
from synthmill import registry
from synthmill.config import TrainingConfig
from synthmill.data.batch import Batch
from synthmill.models.base import GenerativeModel, Phase, Rng, build
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.compute import AsWritten, Compute, Prepared, Settings
from synthmill.training.loop import Outcome, train
from synthmill.training.parallel import Single
from synthmill.training.rng import StepRng
from synthmill.training.rows import ByCategory

CPU = torch.device("cpu")
TRAINED = [name for name in registry.names("models") if case(name).fresh().stages()]
VAE = {"latent": 2, "channels": 4, "hidden": 8, "norm": "none"}
COMPILER = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
needs_compiler = pytest.mark.skipif(
    COMPILER is None, reason="torch.compile needs a C++ compiler: c++, g++ or clang++"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


def updates(
    model: GenerativeModel, compute: Compute, phase: Phase, data: Batch, device: torch.device = CPU
) -> list[list[torch.Tensor]]:
    """Means and gradients of three updates of one phase, each with other rows, numbers and dropout; the
    weights stay."""
    parameters = [
        parameter
        for name, parameter in model.named_parameters()
        if any(name == module or name.startswith(f"{module}.") for module in phase.modules)
    ]
    model.train().requires_grad_(False)
    rows = 4 * model.row_group
    found = []
    for step in range(3):
        rng = StepRng(device, 0, rows, slice(0, rows)).at(step, phase.name, 0)
        batch = data.take(slice(step * rows, (step + 1) * rows))
        if phase.sampling == "category" and model.layout.category_spans:
            batch = ByCategory(data, model.layout).batch(rng)
        for parameter in parameters:
            parameter.requires_grad, parameter.grad = True, None
        torch.manual_seed(step)
        _, means = compute(phase, parameters, batch, rng=rng, progress=0.25 * step)
        found.append(
            [means, *(parameter.grad.clone() for parameter in parameters if parameter.grad is not None)]
        )
    return found


def phases() -> list[tuple[str, Phase]]:
    return [
        (name, phase) for name in TRAINED for stage in case(name).fresh().stages() for phase in stage.phases
    ]


@pytest.mark.parametrize(
    ("name", "phase"), phases(), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_numbers_drawn_beforehand_give_the_same_gradients_and_phases_say_what_they_read(
    name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phase that reads its progress, or takes gradients of gradients, without saying so would be wrong in a
    graph or fail to compile."""
    second_order = []
    plain = torch.autograd.grad

    def seen(*arguments: Any, **options: Any) -> Any:
        second_order.append(bool(options.get("create_graph")))
        return plain(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", seen)
    model = case(name).fresh()
    same = copy.deepcopy(model)
    known = Settings(CPU, 0.5, bf16=False)
    expected = updates(model, AsWritten(model, known), phase, case(name).data)
    assert any(second_order) == phase.second_order
    found = updates(same, Prepared(same, known, lambda message: None), phase, case(name).data)
    for left, right in zip(expected, found, strict=True):
        assert len(left) == len(right) > 1
        assert all(torch.equal(one, two) for one, two in zip(left, right, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(model.buffers(), same.buffers(), strict=True))


def test_progress_that_is_read_reaches_the_loss() -> None:
    assert [
        phase.reads_progress for stage in build("beta_vae", {}, layout()).stages() for phase in stage.phases
    ] == [True]
    growing = build("progressive_gan", {"channels": 4}, layout()).stages()
    assert [[phase.reads_progress for phase in stage.phases] for stage in growing] == [
        [False, False],
        [True, True],
    ]


def run(name: str, config: dict[str, Any], training: TrainingConfig, **others: Any) -> Outcome:
    torch.manual_seed(0)
    model = build(name, config, layout())
    device = others.pop("device", CPU)
    data = halves().to(device)
    return train(
        model.to(device), data, training, **{"parallel": Single(device), "reporter": Records(), **others}
    )


def near(left: Outcome, right: Outcome, tolerance: float = 1e-4) -> None:
    assert left.state_dict.keys() == right.state_dict.keys()
    for name, value in left.state_dict.items():
        torch.testing.assert_close(right.state_dict[name], value, rtol=tolerance, atol=tolerance)
        assert right.state_dict[name].dtype == value.dtype


@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_run_equals_one_as_written_and_either_goes_on_from_the_other() -> None:
    few = {"global_batch_rows": 16, "max_epochs": 1_000, "seed": 3}
    written = run("vae", VAE, settings(**few, max_steps=6))
    near(written, run("vae", VAE, settings(**few, max_steps=6, compile=True)))
    folder = MemoryFolder()
    half = settings(**few, max_steps=6, compile=True, checkpoint_seconds=1e-9)

    class StopError(Exception):
        pass

    steps = iter([False] * 4 + [True] * 9)

    def stop() -> bool:
        if next(steps):
            raise StopError
        return False

    with pytest.raises(StopError):
        run("vae", VAE, half, checkpoints=Checkpoints(folder), should_stop=stop)
    records = Records()
    resumed = run("vae", VAE, settings(**few, max_steps=6), checkpoints=Checkpoints(folder), reporter=records)
    assert records.records[0] == {"message": "resumed at step 4 of 6"}
    near(written, resumed)


@pytest.mark.parametrize("name", ["dcgan", "style_gan"])
def test_channels_last_changes_the_order_in_memory_alone(name: str) -> None:
    config = (
        {"channels": 4}
        if name == "dcgan"
        else {"channels": 4, "most_channels": 8, "noise": 8, "mapping_layers": 1}
    )
    few = {"global_batch_rows": 16, "max_epochs": 1_000, "max_steps": 4}
    folder = MemoryFolder()
    plain = run(name, config, settings(**few))
    last = run(name, config, settings(**few, channels_last=True), checkpoints=Checkpoints(folder))
    near(plain, last, 2e-3)
    assert any(value.dim() == 4 and not value.is_contiguous() for value in last.state_dict.values())
    kept = Checkpoints(folder).latest()
    assert kept is not None
    near(last, Outcome(kept.under("average"), [], 0, 0.0, None), 1e-6)


@needs_gpu
@pytest.mark.parametrize(
    ("name", "phase"), phases(), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_a_graph_gives_the_gradients_of_the_phase_as_written(name: str, phase: Phase) -> None:
    device = torch.device("cuda")
    model = case(name).fresh().to(device)
    same = copy.deepcopy(model)
    known, said = Settings(device, 0.5, bf16=False), []
    data = case(name).data.to(device)
    expected = updates(model, AsWritten(model, known), phase, data, device)
    found = updates(same, Prepared(same, known, said.append, graphs=True), phase, data, device)
    assert said == []
    for left, right in zip(expected, found, strict=True):
        for one, two in zip(left, right, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)


@needs_gpu
def test_a_run_on_a_gpu_is_the_same_with_graphs_and_without() -> None:
    few = {"global_batch_rows": 16, "max_epochs": 1_000, "max_steps": 6}
    device = torch.device("cuda")
    plain, graphs = (
        run("vae", VAE, settings(**few, cuda_graphs=graphs), device=device) for graphs in (False, True)
    )
    near(plain, graphs, 1e-3)


class Syncs(GenerativeModel):
    """A model whose loss can't be captured."""

    def __init__(self) -> None:
        super().__init__(None, layout())
        self.net = torch.nn.Linear(1, 1)

    def stages(self) -> tuple[Any, ...]:
        return ()

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, torch.Tensor]:
        return {"loss": self.net(rng.normal("z", 1)).square().squeeze(1)}

    def sample(self, num_rows: int, *, condition: Any, generator: torch.Generator) -> Batch:
        raise NotImplementedError


def test_a_phase_that_can_t_be_captured_runs_as_written_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr("synthmill.training.compute.Captured", refused)
    phase = Phase(name="one", modules=("net",), optimizer=case("vae").fresh().stages()[0].phases[0].optimizer)
    torch.manual_seed(0)
    model = Syncs()
    same, said = copy.deepcopy(model), []
    known = Settings(CPU, 1.0, bf16=False)
    expected = updates(model, AsWritten(model, known), phase, halves(64))
    found = updates(same, Prepared(same, known, said.append, graphs=True), phase, halves(64))
    assert said == ["phase one runs without a CUDA graph: operation not permitted when stream is capturing"]
    assert all(
        torch.equal(one, two)
        for left, right in zip(expected, found, strict=True)
        for one, two in zip(left, right, strict=True)
    )
