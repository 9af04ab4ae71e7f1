"""Expressions over columns, parsed into a tree of allowed nodes and computed over whole columns: nothing is
ever evaluated as Python.

Values are NumPy arrays (or constants) with the rows in which they are known. As in SQL, what is computed from
a missing cell is unknown, `unknown or true` is true, and `unknown and false` is false. Dates and times count
in microseconds, of which `days`, `hours` and `seconds` make numbers; texts in quotes that are compared with
them are read as ISO dates.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthmill.data.columns import Bool, flat, is_temporal, is_text, to_float64, to_int64, valid_rows

Cells = npt.NDArray[Any]
_QUOTED = re.compile(r"`((?:[^`]|``)+)`")
_STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_LARGE = 2.0**62
_MICROSECONDS = {"days": 86_400e6, "hours": 3_600e6, "seconds": 1e6}
MOST_NODES = 1_000
MOST_POWER = 64


class ExpressionError(ValueError):
    """What is wrong with an expression, for people."""


@dataclass(frozen=True)
class _Value:
    cells: Cells
    """(N,), or () for a constant."""
    known: Bool
    is_time: bool = False


class Expression:
    """One expression; `columns` are the names in it, in order."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            ExpressionError: not an expression, or one with something that is not allowed; says what.
        """
        self.text = text
        self._names: dict[str, str] = {}
        try:
            tree = ast.parse(self._plain(text), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ExpressionError(
                "can't be read; write it as `price * amount <= 1000`, names that are no words in backticks"
            ) from None
        if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
            raise ExpressionError(f"has more than {MOST_NODES} parts; divide it")
        self._body = tree.body
        found: dict[str, None] = {}
        self._check(self._body, found)
        self.columns = tuple(found)
        if not self.columns:
            raise ExpressionError("names no column")

    def true(self, table: pa.Table) -> Bool:
        """Rows (N,) of which it is true or unknown."""
        rows = {name: _column(flat(table[name])) for name in self.columns}
        with np.errstate(all="ignore"):
            value = self._value(self._body, rows)
        held = np.broadcast_to(_truth(value.cells), (table.num_rows,))
        known = np.broadcast_to(value.known, (table.num_rows,))
        return held | ~known

    def fault(self, schema: pa.Schema) -> str | None:
        """Why it can't be computed of columns of these types."""
        try:
            empty = {name: _column(pa.array([], schema.field(name).type)) for name in self.columns}
            with np.errstate(all="ignore"):
                value = self._value(self._body, empty)
        except ExpressionError as fault:
            return str(fault)
        except (TypeError, ValueError, pa.ArrowException):
            return "compares or computes with columns of different kinds; compare text with text in quotes"
        if value.cells.dtype != np.bool_:
            return "is no comparison: it must be true or false of a row"
        return None

    def _plain(self, text: str) -> str:
        """With plain words in the place of names in backticks, which may hold anything; not inside quotes."""
        parts, at = [], 0

        def named(match: re.Match[str]) -> str:
            word = f"column_{len(self._names)}_"
            self._names[word] = match[1].replace("``", "`")
            return word

        for match in _STRINGS.finditer(text):
            # A quote inside backticks begins no text.
            if text[at : match.start()].count("`") % 2:
                continue
            parts += [_QUOTED.sub(named, text[at : match.start()]), match[0]]
            at = match.end()
        return re.sub(r"^\s+", "", "".join([*parts, _QUOTED.sub(named, text[at:])]))

    def _check(self, node: ast.AST, found: dict[str, None]) -> None:
        """ExpressionError for a part that is not allowed."""
        if isinstance(node, ast.Name):
            found.setdefault(self._names.get(node.id, node.id))
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
            return
        for part in _parts(node):
            self._check(part, found)

    def _value(self, node: ast.AST, rows: Mapping[str, _Value]) -> _Value:
        if isinstance(node, ast.Name):
            return rows[self._names.get(node.id, node.id)]
        if isinstance(node, ast.Constant):
            text = isinstance(node.value, str)
            return _Value(np.array(node.value, dtype=object if text else None), np.array(True))
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return _called(node.func.id, [self._value(part, rows) for part in node.args])
        if isinstance(node, ast.BinOp):
            return _computed(type(node.op), self._value(node.left, rows), self._value(node.right, rows))
        if isinstance(node, ast.UnaryOp):
            inner = self._value(node.operand, rows)
            if isinstance(node.op, ast.Not):
                return _Value(~_truth(inner.cells), inner.known)
            cells = _number(inner.cells)
            return _Value(-cells if isinstance(node.op, ast.USub) else cells, inner.known, inner.is_time)
        if isinstance(node, ast.BoolOp):
            return _joined([self._value(part, rows) for part in node.values], isinstance(node.op, ast.And))
        if isinstance(node, ast.Compare):
            return self._compared(node, rows)
        assert isinstance(node, ast.IfExp)
        test, then, other = (self._value(part, rows) for part in (node.test, node.body, node.orelse))
        chosen = _truth(test.cells)
        known = test.known & np.where(chosen, then.known, other.known)
        return _Value(np.where(chosen, then.cells, other.cells), known, then.is_time)

    def _compared(self, node: ast.Compare, rows: Mapping[str, _Value]) -> _Value:
        left, parts = self._value(node.left, rows), []
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                assert isinstance(right, ast.Tuple | ast.List | ast.Set)
                members = [_pair(np.equal, left, self._value(member, rows)) for member in right.elts] or [
                    _Value(np.array(False), np.array(True))
                ]
                found = _joined(members, every=False)
                parts.append(found if isinstance(op, ast.In) else _Value(~found.cells, found.known))
                continue
            other = self._value(right, rows)
            parts.append(_pair(_COMPARE[type(op)], left, other))
            left = other
        return _joined(parts, every=True)


