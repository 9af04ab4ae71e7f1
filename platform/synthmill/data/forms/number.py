"""Numbers as people and programs write them: `$1,324.85`, `1.324,85 EUR`, `72.6%`, `(1,234.50)`, `12 kg`,
`+5`."""

import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool, Float64, Int64, UInt64
from synthmill.data.forms._words import currencies
from synthmill.data.forms.base import Ask, Form, Found, Hint, Values, to_bool

MARKS = (",", ".", " ", "\u00a0", "\u202f", "\u2009", "'", "\u2019", "_")
"""What may stand between thousands: no-break, narrow and thin spaces and two apostrophes among them."""
MAX_DIGITS = 15
"""Digits that a float64 holds without loss."""
PHONE_DIGITS = 8
"""A plus and so many digits are a telephone number."""
_MINUS = "\\-\u2212"
_SPACE = " \u00a0\u202f\u2009"
_BODY = r"\d(?:[\d.,'_\x{2019}\x{a0}\x{202f}\x{2009} ]*\d)?"
_CELL = (
    rf"^(?P<open>\()?(?P<lead>[+{_MINUS}])?(?P<prefix>[^\d+().,{_MINUS}]*|[A-Za-z]+\.\s?)(?P<inner>[+{_MINUS}])?"
    rf"(?P<body>{_BODY}|[.,]\d+)(?P<suffix>[^\d()+{_MINUS}]*?(?:\pL[23])?)(?P<trail>[{_MINUS}])?(?P<close>\))?$"
)
_SHARES = ("%", "\u2030", "pct", "percent", "Prozent", "bps", "pp")
_UNIT = re.compile(
    r"[\s]*[^\W\d_\u00b0\u2030%\"'][\w\u00b0\u00b5\u03bc\u00b2\u00b3\u2126./\u00b7*^]{0,11}|\s*[\u00b0\u2126][CFK]?"
)
_OPEN_SIGNS = re.compile(r"[\s]*[%\u2030\u00b0\"'\u2033\u2032]")
Negative = Literal["lead", "inner", "trail", "parens"]


