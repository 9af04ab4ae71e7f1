"""Which arithmetic and order in memory the forward passes use; master weights, losses and updates are always
float32."""

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn


def choices(precision: Literal["auto", "fp32", "bf16"], device: torch.device) -> tuple[bool, ...]:
    """Whether to compute in bf16. auto: on GPUs that have it; on CPUs with AVX-512 BF16 or AMX instructions
    both answers, plain one first, as small products are not faster with it."""
    if precision != "auto":
        return (precision == "bf16",)
    if device.type == "cuda":
        return (bool(torch.cuda.is_bf16_supported()),)
    capabilities = torch.cpu.get_capabilities()
    return (False, True) if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else (False,)


def autocast(device: torch.device, *, bf16: bool) -> AbstractContextManager[object]:
    """Matrix products in bf16 inside it, with `bf16`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def lay_out(model: nn.Module, channels_last: bool | None, device: torch.device) -> None:
    """Put the weights of convolutions channels last, as Tensor Cores read them; convolutions bring what they
    read into the same order.

    None: on GPUs. On CPUs it cost as often as it gained (docs/log.md).
    """
    if channels_last if channels_last is not None else device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