def _parts(node: ast.AST) -> list[ast.AST]:
    """What an allowed node is computed from.

    Raises:
        ExpressionError: a node that is not allowed.
    """
    if isinstance(node, ast.Call):
        return _arguments(node)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not):
        return [node.operand]
    if isinstance(node, ast.BoolOp):
        return list(node.values)
    if isinstance(node, ast.Compare):
        return _sides(node)
    if isinstance(node, ast.IfExp):
        return [node.test, node.body, node.orelse]
    raise ExpressionError(
        f"has a part that is not allowed ({type(node).__name__}); use columns, numbers, texts, + - * / // %"
        " **, comparisons, and, or, not, in, if-else and functions"
    )


def _arguments(node: ast.Call) -> list[ast.AST]:
    name = node.func.id if isinstance(node.func, ast.Name) else "?"
    if name not in _FUNCTIONS or node.keywords:
        raise ExpressionError(f"has a function {name!r}; there is: {', '.join(sorted(_FUNCTIONS))}")
    if len(node.args) not in _FUNCTIONS[name][1]:
        raise ExpressionError(f"gives {name} {len(node.args)} values")
    if name == "round" and len(node.args) == 2 and not isinstance(node.args[1], ast.Constant):
        raise ExpressionError("rounds to a number of digits that is no number")
    return list(node.args)


def _sides(node: ast.Compare) -> list[ast.AST]:
    parts: list[ast.AST] = [node.left]
    for op, right in zip(node.ops, node.comparators, strict=True):
        several = isinstance(right, ast.Tuple | ast.List | ast.Set)
        if isinstance(op, ast.In | ast.NotIn) != several or isinstance(op, ast.Is | ast.IsNot):
            raise ExpressionError("`in` needs a list of values, other comparisons one value")
        parts += right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
    return parts


