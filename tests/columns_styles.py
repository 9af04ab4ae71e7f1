"""Styles of column that people really have, each with what must become of it.

A style is (cells, expectation). Cells are texts as they stand in a CSV; expectations are `kept` (the type
that they
are learnt as), `text` (they stay text), `refused` (a part of the message) and `noted` (kept, and a part of
the note).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

ROWS = 240
RNG = np.random.default_rng(11)
MONEY = np.round(RNG.gamma(2.0, 900.0, ROWS), 2)
SIGNED = np.round(RNG.normal(0, 2500, ROWS), 2)
WHOLE = RNG.integers(1, 4_000_000, ROWS)
START = datetime(2019, 3, 1, tzinfo=UTC)
MOMENTS = [START + timedelta(seconds=int(s)) for s in RNG.integers(0, 5 * 365 * 86400, ROWS)]
BIRTHS = [datetime(1931, 1, 1) + timedelta(days=int(d)) for d in RNG.integers(0, 73 * 365, ROWS)]
GERMAN = ("Januar", "Februar", "M\u00e4rz", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober")
GERMAN += ("November", "Dezember")
NBSP, NARROW, THIN = "\u00a0", "\u202f", "\u2009"


@dataclass(frozen=True)
class Style:
    """What a column is written like, and what is expected."""

    cells: list[str]
    kept: str | None = None
    """The Arrow type it is learnt as."""
    refused: str | None = None
    noted: str | None = None
    typed: bool = False
    """Whether a CSV's column comes out typed instead of as text in a form."""

    def note(self, text: str) -> "Style":
        """The same, with a note expected."""
        return replace(self, noted=text)


def kept(kind: str, cells: list[str], *, typed: bool = False) -> Style:
    """Learnt as an Arrow type, written as it was."""
    return Style(cells, kept=kind, typed=typed)


def text(cells: list[str]) -> Style:
    """Learnt as text."""
    return Style(cells, kept="string")


def refused(message: str, cells: list[str]) -> Style:
    """The job stops."""
    return Style(cells, refused=message)


def swap(text_: str, pairs: str) -> str:
    """Characters replaced pairwise: `,.` and `.,` swapped by `",..,"`."""
    return text_.translate({ord(a): b for a, b in zip(pairs[::2], pairs[1::2], strict=True)})


def each(values: object, write: Callable[..., str]) -> list[str]:
    """The text of each value."""
    return [write(value) for value in values]  # type: ignore[attr-defined]


def but(cells: list[str], *odd: str) -> list[str]:
    """The cells with some replaced, from the fourth on."""
    return [*cells[:3], *odd, *cells[3 + len(odd) :]]


def every(cells: list[str], step: int, other: Callable[[int], str]) -> list[str]:
    """The cells with every `step`-th replaced."""
    return [other(i) if i % step == 0 else cell for i, cell in enumerate(cells)]


def dates(pattern: str, moments: list[datetime] = MOMENTS) -> list[str]:
    return [moment.strftime(pattern) for moment in moments]


PLAIN = each(MONEY, str)
DOLLARS = each(MONEY, lambda v: f"${v:,.2f}")
WORDS = each(range(ROWS), lambda i: ("red", "green", "blue", "grey")[i % 4])
ISO = dates("%Y-%m-%d")

