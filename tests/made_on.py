"""Whether golden files were made on a machine that computes the same bits as this one."""

import json
from pathlib import Path

MAKER = "GenuineIntel"
"""Of the processors that the first golden files were made on, which do not state it."""


def maker() -> str:
    """Of this machine's processor, as it names itself; nothing where it does not."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("vendor_id")]
    return names[0] if names else ""


def is_same_class(now: str, then: str) -> bool:
    """Whether two compute classes promise the same bits; earlier ones do not tell how it was computed."""
    here, there = json.loads(now), json.loads(then)
    if "kernels" in there:
        return bool(here == there)
    return maker() == MAKER and {**here, "kernels": None} == {**there, "kernels": None}
