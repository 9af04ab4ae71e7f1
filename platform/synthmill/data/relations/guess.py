"""Keys and foreign keys that a schema leaves out, by names and values. Whoever guesses says so: every guess
comes with a line of its reasons."""

import re
from collections.abc import Mapping

import pyarrow as pa

from synthmill.data.identifiers import has_id_name
from synthmill.data.relations.cells import comparable, family, places, repeated
from synthmill.data.relations.schema import ForeignKey

_ABOVE = ("parent", "manager", "boss", "supervisor", "reportsto", "replyto", "mentor", "chief", "lead")
"""What columns are called that name another row of their own table."""
_ENDINGS = ("", "id", "key", "no", "nr", "number", "code")


def guess_key(name: str, tables: Mapping[str, pa.Table]) -> tuple[tuple[str, ...], str]:
    """The column that looks most like a table's key, or none, and a line that says so."""
    table = tables[name]
    endings = ("", "id", "key", "no", "code", "uuid")
    own = {_plain(word) + ending for word in _forms(name) for ending in endings}
    named = [column for column in table.column_names if _plain(column) in {*own, "id", "uuid", "key"}]
    first = [column for column in table.column_names[:1] if has_id_name(column)]
    for column in dict.fromkeys([*named, *first]):
        if _tells_apart(table, column):
            reason = "by its name, and no value comes twice"
            return (column,), f"{name}: {column!r} is taken for its key ({reason})"
    for column in table.column_names:
        others = [other for other in tables if other != name and column in tables[other].column_names]
        if others and _tells_apart(table, column) and all(_holds(table, tables[o], column) for o in others):
            reason = f"no value comes twice, and those of {', '.join(others)} are all in it"
            return (column,), f"{name}: {column!r} is taken for its key ({reason})"
    return (), f"{name}: no column looks like a key; state `key` where there is one"


def _tells_apart(table: pa.Table, column: str) -> bool:
    if family(table[column]) not in ("whole numbers", "text"):
        return False
    cells = comparable(table, [column])
    return not cells.null_count and not len(repeated(cells))


def _holds(table: pa.Table, other: pa.Table, column: str) -> bool:
    """Whether all of the other table's cells are in the table's column, and more than one comes twice."""
    cells = comparable(other, [column])
    index = places(cells, comparable(table, [column]))
    return bool((index != -2).all() and (index >= 0).any() and len(repeated(cells)) > 1)


def guess_foreign_keys(
    name: str, tables: Mapping[str, pa.Table], keys: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[ForeignKey, ...], list[str]]:
    """The columns of a table that look like keys of others, and a line for each."""
    found, notes = [], []
    table = tables[name]
    for column in table.column_names:
        if family(table[column]) not in ("whole numbers", "text"):
            continue
        for parent in _named_by(column, name, keys):
            (key,) = keys[parent]
            if (name, column) == (parent, key) or family(table[column]) != family(tables[parent][key]):
                continue
            index = places(comparable(table, [column]), comparable(tables[parent], [key]))
            there, away = int((index >= 0).sum()), int((index == -2).sum())
            # Some values without a row there are a fault of the rows, which is told; many, another column.
            if there > away:
                found.append(ForeignKey(columns=(column,), table=parent))
                how_many = f"all {there:,}" if not away else f"{there:,} of {there + away:,}"
                notes.append(
                    f"{name}: {column!r} is taken for a key of {parent!r} (by its name, and {how_many} values"
                    f" are in {key!r} there)"
                )
                break
        else:
            if has_id_name(column) and column not in keys[name]:
                notes.append(
                    f"{name}: {column!r} is called like a key but is taken for none of another table; state"
                    " `foreign_keys` if it is one"
                )
    return tuple(found), notes


def _named_by(column: str, own: str, keys: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The tables that a column's name may mean, the likeliest first."""
    plain, likely = _plain(column), []
    for table, key in keys.items():
        if len(key) != 1:
            continue
        words = {_plain(word) + ending for word in _forms(table) for ending in _ENDINGS}
        # A key of a name of its own (`sku`) is called the same elsewhere.
        words |= {_plain(key[0])} - {"id", "key", "uuid", "no", "code"}
        # `billing_customer_id` is a customer; the longest name that fits is meant.
        fitting = max((len(word) for word in words if plain.endswith(word)), default=0)
        if fitting >= 3:
            likely.append((fitting, table))
    above = [own] if len(keys.get(own, ())) == 1 and any(word in plain for word in _ABOVE) else []
    return [*above, *(table for _, table in sorted(likely, reverse=True))]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _forms(table: str) -> set[str]:
    """A table's name and its singular."""
    forms = {table}
    for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
        if table.lower().endswith(ending) and len(table) > len(ending) + 1:
            forms.add(table[: -len(ending)] + instead)
    return forms
