"""What happens before the first step, and needs no cluster and no store: a recipe is completed, its source
read and split, and the codec fitted on the training rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.config import ModelConfig, Recipe, dump
from synthmill.data.codecs.base import Codec, codec_class
from synthmill.data.readers.base import Source
from synthmill.data.split import SplitTables, split_table
from synthmill.errors import RecipeError
from synthmill.models.base import model_class, parse_config


@dataclass(frozen=True)
class Streamed:
    """What stands for the rows of a source that is read in a stream."""

    train_tables: Callable[[], Iterator[pa.Table]]
    """All training rows in the order of the source, some at a time; can be called again."""
    summary: dict[str, Any] | None = None
    """What the codec says of all training rows (`Codec.summary`)."""


@dataclass(frozen=True)
class Rows:
    """A source with what was decided about it."""

    source: Source
    tables: SplitTables
    """All rows, or samples of each side where the source is streamed; the counts are those of all rows."""
    codec: Codec
    streamed: Streamed | None = None

    @property
    def num_rows(self) -> int:
        """Of the whole source."""
        return sum(self.tables.split.counts.values())

    @property
    def train_rows(self) -> int:
        """All that are trained on."""
        return self.tables.split.counts["train"]


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with the model's own defaults filled in; raises for an unknown model or hyper-parameter."""
    cls = model_class(recipe.model.name)
    config = parse_config(recipe.model.name, recipe.model.config)
    kind = cls.modalities[0] if recipe.data.kind == "auto" else recipe.data.kind
    if kind not in cls.modalities:
        raise RecipeError(
            f"{recipe.model.name} learns {cls.modalities[0]}, not {kind}; choose another model or `auto`",
            field="data.kind",
        )
    # Written out in full: a default that a later version changes must not change an old recipe.
    model = ModelConfig(name=recipe.model.name, config=dump(config))
    return recipe.model_copy(update={"model": model, "data": recipe.data.model_copy(update={"kind": kind})})


def prepare_rows(recipe: Recipe, source: Source) -> Rows:
    """Split the source of a resolved recipe and fit the codec on the train split.

    Raises:
        DataError: rows that can't be learnt; names the field and the fix.
    """
    # Before anything is fitted: the codec must see nothing of the other sides.
    tables = split_table(source.table, recipe.data.split, sha256=source.sha256)
    codec = codec_class(model_class(recipe.model.name).encoding)
    fitted = codec.fit(tables.train, recipe.data, source.rules)
    # Identifiers must be nobody's, those of validation and holdout rows included: the one thing that is
    # looked up in all rows, and no value of them stays in the codec.
    return Rows(source, tables, fitted.beside(source.table))
