"""The real rows beside a trained model, as its artifact remembers them. No metrics: writers of rows need it
too."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synthmill.catalog.store import Store
from synthmill.config import DataConfig, parse_model
from synthmill.data.readers.base import load_rules, read_source
from synthmill.data.schema import ColumnRule
from synthmill.data.split import Split, SplitTables, open_split
from synthmill.data.written import as_learnt
from synthmill.generation.generator import Generator


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
    """The real rows a model was trained beside, split as they were then.

    Raises:
        DataError: the source can't be read, or is not the one that was trained on.
    """
    config: dict[str, Any] = dict(generator.config)
    data = parse_model(DataConfig, {**config["recipe"]["data"], "source": config["source"]["uri"]})
    source = read_source(data, store=store, rules=rules_of(store, config))
    # Text in a form (a date, a number with a unit) is compared as what it stands for.
    source = replace(source, table=as_learnt(source.table, generator.codec.typed_schema))
    return open_split(source, parse_model(Split, config["split"]))
