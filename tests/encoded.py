"""Small encoded tables with a known dependence, and what training tests need besides."""

import json
from typing import Any

import torch

from synthmill.config import TrainingConfig
from synthmill.data.batch import Batch
from synthmill.data.layout import DiscreteSpan, MixedLayout, NumericSpan
from synthmill.errors import MissingError


def layout(rows: int = 2000) -> MixedLayout:
    """Two categories and one numeric column of five segments and one point mass."""
    return MixedLayout(
        discrete=(
            DiscreteSpan(column="a", role="category", width=3),
            DiscreteSpan(column="b", role="category", width=4),
            DiscreteSpan(column="x", role="segment", width=6),
        ),
        numeric=(NumericSpan(column="x", discrete=2, segments=5),),
        rows=rows,
    )


def table(rows: int = 2000, seed: int = 0) -> Batch:
    """b equals a in about nine rows of ten, x lies in segment 2a or 2a + 1 (5 is the point mass), its value
    is uniform."""
    draws = torch.Generator().manual_seed(seed)
    a = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), rows, True, generator=draws)
    b = torch.where(torch.rand(rows, generator=draws) < 0.9, a, torch.randint(4, (rows,), generator=draws))
    x = 2 * a + torch.randint(2, (rows,), generator=draws)
    value = torch.rand(rows, 1, generator=draws) * 2 - 1
    return Batch(codes=torch.stack([a, b, x], 1), values=torch.where(x.unsqueeze(1) < 5, value, 0.0))


def agreement(batch: Batch) -> float:
    """Share of rows with b = a: 0.93 in `table`, about 0.43 if the columns were independent."""
    return float((batch["codes"][:, 0] == batch["codes"][:, 1]).float().mean())


def settings(**fields: Any) -> TrainingConfig:
    """One thread, fp32, no clock."""
    return TrainingConfig(
        **{
            "precision": "fp32",
            "global_batch_rows": 100,
            "max_epochs": 2,
            "checkpoint_seconds": 1e9,
            **fields,
        }
    )


class MemoryFolder:
    """The few methods of a storage folder that checkpoints need, in a dict."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def write_bytes(self, path: str, data: bytes) -> None:
        self.files[path] = data

    def write_json(self, path: str, data: Any) -> None:
        self.files[path] = json.dumps(data).encode()

    def read_bytes(self, path: str) -> bytes:
        if path not in self.files:
            raise MissingError(f"{path}: there is no such file")
        return self.files[path]

    def read_json(self, path: str) -> Any:
        return json.loads(self.files[path])

    def exists(self, path: str) -> bool:
        return path in self.files

    def children(self) -> list[str]:
        return sorted({path.split("/")[0] for path in self.files if "/" in path})

    def delete_tree(self, prefix: str = "") -> None:
        self.files = {path: data for path, data in self.files.items() if not path.startswith(f"{prefix}/")}


class Records:
    """A reporter that keeps everything; `on_log` may raise or stop."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def log(self, record: Any) -> None:
        self.records.append(dict(record))
