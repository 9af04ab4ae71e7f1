"""How a phase's loss and its gradients are computed: as the model is written, compiled, or replayed from a
CUDA graph.

Parameters, their names and what is drawn are the same in all three, so that a checkpoint of one is a
checkpoint of the others. Compiled code and graphs read their random numbers as inputs: a phase's first update
runs as written and shows which numbers its loss draws; from the second on they are drawn beforehand, from the
same keys. Dropout draws from torch's own generator, whose seed a graph reads again at each replay.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from synthmill.config import TrainingConfig
from synthmill.data.batch import Batch
from synthmill.models.base import GenerativeModel, Phase, Rng
from synthmill.training import precision

WARM_UPDATES = 3
"""Updates on a stream of their own before a capture, in which libraries choose their kernels and allocate."""

Draw = tuple[str, str, tuple[int, ...]]
"""(method of Rng, name, other arguments)."""
Means = Callable[[GenerativeModel, str, Batch, Rng, float], dict[str, Tensor]]


class Compute(Protocol):
    """Leaves a phase's gradients in its parameters."""

    def __call__(
        self, phase: Phase, parameters: list[nn.Parameter], batch: Batch, *, rng: Rng, progress: float
    ) -> tuple[tuple[str, ...], Tensor]:
        """The terms' names, and their means over local rows times the share of the global batch: the sum over
        ranks is the global mean.

        `parameters` are those that the phase moves; only they require gradients, and they have none yet.
        """


@dataclass(frozen=True)
class Settings:
    """What a model computes with besides the recipe."""

    device: torch.device
    share: float
    """Local rows over rows of the global batch."""
    bf16: bool


def make_compute(
    model: GenerativeModel, config: TrainingConfig, settings: Settings, say: Callable[[str], None]
) -> Compute:
    """What the recipe requests, where the device has it; `say` takes a line for a person."""
    graphs = config.cuda_graphs and settings.device.type == "cuda"
    if not (config.compile or graphs):
        return AsWritten(model, settings)
    return Prepared(model, settings, say, compiles=config.compile, graphs=graphs)


def means_of(
    model: GenerativeModel, phase: str, batch: Batch, rng: Rng, progress: float
) -> dict[str, Tensor]:
    """Each term of a phase's loss, its mean over local rows."""
    return {name: term.mean() for name, term in model.loss(phase, batch, rng=rng, progress=progress).items()}


class AsWritten:
    """Operation by operation."""

    def __init__(self, model: GenerativeModel, settings: Settings) -> None:
        self._model, self._settings = model, settings

    def __call__(
        self, phase: Phase, parameters: list[nn.Parameter], batch: Batch, *, rng: Rng, progress: float
    ) -> tuple[tuple[str, ...], Tensor]:
        return differentiate(means_of, self._model, phase.name, batch, rng, progress, self._settings)


def differentiate(
    means: Means,
    model: GenerativeModel,
    phase: str,
    batch: Batch,
    rng: Rng,
    progress: float,
    settings: Settings,
) -> tuple[tuple[str, ...], Tensor]:
    """One forward and one backward pass; gradients are added to those that are there."""
    with precision.autocast(settings.device, bf16=settings.bf16):
        terms = means(model, phase, batch, rng, progress)
    stacked = torch.stack(list(terms.values())) * settings.share
    # Terms named log_ are recorded only.
    minimised = [index for index, name in enumerate(terms) if not name.startswith("log_")]
    total = stacked if len(minimised) == len(terms) else torch.stack([stacked[index] for index in minimised])
    total.sum().backward()  # type: ignore[no-untyped-call]
    return tuple(terms), stacked.detach()


