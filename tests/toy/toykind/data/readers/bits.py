"""A kind of data that synthmill does not know: a text file of lines such as `0110`."""

import hashlib
from pathlib import Path

import pyarrow as pa

from synthmill.catalog.store import Store
from synthmill.config import DataConfig
from synthmill.data.readers.base import FIELD, Reader, Source
from synthmill.data.schema import Rules
from synthmill.errors import DataError

COLUMN = "bits"


class BitsReader(Reader):
    """Lines of equal length."""

    def read(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Source:
        text = Path(config.source).read_text()
        lines = text.split()
        if len({len(line) for line in lines}) != 1 or set(text) - set("01\n"):
            raise DataError(
                f"{config.source} does not hold lines of as many 0 and 1; mend the file", field=FIELD
            )
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Source(pa.table({COLUMN: lines}), digest, config.source)