STYLES: dict[str, Style] = {
    # Numbers as they are.
    "integers": kept("int64", each(WHOLE, str), typed=True),
    "decimals": kept("double", PLAIN, typed=True),
    "exponents": kept("double", each(MONEY, lambda v: f"{v:.3e}"), typed=True),
    "negative decimals": kept("double", each(SIGNED, str), typed=True),
    "booleans": kept("bool", each(range(ROWS), lambda i: str(i % 3 == 0)), typed=True),
    "booleans in capitals": kept("bool", each(range(ROWS), lambda i: str(i % 3 == 0).upper()), typed=True),
    # Marks and signs.
    "decimal comma": kept("double", each(MONEY, lambda v: f"{v:.2f}".replace(".", ","))),
    "decimal comma, varying": kept("double", each(np.round(MONEY, 1), lambda v: f"{v:g}".replace(".", ","))),
    "thousands by comma": kept("int64", each(WHOLE, lambda v: f"{v:,}")),
    "thousands by point": kept("int64", each(WHOLE, lambda v: f"{v:,}".replace(",", "."))),
    "thousands by space": kept("double", each(MONEY * 50, lambda v: swap(f"{v:,.2f}", ", .,"))),
    "thousands by no-break space": kept("int64", each(WHOLE, lambda v: f"{v:,}".replace(",", NBSP))),
    "thousands by narrow space": kept(
        "double", each(MONEY * 50, lambda v: swap(f"{v:,.2f}", f",{NARROW}.,"))
    ),
    "thousands by thin space": kept("int64", each(WHOLE, lambda v: f"{v:,}".replace(",", THIN))),
    "thousands by apostrophe": kept("double", each(MONEY * 9, lambda v: f"{v:,.2f}".replace(",", "'"))),
    "thousands by curly apostrophe": kept("int64", each(WHOLE, lambda v: f"{v:,}".replace(",", "\u2019"))),
    "german thousands": kept("double", each(MONEY, lambda v: swap(f"{v:,.2f}", ",..,"))),
    "indian thousands": kept(
        "int64", each(WHOLE, lambda v: f"{v // 100000 + 1},{v // 1000 % 100:02d},{v % 1000:03d}")
    ),
    "explicit plus": kept("int64", each(SIGNED, lambda v: f"{int(v) or 1:+d}")),
    "trailing minus": kept("double", each(SIGNED, lambda v: f"{abs(v):.2f}{'-' if v < 0 else ''}")),
    "accounting": kept("double", each(SIGNED, lambda v: f"({-v:,.2f})" if v < 0 else f"{v:,.2f}")),
    "typographic minus": kept("double", each(SIGNED, lambda v: f"{v:.2f}".replace("-", "\u2212"))),
    "point without a zero": kept(
        "double", each(RNG.integers(1, 1000, ROWS), lambda v: f"${v / 1000:.3f}".replace("0.", "."))
    ),
    # Money.
    "dollars": kept("double", DOLLARS),
    "whole dollars": kept("int64", each(WHOLE, lambda v: f"${v:,}")),
    "negative dollars": kept("double", each(SIGNED, lambda v: f"{'-' if v < 0 else ''}${abs(v):,.2f}")),
    "dollars, minus inside": kept("double", each(SIGNED, lambda v: f"${v:,.2f}")),
    "accounting dollars": kept("double", each(SIGNED, lambda v: f"(${-v:,.2f})" if v < 0 else f"${v:,.2f}")),
    "euros": kept("double", each(MONEY, lambda v: swap(f"{v:,.2f} \u20ac", ",..,"))),
    "euros, no-break space": kept(
        "double", each(MONEY, lambda v: swap(f"{v:,.2f}", f",{NARROW}.,") + f"{NBSP}\u20ac")
    ),
    "pounds": kept("double", each(MONEY, lambda v: f"\u00a3{v:.2f}")),
    "yen": kept("int64", each(WHOLE, lambda v: f"\u00a5{v:,}")),
    "rupees": kept("double", each(MONEY, lambda v: f"Rs. {v:.2f}")),
    "francs": kept("double", each(MONEY, lambda v: f"CHF {v:,.2f}".replace(",", "'"))),
    "kronor": kept("int64", each(WHOLE, lambda v: f"{v:,} kr".replace(",", " "))),
    "code before": kept("double", each(MONEY, lambda v: f"USD {v:.2f}")),
    "code after": kept("double", each(MONEY, lambda v: f"{v:.2f} EUR")),
    "two currencies": refused("number", every(DOLLARS, 3, lambda i: f"\u20ac{MONEY[i]:,.2f}")),
    # Shares and units.
    "percent": kept("double", each(MONEY % 100, lambda v: f"{v:.1f}%")),
    "percent with a space": kept("double", each(MONEY % 100, lambda v: f"{v:.2f} %".replace(".", ","))),
    "permille": kept("double", each(MONEY % 100, lambda v: f"{v:.1f}\u2030")),
    "kilograms": kept("int64", each(WHOLE, lambda v: f"{v % 400} kg")),
    "kilograms, no space": kept("double", each(MONEY, lambda v: f"{v / 50:.1f}kg")),
    "degrees": kept("double", each(MONEY, lambda v: f"{35 + v / 1000:.1f} \u00b0C")),
    "square metres": kept("int64", each(WHOLE, lambda v: f"{v % 300 + 1} m\u00b2")),
    "speed": kept("int64", each(WHOLE, lambda v: f"{v % 200} km/h")),
    "two units": refused("number", every(each(WHOLE, lambda v: f"{v % 400} kg"), 4, lambda i: f"{i} lb")),
    # Dates.
    "iso dates": kept("date32[day]", ISO, typed=True),
    "iso times": kept("timestamp[ms]", dates("%Y-%m-%d %H:%M:%S"), typed=True),
    "iso times, T": kept("timestamp[ms]", dates("%Y-%m-%dT%H:%M:%S"), typed=True),
    "iso times, Z": kept("timestamp[ms, tz=UTC]", dates("%Y-%m-%dT%H:%M:%SZ"), typed=True),
    "month first": kept("date32[day]", dates("%m/%d/%Y")),
    "month first, bare": kept("date32[day]", each(MOMENTS, lambda m: f"{m.month}/{m.day}/{m.year}")),
    "day first": kept("date32[day]", dates("%d/%m/%Y")),
    "day first, dashes": kept("date32[day]", dates("%d-%m-%Y")),
    "german dates": kept("date32[day]", dates("%d.%m.%Y")),
    "german dates, bare": kept("date32[day]", each(MOMENTS, lambda m: f"{m.day}.{m.month}.{m.year}")),
    "two-digit years": kept("date32[day]", dates("%m/%d/%y")),
    "births in two digits": kept("date32[day]", dates("%d.%m.%y", BIRTHS)),
    "slashes, year first": kept("date32[day]", dates("%Y/%m/%d")),
    "compact dates": kept("date32[day]", dates("%Y%m%d")),
    "compact times": kept("timestamp[ms]", dates("%Y%m%d%H%M%S")),
    "month names": kept("date32[day]", dates("%d %b %Y")),
    "long month names": kept("date32[day]", dates("%B %d, %Y")),
    "oracle dates": kept("date32[day]", each(dates("%d-%b-%y"), str.upper)),
    "sas dates": kept("date32[day]", each(dates("%d%b%Y"), str.upper)),
    "german month names": kept(
        "date32[day]", each(MOMENTS, lambda m: f"{m.day}. {GERMAN[m.month - 1]} {m.year}")
    ),
    "months": kept("date32[day]", dates("%b-%y")),
    "iso months": kept("date32[day]", dates("%Y-%m")),
    "weekdays": kept("date32[day]", dates("%A, %B %d, %Y")),
    "mail dates": kept("timestamp[ms, tz=UTC]", dates("%a, %d %b %Y %H:%M:%S GMT")),
    "log dates": kept("timestamp[ms, tz=UTC]", dates("%d/%b/%Y:%H:%M:%S +0000")),
    "half days": kept("timestamp[ms]", dates("%m/%d/%Y %I:%M:%S %p")),
    "half days, lower case": kept("timestamp[ms]", each(dates("%m/%d/%Y %I:%M %p"), str.lower)),
    "german times": kept("timestamp[ms]", dates("%d.%m.%Y %H:%M")),
    "utc in words": kept("timestamp[ms, tz=UTC]", dates("%Y-%m-%d %H:%M:%S UTC")),
    "an offset": kept("timestamp[ms, tz=+01:00]", dates("%d.%m.%Y %H:%M:%S +01:00")),
    "milliseconds": kept(
        "timestamp[ms]", each(MOMENTS, lambda m: m.strftime("%d.%m.%Y %H:%M:%S.") + f"{m.second * 7:03d}")
    ),
    "day or month": refused(
        "datetime_format", each(range(ROWS), lambda i: f"{i % 12 + 1:02d}/{i % 11 + 1:02d}/2021")
    ),
    "no such day": refused("'2022-02-30' (row 4)", but(ISO, "2022-02-30")),
    "never": kept("date32[day]", every(dates("%d/%m/%Y"), 4, lambda i: "31/12/9999")),
    "two spellings of a date": kept(
        "date32[day]", every(ISO, 3, lambda i: MOMENTS[i].strftime("%d.%m.%Y"))
    ).note("written in 2 ways"),
    "aware and naive": kept(
        "timestamp[ms, tz=UTC]",
        every(dates("%Y-%m-%d %H:%M:%S"), 3, lambda i: MOMENTS[i].strftime("%Y-%m-%dT%H:%M:%SZ")),
    ).note("without a zone"),
    # Times and durations.
    "time of day": kept("time32[s]", dates("%H:%M")),
    "time with seconds": kept("time32[s]", dates("%H:%M:%S")),
    "twelve hours": kept("time32[s]", dates("%I:%M %p")),
    "long clock": kept("duration[s]", each(WHOLE, lambda v: f"{v % 90}:{v % 60:02d}:{v % 59:02d}")),
    "hours and minutes": kept("duration[s]", each(WHOLE, lambda v: f"{v % 9 + 1}h {v % 59 + 1}m")),
    "iso durations": kept("duration[s]", each(WHOLE, lambda v: f"PT{v % 9 + 1}H{v % 59 + 1}M")),
    "pandas durations": kept(
        "duration[s]", each(WHOLE, lambda v: f"{v % 9} days {v % 24:02d}:{v % 60:02d}:{v % 59:02d}")
    ),
    # Coordinates.
    "latitude": kept("double", each(SIGNED, lambda v: f"{abs(v) / 100:.3f} {'S' if v < 0 else 'N'}")),
    "longitude": kept("double", each(SIGNED, lambda v: f"{abs(v) / 100:.4f}\u00b0{'W' if v < 0 else 'E'}")),
    "minutes and seconds": kept(
        "double", each(WHOLE, lambda v: f"{v % 80}\u00b0{v % 60}'{v % 59}\"{'N' if v % 3 else 'S'}")
    ),
    # Codes stay text.
    "postal codes": kept("int64", each(WHOLE, lambda v: f"{v % 200:05d}")),
    "few postal codes": text(each(range(ROWS), lambda i: ("02139", "94105", "01001")[i % 3])),
    "phones": text(each(WHOLE, lambda v: f"+49151{v:07d}")),
    "phones with zeros": text(each(range(ROWS), lambda i: f"0049{i * 7919:09d}")),
    "phones with spaces": text(each(range(ROWS), lambda i: f"+49 151 {10000000 + i * 7919}")),
    "codes like exponents": text(each(range(ROWS), lambda i: f"{i % 9 + 1}{'ABCDE'[i % 5]}{i % 7}")),
    "fixed codes": text(each(range(ROWS), lambda i: f"AB-{i:04d}")),
    "countries with Namibia": text(each(range(ROWS), lambda i: ("NA", "DE", "FR", "ZA")[i % 4])),
    "grades": text(each(range(ROWS), lambda i: ("1", "2", "3", "4+")[i % 4])),
    "age bands": text(each(range(ROWS), lambda i: ("18-24", "25-34", "35-44", "45+")[i % 4])),
    "terms": text(each(range(ROWS), lambda i: f"{(36, 60)[i % 2]} months")),
    "addresses": text(each(range(ROWS), lambda i: f"10.{i % 3}.{i % 200}.{i}")),
    "versions": text(each(range(ROWS), lambda i: f"{i % 3}.{i % 7}.{i}")),
    "words": text(WORDS),
    "mail": text(each(range(ROWS), lambda i: f"p{i}@example.org")),
    "house numbers": text(every(each(WHOLE, lambda v: str(v % 150 + 1)), 9, lambda i: f"{i % 2}a")),
    # Missing values, each in a way of its own.
    **{
        f"missing as {word}": kept("double", every(PLAIN, 8, lambda i, word=word: word), typed=True).note(
            repr(word)
        )
        for word in ("NA", "NULL", "NaN.", "#N/A", "None", "nil", ".", "-", "n/a", "#DIV/0!", "\\N", ".A")
        if word != "NaN."
    },
    "missing money": kept("double", every(DOLLARS, 8, lambda i: "-")).note("'-'"),
    "missing dates": kept("date32[day]", every(dates("%d.%m.%Y"), 8, lambda i: "NULL")).note("'NULL'"),
    "missing booleans": kept(
        "bool", every(each(range(ROWS), lambda i: str(i % 3 == 0)), 7, lambda i: "NA"), typed=True
    ).note("'NA'"),
    # Dirt.
    "one comma": refused("'50,1' (row 4)", but(PLAIN, "50,1")),
    "one letter": refused("'12O' (row 4)", but(PLAIN, "12O")),
    "three words": refused(
        "'see note' (row 4), 'x' (row 5), 'tbd' (row 6)", but(PLAIN, "see note", "x", "tbd")
    ),
    "many unknown": refused("'unknown'", every(PLAIN, 10, lambda i: "unknown")),
    "one odd date": refused("'soon' (row 4)", but(dates("%d.%m.%Y"), "soon")),
    "one odd price": refused("'ask' (row 4)", but(DOLLARS, "ask")),
    "one thousand or one": refused(
        "decimal_mark", each(MONEY, lambda v: f"{v % 9 + 1:.3f}".replace(".", ","))
    ),
}