def _column(array: pa.Array) -> _Value:
    kind, valid = array.type, valid_rows(array)
    if is_text(kind):
        return _Value(array.fill_null("").to_numpy(zero_copy_only=False).astype(object), valid)
    if pa.types.is_boolean(kind):
        return _Value(array.fill_null(False).to_numpy(zero_copy_only=False), valid)
    if pa.types.is_floating(kind):
        values = to_float64(array)
        return _Value(np.nan_to_num(values, posinf=np.inf, neginf=-np.inf), ~np.isnan(values))
    if pa.types.is_decimal(kind):
        return _Value(to_int64(array) / 10**kind.scale, valid)
    if is_temporal(kind):
        unit = "d" if kind == pa.date32() else "ms" if kind == pa.date64() else kind.unit
        per = {"d": 86_400 * 10**6, "s": 10**6, "ms": 1000, "us": 1, "ns": 0.001}[unit]
        whole = to_int64(array)
        return _Value(whole // 1000 if unit == "ns" else whole * int(per), valid, is_time=True)
    return _Value(to_int64(array), valid)


def _number(cells: Cells) -> Cells:
    if cells.dtype == object:
        raise ExpressionError("computes with text; use numbers, dates or times")
    return cells.astype(np.int64) if cells.dtype == np.bool_ else cells


def _truth(cells: Cells) -> Bool:
    if cells.dtype != np.bool_:
        raise ExpressionError("uses a number or a text as true or false; compare it with a value")
    return cells


def _pair(compare: Callable[..., Any], left: _Value, right: _Value) -> _Value:
    """A comparison of two values; a text beside times is a time."""
    if left.is_time != right.is_time:
        left, right = (_as_time(value) if not value.is_time else value for value in (left, right))
    a, b = left.cells, right.cells
    if (a.dtype == object) != (b.dtype == object):
        raise ExpressionError(
            "compares text with what is no text; text is not a number, and stands in quotes"
        )
    return _Value(np.asarray(compare(a, b), dtype=np.bool_), left.known & right.known)


def _as_time(value: _Value) -> _Value:
    if value.cells.dtype != object or value.cells.shape:
        return value
    try:
        moment = pa.scalar(str(value.cells)).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        raise ExpressionError(f"{str(value.cells)!r} is no ISO date or time") from None
    return _Value(np.array(moment.value, np.int64), value.known, is_time=True)


def _computed(op: type[ast.operator], left: _Value, right: _Value) -> _Value:
    a, b = _number(left.cells), _number(right.cells)
    known = left.known & right.known
    is_time = left.is_time != right.is_time if op in (ast.Add, ast.Sub) else left.is_time or right.is_time
    if op is ast.Pow and np.any(np.abs(b) > MOST_POWER):
        raise ExpressionError(f"has a power above {MOST_POWER}")
    if op in (ast.Div, ast.FloorDiv, ast.Mod):
        # Nothing is known of a division by zero.
        known = known & (b != 0)
        b = np.where(b == 0, 1, b)
    floats = _BINARY[op](a.astype(np.float64), b.astype(np.float64))
    whole = a.dtype.kind == b.dtype.kind == "i" and op is not ast.Div
    # Whole numbers stay whole, but for those beyond 64 bits.
    if whole and not np.any(np.abs(floats) >= _LARGE) and not (op is ast.Pow and np.any(b < 0)):
        return _Value(_BINARY[op](a, b), known, is_time)
    return _Value(floats, known & ~np.isnan(floats), is_time)


def _joined(parts: list[_Value], every: bool) -> _Value:
    """Whether all, or any, are true; known as soon as one decides."""
    cells, known = _truth(parts[0].cells), parts[0].known
    for part in parts[1:]:
        other = _truth(part.cells)
        decides = (known & (cells != every)) | (part.known & (other != every))
        both = known & part.known
        cells = np.where(decides, not every, every)
        known = decides | both
    return _Value(cells, known)


def _called(name: str, values: list[_Value]) -> _Value:
    if name == "missing":
        return _Value(~values[0].known & np.ones(values[0].cells.shape, dtype=bool), np.array(True))
    known = values[0].known
    for value in values[1:]:
        known = known & value.known
    if name in _MICROSECONDS:
        return _Value(_number(values[0].cells) / _MICROSECONDS[name], known)
    cells = _FUNCTIONS[name][0](*[_number(value.cells) for value in values])
    return _Value(cells, known & ~np.isnan(cells), values[0].is_time)


def _least(*cells: Cells) -> Any:
    return np.minimum.reduce(np.broadcast_arrays(*cells))


def _most(*cells: Cells) -> Any:
    return np.maximum.reduce(np.broadcast_arrays(*cells))


_MANY = range(2, 17)
_FUNCTIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "abs": (np.abs, (1,)),
    "min": (_least, _MANY),
    "max": (_most, _MANY),
    "round": (lambda value, digits=0: np.round(value, int(digits)), (1, 2)),
    "floor": (np.floor, (1,)),
    "ceil": (np.ceil, (1,)),
    "sqrt": (np.sqrt, (1,)),
    "log": (np.log, (1,)),
    "exp": (np.exp, (1,)),
    "missing": (np.isnan, (1,)),
    "days": (np.abs, (1,)),
    "hours": (np.abs, (1,)),
    "seconds": (np.abs, (1,)),
}
_BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_COMPARE: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
