"""Write docs/recipes.md from the recipe's config models and from every model's own `Config`.

`make docs` runs it; with --check it writes nothing and exits 1 when the page is out of date.
"""

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

from synthmill import registry
from synthmill.config import FrozenModel, Recipe, shipped_recipes
from synthmill.data.schema import ColumnRule
from synthmill.models.base import GenerativeModel, model_class
from synthmill.training import choice

PAGE = Path(__file__).parent / "recipes.md"
LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
INTRODUCTION = """\
# Recipe reference

<!-- Written by docs/generate_reference.py; change the config models and run `make docs`. -->

A recipe is one YAML file with the keys below. Unknown keys are refused, with the closest known one in the message. A run is
a recipe, by path or by the name of one that ships with the package, and any number of overrides:

```bash
.venv/bin/python jobs/train.py table --set name=adult --set data.source=adult.csv --set training.max_epochs=100 --dry-run
```

`--dry-run` prints the resolved recipe and what the run would take, and stops. The resolved recipe is fingerprinted and saved with every output.
"""

SCHEMA_FILE = """\
## Schema file

`data.schema` names a YAML or JSON file that states what is known about columns; the rest is detected. Public bounds and
categories stated here are used instead of fitted ones. SDV metadata JSON is read too.

```yaml
columns:
  age: {kind: integer, minimum: 0, maximum: 120}
  ssn: {kind: drop}
```

"""
AUTO = f"""\
### `auto`

Chooses a model of tables once the rows are read and encoded, from their number, the columns and `training.max_seconds` alone, so that the
same rows and recipe always give the same choice:

1. fewer than {choice.LEAST_ROWS} training rows: `forest`;
2. `autoregressive`, if its training takes no longer than `training.max_seconds`, or nothing is said there. The time is
   {choice.START_SECONDS:g} s, and three times the operations of a forward pass for each row and pass at {choice.OPERATIONS_PER_SECOND:.0e} a second, which is meant for a slow core;
3. `autoregressive` with fewer passes, as many as there is time for, down to {choice.LEAST_SHARE:.0%} of the usual ones: its learning rate falls to 0 by the end,
   so a shorter training that is planned is better than a longer one that is cut off;
4. `forest`, from {choice.MANY_ROWS:,} rows on with leaves of {choice.LEAF_ROWS} rows: those of 10 copy more than the near-copy gate allows.

What was chosen and why is said before training (`--dry-run` prints it with the whole configuration) and stands in the model card and the manifest
(`details.choice`). The recipe that is saved with the model names the model and its configuration, so that training again is exact.
`synthmill tune` searches {" and ".join(f"`{name}`" for name in choice.FAMILIES)} together; what would be chosen is the default to beat. `tvae` and `ctgan` are never chosen: from
{choice.LEAST_ROWS} rows on `tvae` had the best utility on no table that was [measured](../benchmarks/README.md#what-auto-rests-on), and took 4 to 9 times as long.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    if shipped := shipped_recipes():
        parts.append(f"Shipped recipes: {', '.join(f'`{name}`' for name in shipped)}.\n")
    parts += [
        f"## {title}\n\n{summary}\n\n{table(schema, prefix)}"
        for title, summary, schema, prefix in recipe_sections()
    ]
    parts.append(SCHEMA_FILE + table(ColumnRule.model_json_schema(by_alias=True), "columns.NAME."))
    parts.append(
        "## Models\n\n`model.name` is one of these; `model.config` takes the keys of its table. The last"
        " column is the space that tuning searches.\n"
    )
    parts.append(AUTO)
    parts += [model_section(name) for name in registry.names("models")]
    return "\n".join(parts)


def recipe_sections() -> list[tuple[str, str, dict[str, Any], str]]:
    """(heading, first line of the docstring, JSON schema, key prefix) of the recipe and of every mapping
    inside it."""
    whole = Recipe.model_json_schema(by_alias=True)
    definitions = whole.pop("$defs", {})
    found: list[tuple[str, str, dict[str, Any], str]] = []

    def visit(title: str, schema: dict[str, Any], prefix: str) -> None:
        found.append((title, summary_of(schema.get("description", "")), schema, prefix))
        for key, field in schema["properties"].items():
            if target := field.get("$ref"):
                visit(f"`{prefix}{key}`", definitions[target.rpartition("/")[2]], f"{prefix}{key}.")

    visit("Top level", whole, "")
    return found


def model_section(name: str) -> str:
    """One model: what it is, what it can do, its hyper-parameters."""
    cls = model_class(name)
    lines = [
        f"### `{name}`",
        summary_of(inspect.getdoc(cls) or inspect.getdoc(inspect.getmodule(cls)) or ""),
        f"Reference: {' '.join(cls.reference.split())}",
        f"Makes: {', '.join(cls.modalities)}. Conditions: {condition_text(cls)}.",
        table(config_schema(cls.Config), "model.config."),
    ]
    return "\n\n".join(line for line in lines if line)


def condition_text(cls: type[GenerativeModel]) -> str:
    """What `sample` meets natively, in words."""
    return {
        "none": "by counted rejection",
        "label": "a class label natively",
        "columns": "one category natively, others by counted rejection",
        "any": "any columns natively",
    }[cls.conditions]


def config_schema(config: type[FrozenModel]) -> dict[str, Any]:
    """The JSON schema of a model's `Config`."""
    return config.model_json_schema(by_alias=True)


