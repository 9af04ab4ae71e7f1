"""A source seen before it is trained on: each column's kind, type, form, values, and what happens to it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from synthmill.config import DataConfig
from synthmill.data.columns import flat, from_float64, from_int64
from synthmill.data.forms.base import Form
from synthmill.data.forms.moment import MomentForm
from synthmill.data.forms.number import NumberForm
from synthmill.data.identifiers import write_ids
from synthmill.data.people import people_of
from synthmill.data.profile import ColumnProfile, TableProfile, profile_column
from synthmill.data.schema import ColumnRule, Rules
from synthmill.data.views import View, from_view, to_view, view_of, viewed_type
from synthmill.data.written import form_of
from synthmill.errors import DataError

FORMAT = "synthmill.inspection/1"
SHOWN_LEVELS = 4
SHOWN_COLUMNS = 60
WIDEST = 44
_HEAD = ("column", "kind", "type", "written as", "missing", "values", "what happens")


@dataclass(frozen=True)
class ColumnSeen:
    """One column; texts are for people, `schema` for a schema file."""

    name: str
    kind: str
    """Of the profile; `dropped`, or `?` where a person must decide."""
    type: str
    """Arrow type that it is learnt as."""
    form: str | None
    """An example of how values are written, where text stands for something else."""
    missing_rows: int
    values: str
    """Levels, or the range."""
    happens: str
    fault: str | None
    schema: dict[str, Any]
    """What a schema file would state to have it so."""


@dataclass(frozen=True)
class Inspection:
    """All columns, in the order of the source."""

    source: str
    rows: int
    columns: tuple[ColumnSeen, ...]
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """Of all columns at fault."""
        return tuple(column.fault for column in self.columns if column.fault is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "format": FORMAT,
            "source": self.source,
            "rows": self.rows,
            "columns": [asdict(column) for column in self.columns],
            "notes": list(self.notes),
            "faults": list(self.faults),
        }

    def to_schema(self) -> str:
        """The text of a schema file that states what was found, to be edited."""
        columns = {column.name: column.schema for column in self.columns if column.schema}
        return yaml.safe_dump({"columns": columns}, sort_keys=False, allow_unicode=True)

    def to_text(self) -> str:
        """A table for a terminal, then notes and faults, a line each."""
        rows = [_HEAD, *(_cells(column, self.rows) for column in self.columns[:SHOWN_COLUMNS])]
        widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        more = len(self.columns) - SHOWN_COLUMNS
        lines += [f"... and {more:,} more columns"] if more > 0 else []
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"fault: {fault}" for fault in self.faults]
        return "\n".join(lines)


def inspect_table(
    table: pa.Table,
    rules: Rules,
    config: DataConfig,
    *,
    faults: Mapping[str, str],
    notes: tuple[str, ...] = (),
) -> Inspection:
    """Every column of a conformed table, those at fault among them."""
    people = people_of(table, config.split.group) if config.split.group in table.column_names else None
    columns = []
    for field in table.schema:
        array = flat(table[field.name])
        view = view_of(array)
        fault = faults.get(field.name)
        column = None
        if fault is None:
            try:
                rule = rules.get(field.name, ColumnRule())
                column = profile_column(field.name, to_view(array, view), rule, config, people)
            except DataError as error:
                fault = str(error).removeprefix(f"{error.field}: ")
        columns.append(_seen(field, column, array.null_count, view, fault))
    dropped = [name for name, rule in rules.items() if rule.kind == "drop"]
    columns += [
        ColumnSeen(
            name, "dropped", "", None, 0, "", "left out, as the schema file says", None, {"kind": "drop"}
        )
        for name in dropped
    ]
    return Inspection(config.source, table.num_rows, tuple(columns), notes)


def inspect_profile(
    profile: TableProfile,
    schema: pa.Schema,
    views: Mapping[str, View],
    source: str,
    notes: tuple[str, ...] = (),
) -> Inspection:
    """The columns of a fitted codec, as its training rows have them."""
    columns = [
        _seen(schema.field(column.name), column, column.missing_rows, views.get(column.name), None)
        for column in profile.columns
    ]
    return Inspection(source, profile.rows, tuple(columns), notes)


def _seen(
    field: pa.Field, column: ColumnProfile | None, missing_rows: int, view: View | None, fault: str | None
) -> ColumnSeen:
    form = form_of(field)
    example = None if form is None else form.example
    kind = str(field.type)
    if column is None:
        return ColumnSeen(field.name, "?", kind, example, missing_rows, "", "stops the job", fault, {})
    seen = ColumnSeen(
        field.name, column.kind, kind, example, column.missing_rows, "", "", None, _schema(column, form)
    )
    if column.kind == "identifier":
        assert column.template is not None
        first = write_ids(column.template, pa.array([0]).to_numpy().astype("uint64"))[0].as_py()
        return replace(seen, values="all different", happens=f"made anew: {first}, ...")
    if column.kind == "constant":
        value = "always missing" if column.constant is None else str(column.constant)
        return replace(seen, values=value, happens="repeated")
    if column.levels:
        folded = f", {column.folded_rows:,} rows of rare values folded" if column.folded_rows else ""
        return replace(seen, values=_listed(list(column.levels)), happens=f"learnt as categories{folded}")
    texts = _texts(column, field, form, view, list(column.points[: SHOWN_LEVELS + 1]))
    if column.discrete:
        more = f" and {len(column.points) - SHOWN_LEVELS:,} more" if len(column.points) > SHOWN_LEVELS else ""
        return replace(seen, values=", ".join(texts[:SHOWN_LEVELS]) + more, happens="learnt as levels")
    low, high = _texts(column, field, form, view, [column.minimum, column.maximum])
    apart = f", {len(column.points):,} frequent values apart" if column.points else ""
    return replace(seen, values=f"{low} to {high}", happens=f"learnt as a curve{apart}")


def _texts(
    column: ColumnProfile, field: pa.Field, form: Form | None, view: View | None, numbers: list[Any]
) -> list[str]:
    """Numbers of a profile as the column writes them."""
    kind = viewed_type(field.type, view)
    if not numbers:
        return []
    array = (
        from_float64(pa.array(numbers, pa.float64()).to_numpy(), None, kind)
        if pa.types.is_floating(kind)
        else from_int64(pa.array(numbers, pa.int64()).to_numpy(), None, kind)
    )
    typed = from_view(array, view, field.type)
    if form is not None:
        texts: list[str] = form.write(typed).to_pylist()
        return texts
    if pa.types.is_duration(typed.type):
        return [f"{number} {typed.type.unit}" for number in numbers]
    if pa.types.is_floating(typed.type):
        return [f"{number:.6g}" for number in typed.cast(pa.float64()).to_pylist()]
    words = pc.cast(typed, pa.string())
    if pa.types.is_timestamp(typed.type):
        words = pc.replace_substring_regex(words, r"\.0+", "")
    shown: list[str] = words.to_pylist()
    return shown


def _schema(column: ColumnProfile, form: Form | None) -> dict[str, Any]:
    """What a schema file would state."""
    if column.kind == "constant":
        return {}
    rule: dict[str, Any] = {"kind": column.kind}
    if isinstance(form, MomentForm) and column.kind in ("date", "datetime"):
        rule["datetime_format"] = form.pattern.replace("%-", "%")
    if isinstance(form, NumberForm) and column.kind == "numeric":
        rule["decimal_mark"] = form.decimal
    return rule


def _listed(levels: list[str]) -> str:
    more = len(levels) - SHOWN_LEVELS
    return ", ".join(levels[:SHOWN_LEVELS]) + (f" and {more:,} more" if more > 0 else "")


def _cells(column: ColumnSeen, rows: int) -> tuple[str, ...]:
    missing = f"{column.missing_rows / max(1, rows):.1%}" if column.missing_rows else ""
    cells = (column.name, column.kind, column.type, column.form or "", missing, column.values, column.happens)
    return tuple(
        cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 3]}..." for cell in map(_one_line, cells)
    )


def _one_line(text: str) -> str:
    """Without what would break a terminal's line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def dumps(inspection: Inspection) -> str:
    """The JSON text."""
    return json.dumps(inspection.to_json(), indent=1, ensure_ascii=False)
