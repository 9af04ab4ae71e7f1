"""What every codec does: rows of a source to the tensors that a model reads, and back.

One file an encoding, found by its name: a model says `encoding = "mixed"`, and `mixed.py` is its codec. Kinds
of data can share an encoding. What only some codecs can answer has a default here, so that no caller asks
which codec it holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from synthmill import registry
from synthmill.config import DataConfig
from synthmill.data.batch import Batch, Condition
from synthmill.data.columns import Bool, UInt64
from synthmill.data.constraints.base import Constraint
from synthmill.data.inspection import Inspection
from synthmill.data.layout import Layout, MixedLayout
from synthmill.data.origin import Form
from synthmill.data.places import Places
from synthmill.data.profile import ColumnProfile, TableProfile
from synthmill.data.records import Columns
from synthmill.data.resolution import COARSE, Resolution
from synthmill.data.scan.counts import Counts
from synthmill.data.schema import NO_RULES, Rules
from synthmill.errors import DataError

if TYPE_CHECKING:
    from synthmill.data.sequences.steps import Steps

FOLDER = "data/codecs"


@dataclass(frozen=True)
class ColumnSpan:
    """One column's place in a batch of codes and values."""

    span: int
    """Of its codes."""
    value: int | None
    """Of its place inside a bin; None: it has none."""
    bins: int
    """Codes below it are bins."""
    blank: Batch
    """A row for each of its codes, in order; everything else in it is 0."""


FILE_NAMES = {"tabular": "mixed"}
"""Encodings that `codec.json` names otherwise, as its first version did."""
COMPOSED = {
    "sequences": ("data/sequences", "codec"),
    "constrained_sequences": ("data/sequences", "constrained"),
}
"""Folder and file of codecs that are made of another one, which a recipe asks for and no model does."""


