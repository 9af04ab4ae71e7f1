"""Whether golden files were made on a machine that computes the same bits as this one."""

import json
from pathlib import Path

MAKER = "GenuineIntel"
"""Of the processors that golden losses were made on which do not state it: others round a step otherwise."""


def maker() -> str:
    """Of this machine's processor, as it names itself; nothing where it does not."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("vendor_id")]
    return names[0] if names else ""


def is_same_class(now: str, then: str) -> bool:
    """Whether two compute classes promise the same bits. Earlier ones do not tell what kernels were used; the
    samples that were kept of theirs came out the same on processors of both makers."""
    here, there = json.loads(now), json.loads(then)
    there.setdefault("kernels", here["kernels"])
    return bool(here == there)
