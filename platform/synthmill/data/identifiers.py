"""Identifiers: told from data, and regenerated from the row number in the same pattern, never copied."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import FrozenModel
from synthmill.data.columns import Bool, Int64, UInt64, to_int64
from synthmill.data.keys.base import Key, detect, fit_key, key_from_json
from synthmill.data.mixing import mix
from synthmill.data.numbering import Numbering, free_numbering
from synthmill.errors import DataError

_NAME = re.compile(r"(^|[_\-. ])(id|ids|uuid|guid|key|pk|index|idx|rowid|number|no|nr)$", re.IGNORECASE)
_CAMEL_NAME = re.compile(r"[a-z0-9](Id|ID|Uuid|UUID|Key)$")
_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_NUMBERED = r"^(?P<before>\D*)(?P<digits>\d+)(?P<after>\D*)$"
_WEAK_NAME = re.compile(r"(^|[_\-. ])(index|idx|number|no|nr)$", re.IGNORECASE)
"""Names of keys and of measurements alike: a price index, a number of visitors."""
_DIGITS, _LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"
_ALPHABETS = {
    "0": _DIGITS,
    "A": _LOWER.upper(),
    "a": _LOWER,
    "h": _DIGITS + _LOWER[:6],
    "H": _DIGITS + _LOWER[:6].upper(),
    "x": _DIGITS + _LOWER,
    "X": _DIGITS + _LOWER.upper(),
    "w": _DIGITS + _LOWER.upper() + _LOWER,
}
"""Letter of a mask -> the characters of its position, the narrowest first: hashes and tokens mix digits and
letters."""
LARGEST_NUMBER = 2**62
"""Numbers of rows stay below it, so that sums with a row number are 64-bit integers."""
CHECKED_KINDS = ("card", "iban", "ip")
"""Kinds with check digits or ranges: numbers that merely count up would be invalid."""
MIN_NAMED_ROWS = 10
FIRST_KEY = 10
HIGH_KEY = 10_000
KEY_DIGITS = 6
MIN_DENSE_ROWS = 200
MOST_KEYS = 8_000_000
"""E-mail addresses and the like that are held at a time."""


class IdTemplate(FrozenModel):
    """How to write the identifier of a row number."""

    style: Literal["sequence", "uuid", "numbered", "mask", "key"]
    """sequence: 1, 2, ...; uuid: from a hash; numbered: before, number, after; mask: a fixed pattern counted
    through; key: an e-mail address, a card number, ... (`data/keys/`)."""
    before: str = ""
    after: str = ""
    mask: str = ""
    """One letter a position: 0 digit, A upper-case, a lower-case letter, h and H hexadecimal, x and X digit
    or letter, w any of them, = the character of `literal` there."""
    literal: str = ""
    upper: bool = False
    numbering: Numbering | None = None
    """The number of each row; None, as in the first artifacts: rows count from 1, as the real ones often
    do."""
    key: dict[str, Any] | None = None
    """What `Key.model_dump` gave."""

    def numbers(self, rows: UInt64) -> UInt64:
        """The numbers that the identifiers of global row numbers (N,) are made of."""
        return rows + np.uint64(1) if self.numbering is None else self.numbering.of(rows)


def is_integer_id(name: str, values: Int64, counts: Int64, in_order: bool) -> bool:
    """Whether distinct `values` (sorted) with `counts` look like keys: each once, and named so, or a running
    number.

    The values decide: a year, an index of prices or a count of visitors may be ascending, or called a number.
    """
    if len(values) == 0 or (counts > 1).any():
        return False
    return looks_like_keys(name, len(values), int(values[0]), int(values[-1]), in_order)


def looks_like_keys(name: str, rows: int, low: int, high: int, in_order: bool) -> bool:
    """Whether so many different whole numbers from `low` to `high` look like keys."""
    is_running = _is_running(rows, float(low), float(high), in_order)
    if rows >= MIN_NAMED_ROWS and has_id_name(name):
        weak = _WEAK_NAME.search(name)
        return weak is None or _has_length_of_keys(low, high) or is_running
    return rows >= MIN_DENSE_ROWS and is_running


def _is_running(rows: int, low: float, high: float, in_order: bool) -> bool:
    """Whether numbers count from about 1, or with little room between them at a height that years and counts
    do not begin at."""
    span = high - low + 1
    counts_on = -1 <= low <= FIRST_KEY + rows / 100 or low >= max(HIGH_KEY, 10 * span)
    return in_order and counts_on and rows / span >= 0.5


def _has_length_of_keys(low: int, high: int) -> bool:
    """Whether all have as many digits, and so many that no measurement has them all."""
    return low > 0 and len(str(low)) == len(str(high)) >= KEY_DIGITS


def has_id_name(name: str) -> bool:
    """Whether a column's name says identifier: id, user_id, orderId, uuid, key, index, ..."""
    return bool(_NAME.search(name) or _CAMEL_NAME.search(name))


