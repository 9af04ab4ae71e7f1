"""Which arithmetic the forward passes use; master weights, losses and updates are always float32."""

from contextlib import AbstractContextManager
from typing import Literal

import torch


def use_bf16(precision: Literal["auto", "fp32", "bf16"], device: torch.device) -> bool:
    """auto: on GPUs that have bf16, and on CPUs with AVX-512 BF16 or AMX instructions."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, *, bf16: bool) -> AbstractContextManager[object]:
    """Matrix products in bf16 inside it, when asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)
