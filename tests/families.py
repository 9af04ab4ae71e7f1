"""Tables that belong together, drawn at random with their schema, and generators for them that nobody has
trained: keys must hold whatever a model says."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.data.relations.database import Database, assemble
from synthmill.data.relations.schema import parse_tables_config
from synthmill.generation.families import Families
from synthmill.generation.family_plan import plan_families
from synthmill.generation.generator import Generator
from synthmill.library.frames import read_frame
from synthmill.training.artifact import Fitted, build_artifact
from synthmill.training.fit import fresh_model
from synthmill.training.tables import families_of, plan_tables

Tables = dict[str, pa.Table]


def assembled(tables: Tables, schema: dict[str, Any]) -> Database:
    """The tables as a database, checked; a third of the families is held out."""
    raw = {"name": "test", **schema, "tables": {name: schema["tables"].get(name, {}) for name in tables}}
    config = parse_tables_config(
        raw, ("model.config.embedding_dim=8", "model.config.hidden_dim=8"), name="test"
    )
    return assemble(
        config, lambda name, data, rules: read_frame(tables[name], data, field="data", rules=rules)
    )


def untrained(base: Database, *, scale: float = 1.0, seed: int = 0, stretch_rows: int = 65_536) -> Families:
    """Generators with the weights that training begins with."""
    tasks = plan_tables(base)
    generators = {}
    for task in tasks:
        weights = fresh_model(task.recipe, task.rows.codec.layout).state_dict()
        summary = {
            "steps": 0,
            "seconds": 0.0,
            "quality": None,
            "threads": 1,
            "precision": "fp32",
            "workers": 1,
        }
        artifact = build_artifact(task.recipe, task.rows, Fitted(weights, [], summary))
        generators[task.spec.name] = Generator.of(artifact, ref="test@1", digest="0")
    spec = families_of(tasks)
    plan = plan_families(spec, scale=scale, rows={}, seed=seed, stretch_rows=stretch_rows)
    return Families(spec, generators, plan)


@dataclass
class Drawn:
    """A random schema with its rows."""

    tables: Tables = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=lambda: {"tables": {}})
    keys: dict[str, list[str]] = field(default_factory=dict)


def draw_tables(seed: int, count: int) -> Drawn:
    """`count` tables: keys of numbers, texts and several columns or none, one to three parents each, some of
    them the table itself, some missing."""
    rng = np.random.default_rng(seed)
    made = Drawn()
    for number in range(count):
        name = f"t{number}"
        keyed = [other for other in made.tables if made.keys[other]]
        parents = list(rng.permutation(keyed)[: rng.integers(0, 3)]) if keyed else []
        rows = int(rng.integers(40, 120))
        columns: dict[str, Any] = {}
        relations = []
        for place, parent in enumerate(parents):
            at = rng.integers(0, made.tables[parent].num_rows, rows)
            missing = rng.random(rows) < (0.2 if rng.random() < 0.4 else 0.0)
            names = [f"{parent}_{key} {place}" for key in made.keys[parent]]
            for column, key in zip(names, made.keys[parent], strict=True):
                cells = made.tables[parent][key].combine_chunks().take(pa.array(at, mask=missing))
                columns[column] = cells
            relations.append({"columns": names, "table": str(parent)})
        style = rng.choice(["number", "text", "several", "none"] if number else ["number", "text", "several"])
        key = _key(style, rows, columns, relations, rng)
        if key and style == "number" and rng.random() < 0.5:
            above = np.array([rng.integers(0, max(1, row)) for row in range(rows)])
            top = rng.random(rows) < 0.3
            top[0] = True
            columns["above"] = columns[key[0]].take(pa.array(above, mask=top))
            relations.append({"columns": ["above"], "table": name})
        columns["value"] = pa.array(np.round(rng.normal(0, 1, rows), 3))
        columns["kind"] = pa.array(rng.choice(["a", "b", "c"], rows).tolist())
        made.tables[name] = pa.table(columns)
        made.keys[name] = key
        made.schema["tables"][name] = {"key": key, "foreign_keys": relations}
    return made


def _key(style: str, rows: int, columns: dict[str, Any], relations: list[Any], rng: Any) -> list[str]:
    if style == "none":
        return []
    if style == "number":
        kind = rng.choice([np.int32, np.int64])
        columns["id"] = pa.array((rng.permutation(rows) + int(rng.integers(0, 5))).astype(kind))
        return ["id"]
    if style == "text":
        columns["id"] = pa.array([f"K-{n:04d}" for n in rng.permutation(rows).tolist()])
        return ["id"]
    whole = [one for one in relations if not any(columns[c].null_count for c in one["columns"])]
    columns["line"] = pa.array(np.arange(rows))
    return [*(whole[0]["columns"] if whole else []), "line"]


def check_keys(made: Tables, schema: dict[str, Any], real: Tables) -> None:
    """Keys are unique and nobody's, foreign keys name rows and are missing only where real ones are, types
    are the source's, nobody is above himself."""
    for name, stated in schema["tables"].items():
        table, key = made[name], stated["key"]
        assert table.column_names == real[name].column_names
        assert [field.type for field in table.schema] == [field.type for field in real[name].schema]
        cells = list(zip(*(table[column].to_pylist() for column in key), strict=True))
        assert len(set(cells)) == len(cells)
        filled = {column for one in stated["foreign_keys"] for column in one["columns"]}
        if len(key) == 1 and not filled & set(key):
            assert not set(table[key[0]].to_pylist()) & set(real[name][key[0]].to_pylist())
        for one in stated["foreign_keys"]:
            own_key = schema["tables"][one["table"]]["key"]
            there = set(zip(*(made[one["table"]][column].to_pylist() for column in own_key), strict=True))
            rows = list(zip(*(table[column].to_pylist() for column in one["columns"]), strict=True))
            known = [row for row in rows if None not in row]
            assert set(known) <= there
            assert all(set(row) == {None} for row in rows if None in row)
            if not any(real[name][column].null_count for column in one["columns"]):
                assert len(known) == len(rows)
            if one["table"] == name:
                _check_above(table[key[0]].to_pylist(), table[one["columns"][0]].to_pylist())


def _check_above(keys: list[Any], above: list[Any]) -> None:
    up = dict(zip(keys, above, strict=True))
    for key in keys:
        at, steps = up[key], 0
        while at is not None and up[at] != at:
            at, steps = up[at], steps + 1
            assert steps <= len(keys)