def fit_template(
    name: str, values: pa.Array, *, kind: str | None = None, locale: str | None = None
) -> IdTemplate:
    """The pattern that all distinct, non-null strings share, or how keys of their kind are made;
    `<name>-<number>` when they share none or are fewer than 10. `kind` is what a schema file states, of
    `data/keys/`."""
    if kind is not None:
        return _of_key(fit_key(kind, values, locale))
    if len(values) < MIN_NAMED_ROWS:
        return IdTemplate(style="numbered", before=f"{name}-")
    if pc.all(pc.match_substring_regex(values, _UUID)).as_py():
        return IdTemplate(style="uuid", upper=bool(pc.all(pc.equal(pc.utf8_upper(values), values)).as_py()))
    checked = detect(values, CHECKED_KINDS)
    if checked is not None:
        return _of_key(fit_key(checked, values, locale))
    lengths = pc.binary_length(values)
    matched = pc.extract_regex(values, _NUMBERED)
    if pc.min(lengths).as_py() == pc.max(lengths).as_py():
        mask = _fit_mask(values, pc.min(lengths).as_py())
        if mask is not None:
            return mask
    if matched.null_count == 0:
        before, after = pc.unique(matched.field("before")), pc.unique(matched.field("after"))
        if len(before) == len(after) == 1:
            return IdTemplate(style="numbered", before=before[0].as_py(), after=after[0].as_py())
    found = detect(values)
    return (
        IdTemplate(style="numbered", before=f"{name}-")
        if found is None
        else _of_key(fit_key(found, values, locale))
    )


def _of_key(key: Key) -> IdTemplate:
    return IdTemplate(style="key", key=key.model_dump(mode="json"))


def beside(template: IdTemplate, real: Callable[[], Iterable[pa.Array]], limit: int) -> IdTemplate:
    """The same pattern, with identifiers that none of `real` equals: values of all rows in parts, gone over
    as often as it takes; `limit` is the largest number that the column's type holds.

    What is kept of the real ones is where whole blocks of numbers are free, never a number.
    """
    if template.style == "key":
        assert template.key is not None, "a template of keys names its kind"
        key = key_from_json(template.key)
        key = key.beside(_decisive(key, real()))
        return template.model_copy(update={"key": key.model_dump(mode="json")})
    if template.style == "uuid":
        # Hashes with a version of their own (8) are nobody's.
        return template
    capacity = min(limit, LARGEST_NUMBER) + 1
    if template.style == "mask":
        bases = [len(_ALPHABETS[letter]) for letter in template.mask if letter != "="]
        capacity = min(math.prod(bases), capacity)

    def taken() -> Iterator[Int64]:
        for part in real():
            distinct = _distinct(part)
            if template.style == "sequence":
                numbers = to_int64(distinct)
            elif template.style == "mask":
                numbers = _unmasked(template, distinct.cast(pa.string()))
            else:
                numbers = _numbered(template, distinct.cast(pa.string()))
            yield numbers[(numbers >= 0) & (numbers < capacity)]

    return template.model_copy(update={"numbering": free_numbering(taken, capacity)})


