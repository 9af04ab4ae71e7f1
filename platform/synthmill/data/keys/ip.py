"""IP addresses from ranges that nobody is given: class E (RFC 1112, section 4) for version 4, the prefix for
documentation (RFC 3849) for version 6."""

import ipaddress
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key
from synthmill.data.numbering import Numbering, free_numbering

CLASS_E = int(ipaddress.IPv4Address("240.0.0.0"))
CLASS_E_SIZE = 2**28 - 1
DOCUMENTATION = int(ipaddress.IPv6Address("2001:db8::"))


class Ip(Key):
    """`240.0.0.5` or `2001:db8::5`, as most real ones are."""

    kind: Literal["ip"] = "ip"
    version: Literal[4, 6]
    numbering: Numbering
    pattern: ClassVar[str] = r"(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]+"

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Ip":
        six = pc.sum(pc.match_substring(real, ":")).as_py() or 0
        version: Literal[4, 6] = 6 if 2 * six > len(real) else 4
        base = CLASS_E if version == 4 else DOCUMENTATION
        taken = [number - base for text in real.to_pylist() if (number := _number(text, version)) is not None]
        # Only real addresses that stand in the unassigned range themselves leave less room.
        inside = np.array([offset for offset in taken if 0 <= offset < CLASS_E_SIZE], dtype=np.int64)
        return cls(version=version, numbering=free_numbering(inside, CLASS_E_SIZE))

    def write(self, rows: UInt64) -> pa.Array:
        offsets = self.numbering.of(rows).tolist()
        if self.version == 4:
            # Past 268 million rows the range is used up; version 6 has room for ever.
            return pa.array(
                [str(ipaddress.IPv4Address(CLASS_E + n)) if n < CLASS_E_SIZE else _six(n) for n in offsets],
                pa.string(),
            )
        return pa.array([_six(n) for n in offsets], pa.string())


def _six(offset: int) -> str:
    return str(ipaddress.IPv6Address(DOCUMENTATION + offset))


def _number(text: str, version: int) -> int | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return int(address) if address.version == version else None