class Codec(ABC):
    """Fitted on training rows alone; its files hold no training row."""

    layout: Layout
    schema: pa.Schema
    """Columns of decoded tables: the source's, in its order and types."""
    notes: tuple[str, ...] = ()
    """What a person should know of how columns are learnt, once fitted; holds no value that few rows
    share."""
    profile: TableProfile | None = None
    """What is known of each column, for codecs that learn columns one by one."""
    constraints: tuple[Constraint, ...] = ()
    """What holds in every row, as the recipe states it."""
    unique: tuple[Constraint, ...] = ()
    """Those of unique columns whose values could repeat."""
    checked: tuple[Constraint, ...] = ()
    """Those that `accepts` checks."""
    resolution: ClassVar[Resolution] = COARSE
    """How finely numbers are told apart, which decides what is counted of a source on disk."""
    steps: "Steps | None" = None
    """How a row follows from those before it, where whole sequences are generated; their rows are decoded
    together, and `first_row` and `id_rooms` count sequences. None: rows stand for themselves."""
    incomparable: ClassVar[str] = "can't be compared"
    """Why a condition can't read a column that is not among `condition_columns`."""

    @classmethod
    @abstractmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> "Codec":
        """Fit on training rows; `rules` are what the schema file states, by column.

        Raises:
            DataError: rows that can't be learnt; one line that names the field and the fix.
        """

    @classmethod
    def fit_scanned(cls, sample: pa.Table, counts: Counts, config: DataConfig, rules: Rules) -> "Codec":
        """Fit on what was counted of all training rows, and on a sample of them where an order is needed.

        Raises:
            DataError: as `fit`.
        """
        return cls.fit(sample, config, rules)

    def summary_counted(self, sample: pa.Table, counts: Any) -> dict[str, Any] | None:
        """As `summary`, of what was counted of all training rows."""
        return None

    def beside_all(self, identifiers: Callable[[str], Iterable[pa.Array]]) -> "Codec":
        """As `beside`, where the column of all rows comes in parts, as often as it is asked for."""
        return self

    def record_layout(self) -> MixedLayout:
        """The layout of encoded rows as records on disk, for codecs whose sources can be read in blocks."""
        raise NotImplementedError

    def places(self, sample: pa.Table) -> dict[int, Places]:
        """Of the numeric spans whose columns can hold few different cells, all of the sample's among them:
        what each of these is encoded as."""
        return {}

    def columns(self, table: pa.Table, placed: Collection[int] = ()) -> Columns:
        """As `encode`, column by column; of the `placed` numeric spans, the places. Text may be
        dictionary-encoded, and columns without codes left out.

        Raises:
            UnevenError: a cell of such a column is none of its places.
        """
        raise NotImplementedError

    @property
    def form(self) -> Form:
        """How decoded rows are published; by default as they are."""
        return Form(self.schema)

    @abstractmethod
    def encode(self, table: pa.Table) -> Batch:
        """What a model trains on, from rows with the columns that the codec was fitted on."""

    @abstractmethod
    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        """Rows as `schema` says. A row depends on its own codes and noise alone, except for identifiers,
        which follow `first_row`, the number of the batch's first row in the whole output."""

    @abstractmethod
    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """`codec.json` (with `format: synthmill.codec.<encoding>/<n>`) and the tensors of
        `codec.safetensors`."""

    @classmethod
    @abstractmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Codec":
        """The codec that `to_files` described; an unknown newer format is refused by name."""

    def pack(self, batch: Batch) -> Batch:
        """Generated rows in the form in which they are kept until they are decoded; the smaller, the more
        rows fit into memory."""
        return batch

    def libraries(self) -> dict[str, str]:
        """Libraries, with versions, that the bytes of decoded cells depend on; part of the compute class."""
        return {}

    @property
    def typed_schema(self) -> pa.Schema:
        """Columns as they are learnt and compared: text that is written in a form is the number or date it
        stands for, and its field carries the form."""
        return self.schema

    def read(self, table: pa.Table) -> pa.Table:
        """Rows that are written as `schema` says, as `typed_schema` says."""
        return table

    def condition_table(self, batch: Batch) -> pa.Table:
        """The columns that a condition can read, without the cost of the others; by default all."""
        return self.decode(batch, first_row=0)

    def condition_columns(self) -> list[str]:
        """Names of the columns that a condition can read: those that hold one value a cell."""
        return [field.name for field in self.schema if not pa.types.is_nested(field.type)]

    def condition(self, column: str, value: str) -> Condition | None:
        """What tells a model that `column` equals `value`; None when no single code means exactly that."""
        return None

    def column_span(self, column: str) -> ColumnSpan | None:
        """Where a column stands in a batch, if one code says all of its value but for a place inside it."""
        return None

    def encode_known(self, table: pa.Table, *, field: str) -> tuple[Batch, Tensor]:
        """Codes of all columns of rows that lack some columns or cells, and which codes are known, bool
        (rows, spans). Only asked where a model `completes`.

        Raises:
            DataError: a column that is not the codec's, or whose cells are of another type; names `field`.
        """
        raise NotImplementedError

    def decode_known(self, batch: Batch, table: pa.Table, *, first_row: int, field: str) -> pa.Table:
        """As `decode`, of rows that were drawn given the cells of `table`: what is rebuilt from known cells
        is rebuilt from those themselves, not from what their codes say."""
        return self.decode(batch, first_row=first_row)

    def missing_codes(self, columns: Collection[str]) -> dict[int, int]:
        """The code of a missing cell by the spans of those columns that can miss one."""
        return {}

    def learnt_columns(self) -> list[str]:
        """Names of the columns that have codes; others are constant or made anew."""
        return []

    def levels(self, column: str) -> list[str] | None:
        """The values of a categorical or boolean column, as text; None for any other column."""
        return None

    def count_levels(self, column: str, array: pa.Array) -> list[int]:
        """How often each of `levels(column)` stands in the rows of a source; other values count for none."""
        return []

    def column_info(self, column: str) -> ColumnProfile | None:
        """Kind, bounds and point masses of a column; None where the codec does not know them."""
        return None

    def accepts(self, table: pa.Table) -> Bool | None:
        """Which rows (N,) of a `condition_table` meet the constraints that are not met by construction; None:
        all do."""
        return None

    def tuples(self, table: pa.Table) -> list[tuple[UInt64, Bool]]:
        """For each of `unique`: a hash of each row's values (N,),
        and which rows count."""
        return []

    def holds(self, table: pa.Table) -> Bool:
        """Which rows (N,) of typed cells, wherever they come from, meet all constraints but that of being
        unique."""
        return np.ones(table.num_rows, dtype=bool)

    def beside(self, real: pa.Table) -> "Codec":
        """The same codec, whose generated identifiers are none of those in `real`, all rows of the source.
        Only where numbers are free is kept of them."""
        return self

    def first_free_id(self, real: pa.Table, rows: int) -> int:
        """The row number from which `rows` identifiers in a row are none of those in `real`."""
        return 0

    def id_rooms(self) -> list[tuple[str, int]]:
        """For each column of identifiers: its name, and how many its type has room for."""
        return []

    def inspect(self, source: str) -> Inspection | None:
        """What becomes of each column, as the training rows have it; None where there is nothing to tell."""
        return None

    def summary(self, train: pa.Table, group: str | None) -> dict[str, Any] | None:
        """Counts of the training rows for charts, JSON data; `group` is the column whose equal values are one
        person's rows. None: there is nothing to draw."""
        return None


def codec_class(encoding: str) -> type[Codec]:
    """The codec of a model's `encoding`."""
    return registry.load(FOLDER, encoding, Codec, field="model.encoding")


def codec_from_files(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Codec:
    """The codec of an artifact, by the encoding in its `format`."""
    name = str(config["format"]).split("/")[0].rsplit(".", 1)[-1]
    folder, file = COMPOSED.get(name, (FOLDER, FILE_NAMES.get(name, name)))
    return registry.load(folder, file, Codec, field="codec.json").from_files(config, tensors)


def as_type(array: pa.Array, column: pa.Field, field: str) -> pa.Array:
    """The cells in the type that the model learnt; NaN, as data frames write missing numbers, is missing.

    Raises:
        DataError: cells of another type; names `field`.
    """
    try:
        floats = pa.types.is_floating(array.type)
        array = pc.if_else(pc.is_nan(array), None, array) if floats else array
        return array.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"column {column.name!r} holds {array.type} that is no {column.type}, which the model learnt",
            field=field,
        ) from None
