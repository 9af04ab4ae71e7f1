"""Shares of ones, over every part of the synthetic lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pyarrow as pa
import torch

from synthmill.evaluation.evidence.base import Evidence, Need, Page, Request
from synthmill.evaluation.tables import Tables, numbered, parts_of
from synthmill.metrics.base import Result
from toykind.data.readers.bits import COLUMN


@dataclass(frozen=True)
class Sides:
    """Shares by place."""

    train_W: torch.Tensor
    synthetic_W: torch.Tensor
    rows: int


class BitsEvidence(Evidence):
    """Lines of bits."""

    gates = "gates_bits.yaml"
    options: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[Mapping[str, Need]] = {}
    page = Page(
        heading="Synthetic lines of bits",
        tiles={"Fidelity": (("bits.share_difference", None),)},
        captions={},
        facts=lambda inputs: [f"{inputs['synthetic_rows']:,} lines"],
    )
    evidence: Sides

    def __init__(self, evidence: Sides, tables: Tables) -> None:
        self.evidence, self._tables = evidence, tables

    @classmethod
    def gather(cls, tables: Tables, request: Request) -> Self:
        given = tables.synthetic
        parts = parts_of(given) if isinstance(given, pa.Table) else list(given)
        loaded = parts if hasattr(parts[0], "load") else list(numbered(parts))
        synthetic = pa.concat_tables([part.load() for part in loaded])
        return cls(Sides(_shares(tables.train), _shares(synthetic), synthetic.num_rows), tables)

    @property
    def has_holdout(self) -> bool:
        return bool(self._rows(self._tables.holdout))

    def inputs(self) -> dict[str, Any]:
        return {
            "train_rows": self._tables.train.num_rows,
            "validation_rows": self._rows(self._tables.validation),
            "holdout_rows": self._rows(self._tables.holdout),
            "synthetic_rows": self.evidence.rows,
            "columns": {COLUMN: "bits"},
        }

    def _rows(self, table: pa.Table | None) -> int:
        return 0 if table is None else int(table.num_rows)

    def config(self) -> dict[str, Any]:
        return {}

    def warnings(self, results: Mapping[str, Result]) -> list[str]:
        return []


def _shares(table: pa.Table) -> torch.Tensor:
    return torch.tensor([[float(char) for char in line] for line in table[COLUMN].to_pylist()]).mean(0)