class NumberForm(Form):
    """Sign, prefix, grouped digits, decimals, suffix."""

    form: Literal["number"] = "number"
    decimal: str = "."
    thousands: str = ""
    indian: bool = False
    """Groups of two digits before the last three: `12,34,567`."""
    prefix: str = ""
    suffix: str = ""
    negative: Negative = "lead"
    """Where the minus stands: before the prefix, before the digits, at the end, or as parentheses."""
    minus: str = "-"
    plus: bool = False
    """Whether positive numbers have a sign too."""
    decimals: int = 0
    """Digits after the decimal mark; at most so many where they vary."""
    fixed: bool = True
    """Whether trailing zeros are written."""
    zero: bool = True
    """Whether a zero stands before a decimal mark: `0.5`, not `.5`."""

    @property
    def plain(self) -> bool:
        """`12` and `12.5`: whole numbers, and decimals that a float writes alike."""
        return self == NumberForm(decimals=self.decimals, fixed=self.fixed, zero=self.zero)

    @property
    def group(self) -> str:
        unit = " ".join(f"{self.prefix} {self.suffix}".split())
        return f"number in {unit}" if unit else "number"

    @property
    def example(self) -> str:
        made = pa.array([-1234.5]) if self.decimals else pa.array([-1234])
        text: str = self.write(made)[0].as_py()
        return text

    def parse(self, texts: pa.Array) -> pa.Array:
        """int64 where there are no decimals, else float64."""
        cells = pc.extract_regex(texts, self._pattern())
        digits = pc.struct_field(cells, "whole")
        if self.thousands:
            digits = pc.replace_substring(digits, self.thousands, "")
        if self.decimals:
            part = pc.struct_field(cells, "part")
            digits = pc.binary_join_element_wise(digits, pc.if_else(pc.equal(part, ""), "0", part), ".")
            digits = pc.if_else(
                pc.starts_with(digits, "."), pc.binary_join_element_wise("0", digits, ""), digits
            )
        values = digits.cast(pa.float64() if self.decimals else pa.int64())
        below = to_bool(pc.match_substring_regex(pc.struct_field(cells, "sign"), rf"[{_MINUS}(]"))
        if self.negative == "trail":
            below = to_bool(pc.ends_with(texts, self.minus))
        return pc.if_else(pa.array(below), pc.negate(values), values)

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of integers, floats or decimals."""
        values = np.asarray(typed.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        valid = np.isfinite(values)
        if self.decimals or not pa.types.is_integer(typed.type):
            units = np.rint(np.abs(np.where(valid, values, 0)) * 10.0**self.decimals)
            units = np.minimum(units, 2.0**62).astype(np.int64)
        else:
            units = np.abs(typed.fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False))
        whole, part = np.divmod(units, 10**self.decimals)
        text = _grouped(whole, self.thousands, self.indian)
        if not self.zero and self.decimals:
            text = pc.if_else(pa.array(whole == 0), "", text)
        if self.decimals:
            tail = pc.utf8_lpad(pa.array(part).cast(pa.string()), self.decimals, "0")
            tail = pc.binary_join_element_wise(pa.scalar(self.decimal), tail, "")
            if not self.fixed:
                tail = pc.replace_substring_regex(tail, rf"{re.escape(self.decimal)}?0*$", "")
            text = pc.binary_join_element_wise(text, tail, "")
        text = self._signed(text, (np.where(valid, values, 0) < 0) & (units > 0), units > 0)
        return pc.if_else(pa.array(valid), text, pa.scalar(None, pa.string()))

    def _signed(self, text: pa.Array, below: Bool, above: Bool) -> pa.Array:
        """The text between prefix and suffix, with its sign."""
        plus = pc.if_else(pa.array(above & ~below & self.plus), "+", "")
        minus = pc.if_else(pa.array(below), self.minus, "")
        sign = pc.binary_join_element_wise(plus, minus, "")
        open_, close = (pc.if_else(pa.array(below), mark, "") for mark in "()")
        front, back = pa.scalar(self.prefix), pa.scalar(self.suffix)
        parts = {
            "lead": (sign, front, text, back),
            "inner": (front, sign, text, back),
            "trail": (plus, front, text, back, minus),
            "parens": (open_, plus, front, text, back, close),
        }[self.negative]
        return pc.binary_join_element_wise(*parts, "")

    def _pattern(self) -> str:
        """What exactly this form writes, and the same with other trailing zeros."""
        mark, point = re.escape(self.thousands), re.escape(self.decimal)
        groups = rf"(?:{mark}\d{{2}})*{mark}\d{{3}}" if self.indian else rf"(?:{mark}\d{{3}})+"
        short = r"0|[1-9]\d{0,1}" if self.indian else r"0|[1-9]\d{0,2}"
        # An Indian number below a thousand has three digits in one group.
        whole = rf"(?:{short}|[1-9]\d{{2}}|[1-9]\d{{0,2}}{groups})" if mark else r"(?:0|[1-9]\d*)"
        whole = whole if self.zero else rf"(?:{whole}|)"
        part = rf"(?:{point}(?P<part>\d{{1,{self.decimals}}}))?" if self.decimals else ""
        sign = rf"(?P<sign>[+{_MINUS}]?)"
        front, back = re.escape(self.prefix), re.escape(self.suffix)
        return {
            "lead": rf"^{sign}{front}(?P<whole>{whole}){part}{back}$",
            "inner": rf"^{front}{sign}(?P<whole>{whole}){part}{back}$",
            "trail": rf"^{sign}{front}(?P<whole>{whole}){part}{back}[{_MINUS}]?$",
            "parens": rf"^(?P<sign>[+(]?){front}(?P<whole>{whole}){part}{back}\)?$",
        }[self.negative]


def find(values: Values, hint: Hint = Hint()) -> Found | Ask | None:  # noqa: B008
    """The form of most of the texts; None where hardly any is a number."""
    cells = pc.extract_regex(values.texts, _CELL)
    fits = to_bool(cells.is_valid())
    if values.share(fits) < 0.3:
        return None
    cell = {name: pc.struct_field(cells, name).fill_null("") for name in _PARTS}
    unit = pc.binary_join_element_wise(cell["prefix"], cell["suffix"], "\x00")
    fits, chosen = _most(values, fits, unit, [word for word in pc.unique(unit).to_pylist() if _is_unit(word)])
    if chosen is None:
        return None
    prefix, _, suffix = chosen.partition("\x00")
    negative, minus, fits = _signs(values, fits, cell)
    signed = to_bool(pc.or_(pc.equal(cell["lead"], "+"), pc.equal(cell["inner"], "+")))
    if _is_phone(cell["body"], signed & fits):
        return None
    is_below = to_bool(pc.not_equal(_sign_of(cell), "")) & ~signed
    zero = to_bool(pc.match_substring_regex(cell["body"], r"^[0.,]+$"))
    above = fits & ~is_below & ~zero
    plus = bool(values.counts[above & signed].sum() * 2 > values.counts[above].sum())
    fits = fits & ((signed == plus) | is_below | zero)
    body = _body(values, fits, cell["body"], hint.decimal_mark)
    if not isinstance(body, NumberForm):
        return body
    form = body.model_copy(
        update={"prefix": prefix, "suffix": suffix, "negative": negative, "minus": minus, "plus": plus}
    )
    read = form.parse(values.texts.filter(pa.array(fits)))
    kept = fits.copy()
    kept[fits] = to_bool(read.is_valid())
    return Found(form, kept) if kept.any() else None


_PARTS = ("open", "lead", "prefix", "inner", "body", "suffix", "trail", "close")


def _is_unit(unit: str) -> bool:
    """Whether prefix and suffix (joined by a zero byte) are a currency, a share or a unit."""
    prefix, _, suffix = unit.partition("\x00")
    front, back = prefix.strip(_SPACE), suffix.strip(_SPACE)
    known = currencies()
    if front and front not in known and front.upper() not in known:
        return False
    if front:
        return not back or back in known
    return (
        not back
        or back in known
        or back in _SHARES
        or bool(_OPEN_SIGNS.fullmatch(suffix) or _UNIT.fullmatch(suffix))
    )


def _most(values: Values, fits: Bool, key: pa.Array, allowed: list[str]) -> tuple[Bool, str | None]:
    """The allowed word that most rows have, and which rows those are."""
    best, most, mask = None, 0, fits
    coded = key.dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    rows = np.bincount(codes[fits], weights=values.counts[fits], minlength=len(coded.dictionary))
    for at, word in enumerate(coded.dictionary.to_pylist()):
        if word in set(allowed) and rows[at] > most:
            best, most, mask = word, rows[at], fits & (codes == at)
    return mask, best


def _sign_of(cell: dict[str, pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(cell["open"], cell["lead"], cell["inner"], cell["trail"], "")


def _signs(values: Values, fits: Bool, cell: dict[str, pa.Array]) -> tuple[Negative, str, Bool]:
    """How most negative numbers are marked; which texts are marked so, or not at all."""
    has = {
        name: to_bool(pc.not_equal(cell[name], "")) for name in ("open", "lead", "inner", "trail", "close")
    }
    minus = {
        name: to_bool(pc.match_substring_regex(cell[name], rf"[{_MINUS}]"))
        for name in ("lead", "inner", "trail")
    }
    bare = ~has["open"] & ~has["close"]
    only: dict[Negative, Bool] = {
        "lead": minus["lead"] & bare & ~has["inner"] & ~has["trail"],
        "inner": minus["inner"] & bare & ~has["lead"] & ~has["trail"],
        "trail": minus["trail"] & bare & ~has["lead"] & ~has["inner"],
        "parens": has["open"] & has["close"] & ~has["lead"] & ~has["inner"] & ~has["trail"],
    }
    # Without a prefix the two places before the digits are one.
    style = max(only, key=lambda name: values.counts[only[name] & fits].sum())
    unsigned = bare & ~minus["lead"] & ~minus["inner"] & ~has["trail"]
    kept = fits & (only[style] | unsigned)
    mark = "-"
    if style != "parens" and (only[style] & fits).any():
        marks = cell[style].filter(pa.array(only[style] & fits))
        mark = pc.mode(pc.dictionary_encode(marks).indices)[0]["mode"].as_py()
        mark = pc.unique(marks)[mark].as_py()
        kept &= ~only[style] | to_bool(pc.equal(cell[style], mark))
    return style, mark, kept


def _is_phone(body: pa.Array, signed: Bool) -> bool:
    """Whether what has a plus is a telephone number: 8 digits or more, without decimals."""
    if not signed.any():
        return False
    bodies = body.filter(pa.array(signed))
    digits = pc.binary_length(pc.replace_substring_regex(bodies, r"\D", ""))
    return (
        bool(pc.mean(digits).as_py() >= PHONE_DIGITS)
        and not to_bool(pc.match_substring_regex(bodies, r"[.,]\d{1,2}$")).any()
    )


def _body(values: Values, fits: Bool, bodies: pa.Array, told: str | None) -> NumberForm | Ask | None:
    """Decimal and thousands marks, and decimals, that read most of the bodies."""
    own, counts = bodies.filter(pa.array(fits)), values.counts[fits]
    if to_bool(pc.match_substring_regex(own, r"^0\d")).any():
        return None  # Leading zeros are written by codes, not by numbers.
    seen = [mark for mark in MARKS if to_bool(pc.match_substring(own, mark)).any()]
    points = [mark for mark in (".", ",") if mark in seen and mark == (told or mark)]
    options: list[tuple[int, int, NumberForm, Bool]] = []
    for decimal in ("", *points):
        for thousands in ("", *(mark for mark in seen if mark not in (decimal, told))):
            for indian in (False, True) if thousands == "," else (False,):
                form = NumberForm(
                    decimal=decimal or ("," if thousands == "." else "."),
                    thousands=thousands,
                    indian=indian,
                    decimals=MAX_DIGITS if decimal else 0,
                    zero=not (decimal and to_bool(pc.starts_with(own, decimal)).any()),
                )
                read = to_bool(pc.match_substring_regex(own, form._pattern()))
                options.append((int(counts[read].sum()), len(options), form, read))
    most = max(rows for rows, *_ in options)
    best = [(form, read) for rows, _, form, read in options if rows == most]
    if most == 0:
        return None
    form, read = best[0]
    question = _two_ways(form, best, own)
    if isinstance(question, Ask):
        return question
    form = question
    return _with_decimals(form, own.filter(pa.array(read)), counts[read])


def _two_ways(form: NumberForm, best: list[tuple[NumberForm, Bool]], own: pa.Array) -> NumberForm | Ask:
    """Which of two equally good readings: `1,234` may be a thousand, or one and some thousandths."""
    if len(best) == 1:
        return form
    grouped = [option for option, _ in best if option.thousands in (",", ".") and not option.decimals]
    pointed = [option for option, _ in best if option.decimals and not option.thousands]
    if not grouped or not pointed or grouped[0].thousands != pointed[0].decimal:
        return form
    mark = grouped[0].thousands
    if to_bool(pc.match_substring_regex(own, rf"^0?{re.escape(mark)}")).any():
        return pointed[0]
    # Below a thousand no mark is written; a number with three decimals would have one nearly always.
    unmarked = to_bool(pc.match_substring_regex(own, r"^\d{1,3}$")).mean()
    if unmarked > 0.02 or (mark == "." and not unmarked):
        return grouped[0] if unmarked else pointed[0]
    return Ask(
        'is `1,234` a thousand or a little more than one? State `decimal_mark: "."` or `decimal_mark: ","`'
    )


def _with_decimals(form: NumberForm, own: pa.Array, counts: Int64) -> NumberForm | None:
    """The form with the number of decimals most rows have, or the most where zeros are left out."""
    digits = pc.binary_length(pc.replace_substring_regex(own, r"\D", ""))
    if pc.max(digits).as_py() > (MAX_DIGITS if form.decimals else 18):
        return None
    if not form.decimals:
        return form
    point = re.escape(form.decimal)
    parts = pc.replace_substring_regex(own, rf"^[^{point}]*{point}?", "")
    lengths: Int64 = np.asarray(pc.binary_length(parts).to_numpy(zero_copy_only=False), dtype=np.int64)
    rows = np.bincount(lengths, weights=counts)
    if rows.max() >= 0.95 * rows.sum():
        usual = int(rows.argmax())
        return form.model_copy(update={"decimals": usual, "fixed": True})
    if not to_bool(pc.match_substring_regex(parts, r"0$")).any():
        return form.model_copy(update={"decimals": int(lengths.max()), "fixed": False})
    return form.model_copy(update={"decimals": int(rows.argmax()), "fixed": True})


def shortest_decimals(values: Float64, most: int) -> int:
    """The fewest digits after the point that write every value, at most `most`."""
    return next(
        (n for n in range(most) if np.allclose(np.round(values, n), values, rtol=0, atol=1e-12)), most
    )


def _grouped(whole: Int64, mark: str, indian: bool) -> pa.Array:
    """Digits of non-negative integers (N,), with a mark between groups."""
    if not mark:
        return pa.array(whole).cast(pa.string())
    size = 1000
    rest, low = np.divmod(whole, size)
    text = _group(low, 3, rest > 0)
    step, width = (100, 2) if indian else (1000, 3)
    while rest.any():
        more = rest > 0
        rest, low = np.divmod(rest, step)
        head = pc.binary_join_element_wise(_group(low, width, rest > 0), text, pa.scalar(mark))
        text = pc.if_else(pa.array(more), head, text)
    return text


def _group(low: Int64, width: int, padded: Bool) -> pa.Array:
    digits = pa.array(low).cast(pa.string())
    return pc.if_else(pa.array(padded), pc.utf8_lpad(digits, width, "0"), digits)
