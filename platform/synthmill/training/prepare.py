"""What happens before the first step, and needs no cluster and no store: a recipe is completed, its source
read and split, and the codec fitted on the training rows."""

from dataclasses import dataclass, replace
from typing import Any

from synthmill.config import AUTO, DataConfig, ModelConfig, Recipe, dump
from synthmill.data.codecs.base import Codec, codec_class
from synthmill.data.codecs.constrained import fit_codec
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.constrained_counts import ConstrainedCounts, counts_for, fit_counted_codec
from synthmill.data.readers.base import Source
from synthmill.data.rebuilding import check_rows, make_plan
from synthmill.data.scan.counts import Counts
from synthmill.data.scan.division import Divided, Sorter
from synthmill.data.scan.scan import Scan, Terms
from synthmill.data.sequences.check import check_fields, check_sequences
from synthmill.data.sequences.codec import SequenceCodec
from synthmill.data.sequences.constrained import ConstrainedSequences, check_within_rows
from synthmill.data.split import SplitTables, split_table
from synthmill.data.stated import with_stated
from synthmill.errors import RecipeError
from synthmill.models.base import model_class, parse_config
from synthmill.training.choice import FAMILIES, Choice, choose, encoding_of


@dataclass(frozen=True)
class Rows:
    """A source with what was decided about it."""

    source: Source
    """Of a scanned source: its columns without a row."""
    tables: SplitTables
    """Of a scanned source: a sample of each side that training reads, and none of the holdout."""
    codec: Codec
    divided: Divided | None = None
    """A scanned source: all of its rows are gone over block by block."""
    counted: dict[str, Any] | None = None
    """The summary of its train rows."""
    choice: Choice | None = None
    """Of a recipe that left the model to its rows."""

    @property
    def num_rows(self) -> int:
        """Of the source."""
        return sum(self.tables.split.counts.values())

    @property
    def train_rows(self) -> int:
        """Rows that training reads."""
        return self.tables.split.counts["train"]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the source was read, and of the model that was chosen for it."""
        return (*self.source.notes, *([self.choice.why] if self.choice is not None else []))

    def settled(self, recipe: Recipe) -> Recipe:
        """The resolved recipe with the model that was chosen for these rows, if it left that open."""
        return recipe if self.choice is None else recipe.model_copy(update={"model": self.choice.model})

    def summary(self, recipe: Recipe) -> dict[str, Any] | None:
        """Counts of the training rows for charts."""
        if self.divided is not None:
            return self.counted
        return self.codec.summary(self.tables.train, recipe.data.split.group)


SEQUENCE_MODEL = "autoregressive"
"""What `auto` is where `data.group_by` asks for sequences."""


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with the model's own defaults filled in; raises for an unknown model or hyper-parameter.

    `auto` stays open until there are rows: `Rows.settled`.
    """
    check_fields(recipe.data)
    if recipe.model.name == AUTO:
        if recipe.data.group_by is None:
            return _left_open(recipe)
        # Nothing else continues sequences.
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": SEQUENCE_MODEL})})
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
    # What the schema file states is written out too: the recipe that is saved must say all that rows meet.
    data = with_stated(recipe.data, recipe.storage).model_copy(update={"kind": kind})
    if data.constraints and not issubclass(codec_class(cls.encoding), MixedCodec):
        raise RecipeError(
            f"{recipe.model.name} learns {kind}s, which have no columns to constrain; leave them out",
            field="data.constraints",
        )
    if data.group_by is not None:
        data = _resolve_sequences(data, recipe.model.name)
    return recipe.model_copy(update={"model": model, "data": data})


def _resolve_sequences(data: DataConfig, name: str) -> DataConfig:
    """The data of a recipe about sequences, which stay on one side of the split."""
    check_within_rows(data)
    if not model_class(name).completes:
        raise RecipeError(
            f"{name} can't continue sequences, which data.group_by asks for; use model.name: autoregressive",
            field="model.name",
        )
    if data.stream == "always":
        raise RecipeError(
            "sequences are put in order in memory, and can't be read in blocks; leave it out",
            field="data.stream",
        )
    assert data.group_by is not None
    if data.split.group is not None or len(data.group_by) > 1:
        return data
    return data.model_copy(update={"split": data.split.model_copy(update={"group": data.group_by[0]})})


def _left_open(recipe: Recipe) -> Recipe:
    if recipe.model.config:
        raise RecipeError("auto sets them; name a model to set them yourself", field="model.config")
    kind = model_class(FAMILIES[0]).modalities[0]
    if recipe.data.kind not in ("auto", kind):
        raise RecipeError(
            f"auto chooses among models of {kind}s; name one that learns {recipe.data.kind}",
            field="model.name",
        )
    data = with_stated(recipe.data, recipe.storage).model_copy(update={"kind": kind})
    return recipe.model_copy(update={"data": data})