def _distinct(part: pa.Array) -> pa.Array:
    if pa.types.is_integer(part.type) and part.null_count == 0:
        values = to_int64(part)
        # Counters ascend, which shows that none is there twice.
        if (values[1:] > values[:-1]).all():
            return part
    return pc.unique(part).drop_null()


def _decisive(key: Key, parts: Iterable[pa.Array]) -> pa.Array:
    """Of the values of all rows those that a new key of the kind depends on, distinct.

    Raises:
        DataError: they are too many to be held.
    """
    held, waiting = [pa.array([], pa.string())], 0
    for part in parts:
        texts = pc.unique(part).drop_null().cast(pa.string())
        held.append(texts)
        waiting += len(texts)
        if waiting > MOST_KEYS:
            some = key.decisive(pc.unique(pa.concat_arrays(held)))
            held, waiting = [some], len(some)
            if waiting > MOST_KEYS // 2:
                raise DataError(
                    f"a column of {key.kind} holds more than {MOST_KEYS // 2:,} different ones, too many to"
                    " make new ones beside; state `kind: drop` for it in a schema file",
                    field="data.source",
                )
    return key.decisive(pc.unique(pa.concat_arrays(held)))


def _unmasked(template: IdTemplate, texts: pa.Array) -> Int64:
    """The numbers of the texts that are of the mask: the inverse of `_masked`."""
    length = len(template.mask)
    texts = texts.filter(pc.and_(pc.equal(pc.binary_length(texts), length), pc.string_is_ascii(texts)))
    chars = np.frombuffer("".join(texts.to_pylist()).encode(), dtype=np.uint8).reshape(-1, length)
    numbers = np.zeros(len(chars), dtype=np.float64)
    exact = np.zeros(len(chars), dtype=np.uint64)
    fits = np.ones(len(chars), dtype=bool)
    for position, letter in enumerate(template.mask):
        column = chars[:, position]
        if letter == "=":
            fits &= column == ord(template.literal[position])
            continue
        place = np.full(128, -1, dtype=np.int64)
        place[_codes(letter)] = np.arange(len(_ALPHABETS[letter]))
        digit = place[column]
        fits &= digit >= 0
        base = np.uint64(len(_ALPHABETS[letter]))
        numbers = numbers * float(base) + digit
        exact = exact * base + np.maximum(digit, 0).astype(np.uint64)
    # Long masks outgrow 64 bits; what is beyond them is no number that rows come to.
    return exact[fits & (numbers < LARGEST_NUMBER)].astype(np.int64)


def _numbered(template: IdTemplate, texts: pa.Array) -> Int64:
    """The numbers between `before` and `after` of texts that have both."""
    inner = pc.and_(pc.starts_with(texts, template.before), pc.ends_with(texts, template.after))
    texts = texts.filter(inner)
    stop = -len(template.after) if template.after else None
    numbers = (
        pc.utf8_slice_codeunits(texts, len(template.before), stop)
        if stop
        else pc.utf8_slice_codeunits(texts, len(template.before))
    )
    digits = numbers.filter(pc.match_substring_regex(numbers, r"^\d{1,18}$"))
    return np.asarray(digits.cast(pa.int64()))


def write_ids(template: IdTemplate, rows: UInt64) -> pa.Array:
    """Identifiers of global row numbers (N,), different for different rows: int64 for sequences, strings
    otherwise."""
    if template.style == "key":
        assert template.key is not None, "a template of keys names its kind"
        return key_from_json(template.key).write(rows)
    if template.style == "uuid":
        return _uuids(rows, template.upper)
    numbers = template.numbers(rows)
    if template.style == "sequence":
        return pa.array(numbers.astype(np.int64))
    if template.style == "mask":
        return _masked(template, numbers)
    text = pa.array(numbers).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(template.before), text, pa.scalar(template.after), "")


