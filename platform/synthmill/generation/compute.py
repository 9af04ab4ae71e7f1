"""Which machines compute the same bits: identity of output is promised within one compute class."""

import json
import zlib

import pyarrow as pa
import torch

from synthmill.generation.blocks import SAMPLING
from synthmill.models.base import GenerativeModel

PORTABLE_ENV = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}
"""Set before torch is imported, it makes newer processors compute like one with AVX2."""


def compute_class(model: GenerativeModel) -> str:
    """Canonical JSON of what the last bits of a sample depend on: device type, instruction set, versions of
    libraries and sampler."""
    device = next((tensor.device.type for tensor in model.state_dict().values()), "cpu")
    isa = torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name()
    # Images are compressed by zlib, whose versions differ in the bytes they write.
    packer = {"zlib": zlib.ZLIB_RUNTIME_VERSION} if model.encoding == "pixels" else {}
    made_by = {
        "sampling": SAMPLING,
        "encoding": model.encoding,
        "torch": torch.__version__,
        "pyarrow": pa.__version__,
    }
    told = packer | made_by | {"device": device, "isa": isa}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))