def prepare_rows(recipe: Recipe, source: Source) -> Rows:
    """Split the source of a resolved recipe and fit the codec on the train split.

    Raises:
        DataError: rows that can't be learnt; names the field and the fix.
    """
    if recipe.data.group_by is not None:
        return _prepare_sequences(recipe, source)
    # Before anything is fitted: the codec must see nothing of the other sides.
    config = recipe.data
    if config.constraints:
        plan = make_plan(config.constraints, source.table.schema, source.rules, config.split.group)
        check_rows(plan.constraints, source.table)
    tables = split_table(source.table, config.split, sha256=source.sha256)
    # Identifiers must be nobody's, those of validation and holdout rows included: the one thing that is
    # looked up in all rows, and no value of them stays in the codec.
    codec = fit_codec(encoding_of(recipe.model.name), tables.train, config, source.rules)
    fitted = codec.beside(source.table)
    return Rows(source, tables, fitted, choice=_choice(recipe, fitted, tables.train.num_rows))


def _choice(recipe: Recipe, codec: Codec, train_rows: int) -> Choice | None:
    return choose(codec.layout, train_rows, recipe.training) if recipe.model.name == AUTO else None


def _prepare_sequences(recipe: Recipe, source: Source) -> Rows:
    """The same for sequences: training reads a wide row for each row, with those before it."""
    config = recipe.data
    assert config.group_by is not None
    notes = check_sequences(source.table, config)
    fitting: type[SequenceCodec | ConstrainedSequences] = SequenceCodec
    if config.constraints:
        check_rows(make_plan(config.constraints, source.table.schema, source.rules).constraints, source.table)
        fitting = ConstrainedSequences
    keys = config.group_by if config.split.group is None else ()
    tables = split_table(source.table, config.split, sha256=source.sha256, keys=keys)
    codec = fitting.fit(tables.train, config, source.rules).beside(source.table)
    tables = replace(tables, train=codec.unroll(tables.train), validation=codec.unroll(tables.validation))
    return Rows(replace(source, notes=(*source.notes, *notes)), tables, codec)


def check_first_rows(recipe: Recipe, scan: Scan) -> None:
    """What is wrong with the recipe or the first rows of its source shows before all are gone over.

    Raises:
        DataError: names the field and the fix.
    """
    _sorter(recipe, scan, scan.probe())


def _sorter(recipe: Recipe, scan: Scan, terms: Terms) -> Sorter[Counts | ConstrainedCounts]:
    encoding = encoding_of(recipe.model.name)
    return Sorter(terms, recipe.data, counts_for(encoding, terms.sample, recipe.data, scan.rules))


def check_streamed(recipe: Recipe) -> None:
    """RecipeError for what can't be learnt of a source that is read in blocks."""
    if recipe.model.name != AUTO and model_class(recipe.model.name).copies_training_rows:
        raise RecipeError(
            f"{recipe.model.name} keeps every training row, and this source is read in blocks, as data.stream"
            " says; choose another model, or data.stream: never",
            field="model.name",
        )
    if recipe.data.group_by is not None:
        raise RecipeError(
            "the source takes more than half of the memory and would be read in blocks, and sequences are put"
            " in order in memory; set it to never to load it all the same",
            field="data.stream",
        )


def scan_rows(recipe: Recipe, scan: Scan) -> Rows:
    """Go over the source of a resolved recipe, divide it and fit the codec on its train rows.

    Raises:
        DataError: rows that can't be learnt; names the field and the fix.
    """
    config = recipe.data
    encoding = encoding_of(recipe.model.name)
    sorter = scan.settle(lambda terms: _sorter(recipe, scan, terms))
    divided = sorter.divided(scan)
    train, counts = divided.train_sample, sorter.counts
    assert counts is not None, "the sorter was given some"
    codec = fit_counted_codec(encoding, train, counts, config, scan.rules)
    fitted = codec.beside_all(divided.column)
    empty = scan.schema.empty_table()
    tables = SplitTables(train, divided.validation_sample, empty, divided.split)
    how = (
        f"{scan.uri} is read in blocks: types were decided on {scan.sample.num_rows:,} of its"
        f" {scan.num_rows:,} rows, curves on the {train.num_rows:,} train rows among them"
    )
    notes = [how, *scan.notes]
    train_rows = divided.split.counts["train"]
    choice = _choice(recipe, fitted, train_rows)
    name = recipe.model.name if choice is None else choice.model.name
    model = model_class(name)
    if model.most_fitted_rows is not None and train_rows > model.most_fitted_rows:
        some = f"{model.most_fitted_rows:,} of the {train_rows:,} train rows"
        notes.append(f"{name} is fitted on {some}, one of each stretch of equal length")
    source = Source(empty, scan.sha256, scan.uri, scan.rules, tuple(notes))
    return Rows(source, tables, fitted, divided, fitted.summary_counted(train, counts), choice)
