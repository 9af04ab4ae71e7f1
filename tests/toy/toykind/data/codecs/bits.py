"""Lines of 0 and 1 as codes."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from synthmill.config import DataConfig, dump, parse_model
from synthmill.data.batch import Batch
from synthmill.data.codecs.base import Codec
from synthmill.data.layout import Layout
from synthmill.data.schema import NO_RULES, Rules
from toykind.data.readers.bits import COLUMN


class BitsLayout(Layout):
    """Bits in a line."""

    kind: Literal["bits"] = "bits"
    width: int


class BitsCodec(Codec):
    """Knows the width."""

    layout: BitsLayout
    schema = pa.schema([pa.field(COLUMN, pa.string())])

    def __init__(self, layout: BitsLayout) -> None:
        self.layout = layout

    @classmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> "BitsCodec":
        return cls(BitsLayout(rows=train.num_rows, width=len(train[COLUMN][0].as_py())))

    def encode(self, table: pa.Table) -> Batch:
        lines = [[int(char) for char in line] for line in table[COLUMN].to_pylist()]
        return Batch(codes=torch.tensor(lines, dtype=torch.int64).reshape(len(lines), self.layout.width))

    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        chars = np.where(batch["codes"].numpy() > 0, "1", "0")
        return pa.table({COLUMN: ["".join(line) for line in chars]}, schema=self.schema)

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"format": "synthmill.codec.bits/1", "layout": dump(self.layout)}, {}

    @classmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "BitsCodec":
        return cls(parse_model(BitsLayout, config["layout"]))
