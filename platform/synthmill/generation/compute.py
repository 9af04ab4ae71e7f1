"""Which machines compute the same bits: identity of output is promised within one compute class."""

import functools
import hashlib
import json

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from synthmill.generation.sampler import BLOCK_ROWS, SAMPLING, Sampler, device_of, one_thread

PORTABLE_ENV = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}
"""Set before torch is imported, it makes newer processors compute like one with AVX2."""


def compute_class(sampler: Sampler) -> str:
    """Canonical JSON of what the last bits of a sample depend on: device type, instruction set, arithmetic,
    versions of libraries and sampler."""
    device = device_of(sampler.model).type
    on_cpu = device == "cpu"
    parts = {
        "device": device,
        # Kernels add up in another order for each instruction set; GPUs differ by model.
        "isa": torch.backends.cpu.get_cpu_capability() if on_cpu else torch.cuda.get_device_name(),
        # With the same instructions, libraries still choose kernels by the processor's maker.
        "kernels": kernels_digest(device),
        "sampling": SAMPLING,
        "encoding": sampler.model.encoding,
        "torch": torch.__version__,
        "pyarrow": pa.__version__,
        **sampler.codec.libraries(),
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


@functools.cache
def kernels_digest(device: str) -> str:
    """What this process makes of fixed numbers, as a digest: equal where products, convolutions and functions
    are computed alike. Settings that choose kernels are read when torch is imported, so one look suffices."""
    with one_thread(), torch.inference_mode():
        results = [result.cpu().contiguous().numpy().tobytes() for result in _computed(device)]
    return hashlib.sha256(b"".join(results)).hexdigest()[:12]


def _computed(device: str) -> list[Tensor]:
    """Results of the shapes and kinds that models sample with."""

    def numbers(*shape: int) -> Tensor:
        count = functools.reduce(int.__mul__, shape)
        # Sines of whole numbers in double: the same numbers everywhere, and no round ones.
        return torch.arange(count, dtype=torch.float64).sin().float().view(shape).to(device)

    rows = numbers(BLOCK_ROWS, 128)
    found = [rows @ numbers(128, width) for width in (1, 17, 128, 611)]
    found += [functional.linear(rows[:, :33], numbers(64, 33), numbers(64))]
    found += [function(rows) for function in (torch.exp, torch.tanh, torch.sigmoid, torch.erf)]
    found += [rows.softmax(1), rows.cumsum(1), rows.abs().add(1).log().sum(1), rows.var(0)]
    images = numbers(16, 8, 12, 12)
    found += [functional.conv2d(images, numbers(16, 8, 3, 3), padding=1)]
    found += [functional.conv_transpose2d(images, numbers(8, 4, 4, 4), stride=2, padding=1)]
    return found
