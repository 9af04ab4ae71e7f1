"""Which machines compute the same bits: identity of output is promised within one compute class."""

import json

import pyarrow as pa
import torch

from synthmill.generation.sampler import SAMPLING, Sampler, device_of

PORTABLE_ENV = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}
"""Set before torch is imported, it makes newer processors compute like one with AVX2."""


def compute_class(sampler: Sampler) -> str:
    """Canonical JSON of what the last bits of a sample depend on: device type, instruction set, versions of
    libraries and sampler."""
    device = device_of(sampler.model).type
    on_cpu = device == "cpu"
    parts = {
        "device": device,
        # Kernels add up in another order for each instruction set; GPUs differ by model.
        "isa": torch.backends.cpu.get_cpu_capability() if on_cpu else torch.cuda.get_device_name(),
        "sampling": SAMPLING,
        "encoding": sampler.model.encoding,
        "torch": torch.__version__,
        "pyarrow": pa.__version__,
        **sampler.codec.libraries(),
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))
