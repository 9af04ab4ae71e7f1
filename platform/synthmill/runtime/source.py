"""The real rows beside a trained model, as its artifact remembers them. No metrics: writers of rows need it
too."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synthmill.catalog.store import Store
from synthmill.config import DataConfig, parse_model
from synthmill.data.readers.base import load_rules, read_source, scan_source
from synthmill.data.scan.real import sample_sides
from synthmill.data.schema import ColumnRule
from synthmill.data.split import Split, SplitTables, open_split
from synthmill.data.written import as_learnt
from synthmill.generation.generator import Generator

SCANNED = "content-hash/1"
"""The rule by which sources that are read in blocks are split."""


def gates_name(given: str | None, generator: Generator) -> str:
    """The gates of a request, or else those of the model's recipe."""
    recipe: Any = generator.config["recipe"]
    return given if given is not None else str(recipe.get("gates", "default"))


def rules_of(store: Store, config: Mapping[str, Any]) -> Mapping[str, ColumnRule]:
    """What the schema file stated when the model was trained."""
    if "rules" in config:
        return {name: parse_model(ColumnRule, rule) for name, rule in config["rules"].items()}
    # Artifacts that don't say are older: the file is read again.
    return load_rules(parse_model(DataConfig, config["recipe"]["data"]), store.root.settings)


def source_tables(store: Store, generator: Generator) -> SplitTables:
    """The real rows a model was trained beside, split as they were then: all of them, or a keyed sample of
    each side where training read them in blocks.

    Raises:
        DataError: the source can't be read, or is not the one that was trained on.
    """
    config: dict[str, Any] = dict(generator.config)
    data = recorded_data(config)
    rules = rules_of(store, config)
    if was_scanned(config):
        scan = scan_source(data, store=store, rules=rules)
        return _learnt(sample_sides(scan, data, parse_model(Split, config["split"])), generator)
    source = read_source(data, store=store, rules=rules)
    # Text in a form (a date, a number with a unit) is compared as what it stands for.
    source = replace(source, table=as_learnt(source.table, generator.codec.typed_schema))
    return open_split(source, parse_model(Split, config["split"]))


def recorded_data(config: Mapping[str, Any]) -> DataConfig:
    """The `data:` section of the recipe that an artifact was trained by."""
    return parse_model(DataConfig, {**config["recipe"]["data"], "source": config["source"]["uri"]})


def was_scanned(config: Mapping[str, Any]) -> bool:
    """Whether training read the source in blocks."""
    # A source that is gone is told before anything else of an artifact that holds little.
    return bool(config.get("split", {}).get("rule") == SCANNED)


def sampled_note(real: SplitTables) -> str | None:
    """What a report says of sides that are samples; None: they are whole."""
    sides = {"train": real.train, "validation": real.validation, "holdout": real.holdout}
    shown = [
        f"{table.num_rows:,} of {real.split.counts[name]:,} {name} rows"
        for name, table in sides.items()
        if table.num_rows < real.split.counts[name]
    ]
    if not shown:
        return None
    return (
        f"the source is larger than what is compared: figures are against {', '.join(shown)}, drawn by a hash"
        " of the row's number; copies and identifiers of the other real rows are not seen"
    )


def _learnt(tables: SplitTables, generator: Generator) -> SplitTables:
    """The sides as they are compared."""
    schema = generator.codec.typed_schema
    return replace(
        tables,
        train=as_learnt(tables.train, schema),
        validation=as_learnt(tables.validation, schema),
        holdout=as_learnt(tables.holdout, schema),
    )