class Recorder:
    """Draws as `rng` does and remembers what was drawn."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.draws: list[Draw] = []

    def normal(self, name: str, *shape: int) -> Tensor:
        return self._noted("normal", name, shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        return self._noted("uniform", name, shape)

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        return self._noted("integers", name, (high, *shape))

    def _noted(self, kind: str, name: str, arguments: tuple[int, ...]) -> Tensor:
        if (kind, name, arguments) not in self.draws:
            self.draws.append((kind, name, arguments))
        return drawn(self._rng, (kind, name, arguments))


class Given:
    """Random numbers that were drawn beforehand."""

    def __init__(self, tensors: dict[Draw, Tensor]) -> None:
        self.tensors = tensors

    def normal(self, name: str, *shape: int) -> Tensor:
        return self.tensors["normal", name, shape]

    def uniform(self, name: str, *shape: int) -> Tensor:
        return self.tensors["uniform", name, shape]

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        return self.tensors["integers", name, (high, *shape)]


def drawn(rng: Rng, draw: Draw) -> Tensor:
    """The numbers of one draw."""
    kind, name, arguments = draw
    numbers: Tensor = getattr(rng, kind)(name, *arguments)
    return numbers


class Prepared:
    """Compiled, captured or both; each phase from its second update on."""

    def __init__(
        self,
        model: GenerativeModel,
        settings: Settings,
        say: Callable[[str], None],
        *,
        compiles: bool = False,
        graphs: bool = False,
    ) -> None:
        self._model, self._settings, self._say = model, settings, say
        self._compiles, self._graphs = compiles, graphs
        self._draws: dict[str, list[Draw]] = {}
        self._means: dict[str, Means] = {}
        self._captured: dict[str, Captured | None] = {}
        """None: the phase could not be captured."""

    def __call__(
        self, phase: Phase, parameters: list[nn.Parameter], batch: Batch, *, rng: Rng, progress: float
    ) -> tuple[tuple[str, ...], Tensor]:
        draws = self._draws.get(phase.name)
        if draws is None:
            # As written: only running the loss shows which numbers it draws.
            recorder = Recorder(rng)
            result = differentiate(
                means_of, self._model, phase.name, batch, recorder, progress, self._settings
            )
            self._draws[phase.name] = recorder.draws
            return result
        given = {draw: drawn(rng, draw) for draw in draws}
        # A graph would replay the progress of its capture for ever.
        if self._graphs and not phase.reads_progress:
            captured = self._capture(phase, parameters, batch, given)
            if captured is not None:
                return captured.replay(batch, given)
        means = self._means_of(phase)
        # Compiled code is compiled again for every number that it sees: progress goes only where it is read.
        place = progress if phase.reads_progress else 0.0
        return differentiate(means, self._model, phase.name, batch, Given(given), place, self._settings)

    def _capture(
        self, phase: Phase, parameters: list[nn.Parameter], batch: Batch, given: dict[Draw, Tensor]
    ) -> "Captured | None":
        if phase.name not in self._captured:
            means = self._means_of(phase)

            def update(batch: Batch, rng: Rng) -> tuple[tuple[str, ...], Tensor]:
                return differentiate(means, self._model, phase.name, batch, rng, 0.0, self._settings)

            try:
                self._captured[phase.name] = Captured(update, self._model, parameters, batch, given)
            except RuntimeError as fault:
                self._captured[phase.name] = None
                reason = (str(fault).splitlines() or [type(fault).__name__])[0]
                self._say(f"phase {phase.name} runs without a CUDA graph: {reason}")
                # Half a backward pass may be in them.
                for parameter in parameters:
                    parameter.grad = None
        return self._captured[phase.name]

    def _means_of(self, phase: Phase) -> Means:
        """Compiled once a phase. What takes gradients of gradients stays as written: compiled code can't be
        differentiated twice."""
        if phase.name not in self._means:
            wanted = self._compiles and not phase.second_order
            # Dropout as torch draws it otherwise, so that compiled updates are those that the model is
            # written as.
            options: dict[str, str | int | bool | Callable[..., object]] = {"fallback_random": True}
            self._means[phase.name] = (
                torch.compile(_own(means_of), dynamic=False, options=options) if wanted else means_of
            )
        return self._means[phase.name]


def _own(means: Means) -> Means:
    """The same function with code of its own, so that what is compiled for one phase is not looked through
    for another."""

    def own(model: GenerativeModel, phase: str, batch: Batch, rng: Rng, progress: float) -> dict[str, Tensor]:
        return means(model, phase, batch, rng, progress)

    # torch.compile caches by code object.
    own.__code__ = own.__code__.replace()
    return own


class Captured:
    """One phase's forward and backward pass as a CUDA graph: a launch instead of some hundreds.

    Inputs are copied to where the graph reads them. Gradients lie where it writes them, and become the
    parameters' again at each replay.
    """

    def __init__(
        self,
        update: Callable[[Batch, Rng], tuple[tuple[str, ...], Tensor]],
        model: GenerativeModel,
        parameters: list[nn.Parameter],
        batch: Batch,
        given: Mapping[Draw, Tensor],
    ) -> None:
        self._batch = Batch(**{key: tensor.clone() for key, tensor in batch.items()})
        self._given = {draw: tensor.clone() for draw, tensor in given.items()}
        self._parameters = parameters
        with _unchanged(model):
            _on_the_side(lambda: update(self._batch, Given(self._given)), parameters)
            for parameter in parameters:
                parameter.grad = None
            self._graph = torch.cuda.CUDAGraph()
            # Other threads may call CUDA meanwhile, as the one that watches over NCCL does.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._names, self._means = update(self._batch, Given(self._given))
        self._gradients = [parameter.grad for parameter in parameters]

    def replay(self, batch: Batch, given: Mapping[Draw, Tensor]) -> tuple[tuple[str, ...], Tensor]:
        """The update for this batch and these random numbers."""
        for key, tensor in batch.items():
            self._batch[key].copy_(tensor)
        for draw, tensor in given.items():
            self._given[draw].copy_(tensor)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._names, self._means.clone()


def _on_the_side(update: Callable[[], object], parameters: list[nn.Parameter]) -> None:
    """Some updates on another stream, as a capture wants it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPDATES):
            for parameter in parameters:
                parameter.grad = None
            update()
    torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Buffers (running statistics, power iterations) and torch's generator as they were, whatever is run
    inside."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    state = torch.cuda.get_rng_state()
    try:
        yield
    finally:
        torch.cuda.set_rng_state(state)
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
