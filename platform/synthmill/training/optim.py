"""A model's weights in one flat tensor, so that an average is one call, and one Adam optimizer a phase.

Modules keep their names, shapes and `state_dict`; only the storage behind them is shared.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from synthmill.models.base import Adam, Phase, Stage
from synthmill.training.parallel import Parallel, local

ALIGNMENT = 16
"""Floats; every parameter starts on a cache line."""


def flatten(model: nn.Module) -> Tensor:
    """Move a model's parameters into one float32 tensor and return it; each keeps its order in memory. The
    model must then stay on its device."""
    starts, end = [], 0
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32, f"{name} is {parameter.dtype}; master weights are float32"
        assert torch.empty_like(parameter).stride() == parameter.stride(), (
            f"{name} has holes or overlaps in memory"
        )
        starts.append(end)
        end += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
    flat = torch.zeros(end, device=next(iter(model.parameters())).device)
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), starts, strict=True):
            # The parameter's own strides: a channels-last weight stays so.
            view = flat.as_strided(parameter.shape, parameter.stride(), start)
            view.copy_(parameter)
            parameter.data = view
    return flat


class PhaseOptimizer:
    """Adam over one phase's parameters."""

    def __init__(self, model: nn.Module, phase: Phase) -> None:
        named = {
            name: parameter
            for name, parameter in model.named_parameters()
            if any(name == module or name.startswith(f"{module}.") for module in phase.modules)
        }
        assert named, f"no parameters under {phase.modules}"
        self.parameters = list(named.values())
        self._names = list(named)
        self._settings: Adam = phase.optimizer
        # Of the parts that are here, where processes share the weights.
        self._local = [local(parameter) for parameter in self.parameters]
        self._means = [torch.zeros_like(part) for part in self._local]
        self._squares = [torch.zeros_like(part) for part in self._local]
        # The fused kernel counts a tensor's steps beside it, on its device.
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    def forget_gradients(self) -> None:
        """Before a backward pass."""
        # None instead of zeros: the first backward pass then writes instead of adding.
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate_factor: float, parallel: Parallel) -> None:
        """Sum gradients over workers, clip, and update once with the learning rate times `rate_factor`."""
        settings = self._settings
        gradients = _sum_gradients(self.parameters, parallel)
        if settings.clip_norm is not None:
            norm = nn.utils.get_total_norm(gradients)
            if parallel.shares_weights:
                square = norm.square()
                parallel.all_reduce_(square)
                norm = square.sqrt()
            nn.utils.clip_grads_with_norm_(self.parameters, settings.clip_norm, norm)
        # The functional form on purpose: making a torch.optim.AdamW imports torch._dynamo, 1.25 s before the
        # first step of every process, and its step takes 134 us where this takes 106 (20 parameters).
        adamw(
            self._local,
            gradients,
            self._means,
            self._squares,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=settings.betas[0],
            beta2=settings.betas[1],
            lr=settings.learning_rate * rate_factor,
            weight_decay=settings.weight_decay,
            eps=settings.eps,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Moments and step count, as '<field>.<parameter name>' and 'steps'."""
        means = {f"mean.{name}": value for name, value in zip(self._names, self._means, strict=True)}
        squares = {f"square.{name}": value for name, value in zip(self._names, self._squares, strict=True)}
        return {**means, **squares, "steps": self._steps[0]}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, mean, square, steps in zip(
            self._names, self._means, self._squares, self._steps, strict=True
        ):
            mean.copy_(tensors[f"mean.{name}"])
            square.copy_(tensors[f"square.{name}"])
            steps.copy_(tensors["steps"])


def optimizers_of(model: nn.Module, stages: Iterable[Stage]) -> dict[tuple[str, str], PhaseOptimizer]:
    """One optimizer for every (stage, phase); phases that share moments share it."""
    made: dict[tuple[str, str], PhaseOptimizer] = {}
    for stage in stages:
        modules: dict[str, tuple[str, ...]] = {}
        for phase in stage.phases:
            shared = made.get((stage.name, phase.moments)) if phase.moments else None
            assert shared is None or modules[str(phase.moments)] == phase.modules, (
                f"{phase.name} moves other modules than {phase.moments}"
            )
            # Moments of its own would divide the weight of a penalty out (docs/log.md, Images).
            made[stage.name, phase.name] = shared or PhaseOptimizer(model, phase)
            modules[phase.name] = phase.modules
    return made


def distinct(optimizers: Mapping[tuple[str, str], PhaseOptimizer]) -> dict[tuple[str, str], PhaseOptimizer]:
    """Each optimizer once, under the phase that comes first."""
    first = {id(optimizer): key for key, optimizer in reversed(list(optimizers.items()))}
    return {key: optimizer for key, optimizer in optimizers.items() if first[id(optimizer)] == key}


def _sum_gradients(parameters: list[nn.Parameter], parallel: Parallel) -> list[Tensor]:
    """Global gradients, by one all-reduce of all of them; one that a worker does not have counts as zeros."""
    # Momentum goes on for a parameter without a gradient, as it does where another rank has one.
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if parallel.shares_weights:
        return [local(gradient) for gradient in gradients]
    if parallel.world > 1:
        # A message's fixed cost outweighs its bytes: all gradients travel in one.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        parallel.all_reduce_(flat)
        for gradient, part in zip(
            gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))
    return gradients