def _fit_mask(values: pa.Array, length: int) -> IdTemplate | None:
    """The mask of equally long ASCII strings whose positions each hold one class of character; None when they
    do not."""
    if length == 0 or not pc.all(pc.string_is_ascii(values)).as_py():
        return None
    joined = "".join(values.to_pylist()).encode()
    chars = np.frombuffer(joined, dtype=np.uint8).reshape(-1, length)
    same: Bool = np.asarray((chars == chars[0]).all(axis=0))
    digit = np.asarray(np.isin(chars, _codes("0")).all(axis=0))
    digit = _whole_runs(digit, ~same, zero=chars[0] == ord("0"))
    mask = np.where(digit, "0", np.where(same, "=", "?"))
    for letter in _ALPHABETS:
        fits = np.isin(chars, _codes(letter)).all(axis=0)
        mask = np.where((mask == "?") & fits, letter, mask)
    if "?" in mask or (mask == "=").all():
        return None
    literal = "".join(chr(c) if m == "=" else " " for c, m in zip(chars[0], mask, strict=True))
    return IdTemplate(style="mask", mask="".join(mask), literal=literal)


def _codes(letter: str) -> npt.NDArray[np.uint8]:
    """The characters of a mask's letter, ASCII codes in counting order."""
    return np.frombuffer(_ALPHABETS[letter].encode(), dtype=np.uint8)


def _whole_runs(digit: Bool, varies: Bool, zero: Bool) -> Bool:
    """Runs of digits in which at least one position varies: leading zeros belong to the number, other digits
    that all share (a country's telephone code) do not."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], digit, [False]]).astype(np.int8)))
    kept = np.zeros_like(digit)
    for start, stop in edges.reshape(-1, 2):
        own = varies[start:stop] | zero[start:stop]
        begins = start + int(np.argmax(own))
        kept[begins:stop] = varies[start:stop].any()
    return kept


def _masked(template: IdTemplate, numbers: UInt64) -> pa.Array:
    """Count through the mask from its last position; past its end, the number of turns is appended."""
    chars = np.empty((len(numbers), len(template.mask)), dtype=np.uint8)
    rest = numbers
    for position in range(len(template.mask) - 1, -1, -1):
        letter = template.mask[position]
        if letter == "=":
            chars[:, position] = ord(template.literal[position])
            continue
        alphabet = _codes(letter)
        chars[:, position] = alphabet[(rest % np.uint64(len(alphabet))).astype(np.int64)]
        rest = rest // np.uint64(len(alphabet))
    text = _strings(chars)
    if not rest.any():
        return text
    turns = pc.if_else(pa.array(rest > 0), pa.array(rest).cast(pa.string()), pa.scalar(""))
    return pc.binary_join_element_wise(text, turns, "")


def _uuids(rows: UInt64, upper: bool) -> pa.Array:
    """Version-8 (custom) UUIDs of RFC 9562: 122 bits from a hash of the row number, a bijection in the first
    64."""
    words = np.stack([mix(rows, 1), mix(rows, 2)], axis=1)
    octets = words.astype(">u8").view(np.uint8).reshape(-1, 16).copy()
    octets[:, 6] = (octets[:, 6] & 0x0F) | 0x80
    octets[:, 8] = (octets[:, 8] & 0x3F) | 0x80
    text = octets.tobytes().hex()
    digits = np.frombuffer((text.upper() if upper else text).encode(), dtype=np.uint8).reshape(-1, 32)
    chars = np.full((len(rows), 36), ord("-"), dtype=np.uint8)
    for target, start, stop in ((0, 0, 8), (9, 8, 12), (14, 12, 16), (19, 16, 20), (24, 20, 32)):
        chars[:, target : target + stop - start] = digits[:, start:stop]
    return _strings(chars)


def _strings(chars: npt.NDArray[np.uint8]) -> pa.Array:
    """ASCII strings of equal length from their characters, uint8 (N, length)."""
    rows, length = chars.shape
    offsets = np.arange(rows + 1, dtype=np.int64) * length
    array = pa.Array.from_buffers(
        pa.large_string(), rows, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(chars.tobytes())]
    )
    return array.cast(pa.string())
