"""What happens before the first step, and needs no cluster and no store: a recipe is completed, its source
read and split, and the codec fitted on the training rows."""

from dataclasses import dataclass

from synthmill.config import ModelConfig, Recipe, dump
from synthmill.data.codecs.base import Codec, codec_class
from synthmill.data.readers.base import Source
from synthmill.data.split import SplitTables, split_table
from synthmill.errors import RecipeError
from synthmill.models.base import GenerativeModel, model_class, parse_config


@dataclass(frozen=True)
class Rows:
    """A source with what was decided about it."""

    source: Source
    tables: SplitTables
    codec: Codec


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with the model's own defaults filled in; raises for an unknown model or hyper-parameter."""
    cls = model_class(recipe.model.name)
    config = parse_config(recipe.model.name, recipe.model.config)
    return recipe.model_copy(
        update={
            "model": ModelConfig(name=recipe.model.name, config=dump(config)),
            "data": recipe.data.model_copy(update={"kind": _kind(recipe, cls)}),
        }
    )


def prepare_rows(recipe: Recipe, source: Source) -> Rows:
    """Split the source of a resolved recipe and fit the codec on the train split.

    Raises:
        DataError: rows that can't be learnt; names the field and the fix.
    """
    tables = split_table(source.table, recipe.data.split, sha256=source.sha256)
    codec = codec_class(model_class(recipe.model.name).encoding)
    fitted = codec.fit(tables.train, recipe.data, source.rules)
    # Identifiers must be nobody's, those of validation and holdout rows included: the one thing that is
    # looked up in all rows, of which no value is kept.
    return Rows(source, tables, fitted.beside(source.table))


def _kind(recipe: Recipe, cls: type[GenerativeModel]) -> str:
    """What the model learns; RecipeError when the recipe says that the source holds something else."""
    learnt = cls.modalities
    if recipe.data.kind == "auto":
        return learnt[0]
    if recipe.data.kind not in learnt:
        raise RecipeError(
            f"{recipe.model.name} learns {learnt[0]}, not {recipe.data.kind}; choose another model or `auto`",
            field="data.kind",
        )
    return recipe.data.kind
