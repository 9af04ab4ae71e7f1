"""What every codec does: rows of a source to tensors a model reads, and back. One file a modality, found by
its name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from torch import Tensor

from synthmill import registry
from synthmill.config import DataConfig
from synthmill.data.batch import Batch
from synthmill.data.layout import MixedLayout, PixelLayout
from synthmill.data.origin import Form


class Codec(ABC):
    """Fitted on training rows alone; its files hold no training row."""

    layout: MixedLayout | PixelLayout
    schema: pa.Schema
    """Columns of decoded tables: the source's, in its order and types."""

    @property
    def form(self) -> Form:
        """How decoded rows are published: by default as they are."""
        return Form(self.schema)

    @abstractmethod
    def encode(self, table: pa.Table) -> Batch:
        """What a model trains on, from rows with the columns that the codec was fitted on."""

    @abstractmethod
    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        """Rows as `schema` says. A row depends on its own codes and noise alone, except for identifiers,
        which follow
        `first_row`, the number of the batch's first row in the whole output."""

    def conditions(self, batch: Batch) -> pa.Table:
        """The columns that a condition can look at, without the cost of the others; by default all."""
        return self.decode(batch, first_row=0)

    @abstractmethod
    def code_of(self, column: str, value: str) -> tuple[int, int] | None:
        """(discrete span, code) that says `column == value`; None when no single code does."""

    @abstractmethod
    def levels(self, column: str) -> list[str] | None:
        """The values of a categorical or boolean column, as text; None for any other column."""

    @abstractmethod
    def count_levels(self, column: str, array: pa.Array) -> list[int]:
        """How often each of `levels(column)` stands in the rows of a source; values that are none of them
        count for none."""

    @abstractmethod
    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """`codec.json` (with `format: synthmill.codec.<file name>/<n>`) and the tensors of
        `codec.safetensors`."""

    @classmethod
    @abstractmethod
    def from_files(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> "Codec":
        """The codec that `to_files` described; an unknown newer format is refused by name."""


def fit_codec(train: pa.Table, config: DataConfig, rules: Mapping[str, Any]) -> Codec:
    """The codec of the recipe's kind of data, fitted on the training rows alone."""
    name = "pixels" if config.kind == "images" else "tabular"
    cls: Any = registry.load("data", name, Codec, field="data.kind")
    fitted: Codec = cls.fit(train, config, rules)
    return fitted


def codec_from_files(config: dict[str, Any], tensors: dict[str, Tensor]) -> Codec:
    """The codec of an artifact, by the file name in its `format`."""
    name = str(config["format"]).split("/")[0].rsplit(".", 1)[-1]
    cls: type[Codec] = registry.load("data", name, Codec, field="codec.json")
    return cls.from_files(config, tensors)
