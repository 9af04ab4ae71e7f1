"""The card of a model of several tables, in Markdown with Hugging Face front matter."""

from collections.abc import Sequence

from synthmill.data.relations.database import Database
from synthmill.training.tables import Task

_ROLES = {
    "owner": "rows are generated for each row of it",
    "chosen": "one of its rows is chosen",
    "follows": "as the owner's families have it",
    "self": "a row one level above",
}


def tables_card(base: Database, tasks: Sequence[Task], notes: Sequence[str]) -> str:
    """Tables, relations and what was decided; no data values but those that notes name."""
    tables, relations = [], []
    for task in tasks:
        spec, counts = task.spec, task.rows.tables.split.counts
        sides = ", ".join(f"{rows:,} {side}" for side, rows in counts.items())
        key = ", ".join(spec.key) or "none"
        tables.append(f"| {_cell(spec.name)} | {spec.rows:,} | {_cell(key)} | {sides} |")
        for one in spec.relations:
            told = ", ".join(f"{column.table}.{column.source}" for column in one.contexts) or "nothing"
            names = _cell(f"{spec.name}.{', '.join(one.columns)}")
            relations.append(f"| {names} | {_cell(one.parent)} | {_ROLES[one.role]} | {_cell(told)} |")
    decided = [*notes, *(f"{task.spec.name}: {note}" for task in tasks for note in own_notes(task))]
    lines = "\n".join(f"- {' '.join(note.split())}" for note in decided) or "- nothing that needed a note"
    return "\n".join(
        [
            "---",
            "library_name: synthmill",
            f"tags: [synthetic-data, table, several-tables, {base.config.model.name}]",
            "---",
            f"# {base.config.name}",
            "",
            f"A `{base.config.model.name}` generator for each of {len(tasks)} tables that belong together.",
            "Keys are made anew; families of rows stood on one side when rows were divided.",
            "",
            "## Tables",
            "| table | rows | key | rows by side |",
            "| --- | --- | --- | --- |",
            *tables,
            "",
            "## Relations",
            "| foreign key | table | how it is filled | what rows are told by |",
            "| --- | --- | --- | --- |",
            *relations,
            "",
            "## What was decided",
            lines,
            "",
            "Rows chosen from a further parent may have been on another side than the rows that chose them.",
            "A synthetic table is not private because it is synthetic: evaluate it before it is shared.",
            "",
        ]
    )


def own_notes(task: Task) -> list[str]:
    """What a codec decided about the table's own columns."""
    hidden = [column.name for one in task.spec.relations for column in one.contexts]
    return [note for note in task.rows.codec.notes if not any(repr(name) in note for name in hidden)]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