def table(schema: dict[str, Any], prefix: str) -> str:
    """The fields of one mapping, in the order they are declared; nested mappings have a table of their
    own."""
    required = set(schema.get("required", ()))
    searched = any("search" in field for field in schema.get("properties", {}).values())
    rows = [("key", "type", "default", "meaning", "search")]
    for key, field in schema.get("properties", {}).items():
        if "$ref" in field:
            continue
        default = "required" if key in required else f"`{json.dumps(field.get('default'))}`"
        rows.append(
            (
                f"`{prefix}{key}`",
                type_text(field),
                default,
                one_line(field.get("description", "")),
                search_text(field.get("search")),
            )
        )
    if len(rows) == 1:
        return "It has no keys of its own.\n" if not schema.get("properties") else ""
    width = 5 if searched else 4
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row[:width])} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:], ""])


def type_text(field: dict[str, Any]) -> str:
    """A field's type and limits, as a reader of YAML would say them."""
    if options := field.get("anyOf"):
        return " or ".join(type_text(option) for option in options)
    if choices := field.get("enum"):
        return " or ".join(f"`{choice}`" for choice in choices)
    if "const" in field:
        return f"`{field['const']}`"
    kind = {"object": "mapping", "array": "list", "null": "null"}.get(
        field.get("type", ""), field.get("type", "any")
    )
    items = field.get("items")
    if kind == "list" and isinstance(items, dict) and "type" in items:
        kind = f"list of {type_text(items)}s"
    limits = [f"{sign} {field[name]:g}" for name, sign in LIMITS.items() if name in field]
    pattern = [f"matching `{field['pattern']}`"] if "pattern" in field else []
    return " ".join([kind, ", ".join(limits + pattern)]).strip()


def search_text(space: dict[str, Any] | None) -> str:
    """A search space: a range or choices."""
    if space is None:
        return ""
    if choices := space.get("choices"):
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    return f"{space['low']:g} to {space['high']:g}" + (", log" if space.get("log") else "")


def summary_of(text: str) -> str:
    """The first paragraph."""
    return one_line(text.split("\n\n")[0])


def one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/recipes.md from the config models.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when the page is out of date"
    )
    page = reference()
    if not parser.parse_args().check:
        PAGE.write_text(page)
        return 0
    if PAGE.is_file() and PAGE.read_text() == page:
        return 0
    sys.stderr.write("docs/recipes.md is out of date: run `make docs` and commit it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
