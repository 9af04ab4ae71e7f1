"""Parameters and gradients of a whole model in one flat tensor each, so that an update, a norm, an all-reduce or an average is one call.

Modules keep their names, shapes and `state_dict`; only the storage behind them is shared.
"""

import torch
from torch import Tensor, nn

from synthmill.models.base import Adam, Phase

ALIGNMENT = 16
"""Floats; every parameter starts on a cache line."""


class FlatParameters:
    """Moves a model's parameters into one tensor. The model must stay on its device and keep its parameter objects."""

    def __init__(self, model: nn.Module, *, gradients: bool) -> None:
        self._places: dict[str, tuple[nn.Parameter, int, int]] = {}
        start = 0
        for name, parameter in model.named_parameters():
            assert parameter.dtype == torch.float32, f"{name} is {parameter.dtype}; master weights are float32"
            self._places[name] = (parameter, start, start + parameter.numel())
            start += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        device = next(iter(model.parameters())).device
        self.values = torch.zeros(start, device=device)
        self.gradients = torch.zeros(start, device=device) if gradients else None
        with torch.no_grad():
            for parameter, first, last in self._places.values():
                view = self.values[first:last].view_as(parameter)
                view.copy_(parameter)
                parameter.data = view
                if self.gradients is not None:
                    parameter.grad = self.gradients[first:last].view_as(parameter)

    def parameters_of(self, modules: tuple[str, ...]) -> list[nn.Parameter]:
        """Parameters under these attribute names."""
        return [self._places[name][0] for name in self._names(modules)]

    def ranges_of(self, modules: tuple[str, ...]) -> list[slice]:
        """Where they are in the flat tensors; neighbours are merged."""
        merged: list[slice] = []
        for name in self._names(modules):
            _, first, last = self._places[name]
            if merged and first - merged[-1].stop < ALIGNMENT:
                merged[-1] = slice(merged[-1].start, last)
            else:
                merged.append(slice(first, last))
        return merged

    def _names(self, modules: tuple[str, ...]) -> list[str]:
        found = [name for name in self._places if any(name == module or name.startswith(f"{module}.") for module in modules)]
        assert found, f"no parameters under {modules}"
        return found


class PhaseOptimizer:
    """Adam over one phase's parameters; gradients are already global when `step` is called."""

    def __init__(self, phase: Phase, flat: FlatParameters) -> None:
        assert flat.gradients is not None
        self.parameters = flat.parameters_of(phase.modules)
        self._settings: Adam = phase.optimizer
        self._gradients = [flat.gradients[place] for place in flat.ranges_of(phase.modules)]
        leaves = [nn.Parameter(flat.values[place]) for place in flat.ranges_of(phase.modules)]
        for leaf, gradient in zip(leaves, self._gradients, strict=True):
            leaf.grad = gradient
        self._adam = torch.optim.AdamW(
            leaves,
            lr=self._settings.learning_rate,
            betas=self._settings.betas,
            eps=self._settings.eps,
            weight_decay=self._settings.weight_decay,
            fused=True,
        )

    @property
    def gradients(self) -> list[Tensor]:
        """Flat gradients, written by backward passes."""
        return self._gradients

    def zero_gradients(self) -> None:
        """Before a backward pass: a parameter that gets no gradient counts as zeros."""
        for gradient in self._gradients:
            gradient.zero_()

    def step(self, rate_factor: float) -> None:
        """Clip, then one update with the learning rate times `rate_factor`."""
        if self._settings.clip_norm is not None:
            norm = torch.stack([gradient.norm() for gradient in self._gradients]).norm()
            scale = (self._settings.clip_norm / (norm + 1e-6)).clamp_max(1.0)
            for gradient in self._gradients:
                gradient.mul_(scale)
        for group in self._adam.param_groups:
            group["lr"] = self._settings.learning_rate * rate_factor
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts, by '<range>.<field>'; empty before the first step."""
        states = self._adam.state_dict()["state"]
        return {f"{index}.{field}": value for index, fields in states.items() for field, value in fields.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, _, field = name.partition(".")
            states.setdefault(int(index), {})[field] = value
        self._adam.load_state_dict({"state": states, "param_groups": self._adam.state_dict()["param_groups"]})
