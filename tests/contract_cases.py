"""Data of every encoding for the contract battery; a new encoding adds a case."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

import encoded
from synthmill.data.batch import Batch, Condition
from synthmill.data.layout import MixedLayout, PixelLayout
from synthmill.models.base import GenerativeModel, Phase, build, model_class


class Case(ABC):
    """A layout with rows, and what samples must look like."""

    layout: Any
    data: Batch

    @abstractmethod
    def check(self, layout: Any, rows: Batch, num_rows: int) -> None:
        """Shape, type and range of sampled rows."""

    @abstractmethod
    def condition(self, model: GenerativeModel) -> Condition | None:
        """One that the model declares to take; None: it takes none."""

    @abstractmethod
    def check_condition(self, rows: Batch, condition: Condition) -> None:
        """Every row has what the condition asks."""


class Mixed(Case):
    layout = encoded.layout(200)
    data = encoded.table(200)

    def check(self, layout: MixedLayout, rows: Batch, num_rows: int) -> None:
        codes, values = rows["codes"], rows["values"]
        assert codes.shape == (num_rows, len(layout.discrete))
        assert codes.dtype == torch.int64
        widths = torch.tensor([span.width for span in layout.discrete])
        assert bool(((codes >= 0) & (codes < widths)).all())
        assert values.shape == (num_rows, len(layout.numeric))
        assert values.dtype == torch.float32
        assert float(values.abs().max()) <= 1
        for index, span in enumerate(layout.numeric):
            assert float(values[codes[:, span.discrete] >= span.segments, index].abs().sum()) == 0

    def condition(self, model: GenerativeModel) -> Condition | None:
        return Condition(codes={1: 2}) if model.conditions in ("columns", "any") else None

    def check_condition(self, rows: Batch, condition: Condition) -> None:
        assert condition.codes is not None
        for span, code in condition.codes.items():
            assert set(rows["codes"][:, span].tolist()) == {code}


class Discrete(Mixed):
    layout = encoded.layout(200).model_copy(update={"target": "b"})


class Pixels(Case):
    layout = PixelLayout(channels=1, height=8, width=8, classes=3, rows=200)
    data = Batch(
        pixels=torch.randint(0, 256, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(
            torch.uint8
        ),
        label=torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(1)),
    )

    def check(self, layout: PixelLayout, rows: Batch, num_rows: int) -> None:
        assert rows["pixels"].shape == (num_rows, layout.channels, layout.height, layout.width)
        assert rows["pixels"].dtype == torch.float32
        assert float(rows["pixels"].abs().max()) <= 1
        if layout.classes:
            assert rows["label"].shape == (num_rows,)
            assert bool(((rows["label"] >= 0) & (rows["label"] < layout.classes)).all())

    def condition(self, model: GenerativeModel) -> Condition | None:
        return Condition(label=2) if model.conditions == "label" else None

    def check_condition(self, rows: Batch, condition: Condition) -> None:
        assert set(rows["label"].tolist()) == {condition.label}


CASES: dict[str, Case] = {"mixed": Mixed(), "discrete": Discrete(), "pixels": Pixels()}


@dataclass(frozen=True)
class Named:
    """One model on the data of its encoding."""

    name: str
    data: Batch

    def fresh(self) -> GenerativeModel:
        """With the weights that seed 0 gives."""
        torch.manual_seed(0)
        return build(self.name, {}, CASES[model_class(self.name).encoding].layout)


def case(name: str) -> Named:
    """The case of a model."""
    return Named(name, CASES[model_class(name).encoding].data)


def plain(model: GenerativeModel) -> GenerativeModel:
    """Without dropout and BatchNorm, whose results depend on which rows a worker has, and without the sign
    that Adam makes of gradients as small as rounding."""
    stages = tuple(replace(stage, phases=tuple(map(_steady, stage.phases))) for stage in model.stages())
    model.stages = lambda: stages  # type: ignore[method-assign]
    for module in list(model.modules()):
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.modules.dropout._DropoutNd):
                child.p = 0.0
    return model


def _steady(phase: Phase) -> Phase:
    return replace(phase, optimizer=replace(phase.optimizer, eps=1e-2))
