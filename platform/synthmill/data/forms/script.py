"""Numbers, dates and times in the digits of another script: Arabic, Persian, Devanagari, full-width, ..."""

import functools
import re
import unicodedata
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.forms.base import Form, form_from_json

_OTHER = r"[^\x00-\x7f]"
_MARKS = {
    "\u066b": ".",
    "\u066c": ",",
    "\uff0e": ".",
    "\uff0c": ",",
    "\uff0d": "-",
    "\uff05": "%",
    "\u066a": "%",
}
"""Marks of such scripts, and what they stand for."""


class ScriptForm(Form):
    """Another form, written in other digits."""

    form: Literal["script"] = "script"
    zero: str
    """The digit 0 of the script; the others follow it."""
    marks: tuple[str, ...] = ()
    """Which marks of `_MARKS` stand in the column."""
    inner: dict[str, Any]

    @functools.cached_property
    def part(self) -> Form:
        """The form in ASCII."""
        return form_from_json(self.inner)

    @property
    def group(self) -> str:
        return self.part.group

    @property
    def example(self) -> str:
        return str(_translated(pa.array([self.part.example]), self._outward)[0])

    @property
    def _outward(self) -> dict[str, str]:
        digits = {str(digit): chr(ord(self.zero) + digit) for digit in range(10)}
        return digits | {_MARKS[mark]: mark for mark in self.marks}

    def parse(self, texts: pa.Array) -> pa.Array:
        """As the form in ASCII."""
        return self.part.parse(ascii_digits(texts, self.marks))

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts in the script."""
        return _translated(self.part.write(typed, noise), self._outward)


def zero_of(texts: pa.Array) -> str | None:
    """The digit 0 of the one script other than ASCII that a column's digits are of."""
    other = _letters(texts)
    zeros = {
        chr(ord(letter) - unicodedata.digit(letter))
        for letter in other
        if unicodedata.category(letter) == "Nd"
    }
    if len(zeros) == 1 and not pc.any(pc.match_substring_regex(texts, r"[0-9]")).as_py():
        return zeros.pop()
    # Digits in ASCII with marks of another script between them.
    return "0" if not zeros and other & set(_MARKS) else None


def marks_of(column: pa.ChunkedArray) -> tuple[str, ...]:
    """Marks of other scripts that stand in a column."""
    return tuple(mark for mark in _MARKS if mark in _letters(pc.unique(column)))


def ascii_digits(texts: pa.Array, marks: tuple[str, ...] = tuple(_MARKS)) -> pa.Array:
    """The texts with the digits, and the given marks, of ASCII."""
    letters = _letters(texts)
    known = {
        letter: str(unicodedata.digit(letter)) for letter in letters if unicodedata.category(letter) == "Nd"
    }
    return _translated(texts, known | {mark: _MARKS[mark] for mark in marks if mark in letters})


def _letters(texts: pa.Array | pa.ChunkedArray) -> set[str]:
    """Characters beyond ASCII, among texts that hold any."""
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    some = texts.filter(pc.match_substring_regex(texts, _OTHER)) if len(texts) else texts
    return set(re.findall(_OTHER, "".join(text for text in some.to_pylist() if text)))


def _translated(texts: pa.Array, letters: dict[str, str]) -> pa.Array:
    """Texts (N,) with some characters exchanged."""
    if not letters:
        return texts
    table = str.maketrans(letters)
    coded = texts.dictionary_encode()
    made = pa.array([text.translate(table) for text in coded.dictionary.to_pylist()], pa.string())
    return made.take(coded.indices) if len(made) else texts
