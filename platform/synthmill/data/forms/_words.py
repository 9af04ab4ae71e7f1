"""Words of languages and markets: currencies and names of months, from Babel's locale data."""

import functools
import re

from babel import Locale
from babel.dates import get_day_names, get_month_names

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "pl", "cs", "fi", "tr", "ro", "hu")
_SIGNS = (
    "$",
    "\u20ac",
    "\u00a3",
    "\u00a5",
    "\u20b9",
    "\u20bd",
    "\u20a9",
    "\u20ba",
    "\u20b4",
    "\u20ab",
    "\u20aa",
)
_LOCAL = (
    "kr",
    "kr.",
    "K\u010d",
    "z\u0142",
    "Ft",
    "lei",
    "Fr.",
    "SFr.",
    "Rs",
    "Rs.",
    "R",
    "Rp",
    "RM",
    "S$",
    "US$",
)
_MORE = (
    "C$",
    "A$",
    "NZ$",
    "HK$",
    "NT$",
    "R$",
    "MX$",
    "CA$",
    "AU$",
    "TL",
    "\u0440\u0443\u0431.",
    "\u043b\u0432",
)


ZONES = {
    "WET": "+00:00",
    "WEST": "+01:00",
    "BST": "+01:00",
    "CET": "+01:00",
    "MEZ": "+01:00",
    "CEST": "+02:00",
    "MESZ": "+02:00",
    "EET": "+02:00",
    "EEST": "+03:00",
    "MSK": "+03:00",
    "IST": "+05:30",
    "JST": "+09:00",
    "EST": "-05:00",
    "EDT": "-04:00",
    "CST": "-06:00",
    "CDT": "-05:00",
    "MST": "-07:00",
    "MDT": "-06:00",
    "PST": "-08:00",
    "PDT": "-07:00",
    "AEST": "+10:00",
    "AEDT": "+11:00",
    "NZST": "+12:00",
}
"""Short names of zones; where several zones share one, that of most people. It is written back as it was."""


@functools.cache
def currencies() -> frozenset[str]:
    """Signs, ISO codes and usual abbreviations of currencies."""
    english = Locale("en")
    return frozenset((*english.currencies, *english.currency_symbols.values(), *_SIGNS, *_LOCAL, *_MORE))


MONTH_START = re.compile(
    "a[bgopruv\u011f]|b\u0159|cz|d[eiu\xe9]|e[klny]|f[e\xe9]|g[eir]|h[aeu]|i[au]|"
    "j[aou\xfa]|k[aevw]|l[eiou]|m[aer\xe1\xe4]|n[io]|o[cktu]|p[ar]|s[eirtyz]|t[aeo]|wr|z\xe1|\xe1p|\xfan|\u010d[ev]|\u0159\xed|\u015fu"
)
"""How `month_names` begin: to load those of all languages takes longer than to read many a table, and most
words are no month's."""


@functools.cache
def month_names() -> tuple[tuple[str, ...], ...]:
    """Lists of 12 names, in the order in which languages are tried; short ones (also without their point) and
    long ones, each list once, lower case."""
    lists: dict[tuple[str, ...], None] = {}
    for language in LANGUAGES:
        for width in ("abbreviated", "wide"):
            for context in ("format", "stand-alone"):
                names = get_month_names(width, context=context, locale=language)
                own = tuple(str(names[month]).lower() for month in range(1, 13))
                lists[own] = None
                lists[tuple(name.rstrip(".") for name in own)] = None
                lists[tuple(name.rstrip(".")[:3] for name in own)] = None
    return tuple(names for names in lists if len(set(names)) == 12)


@functools.cache
def day_names() -> tuple[tuple[str, ...], ...]:
    """Lists of 7 names of weekdays from Monday, lower case, as `month_names`."""
    lists: dict[tuple[str, ...], None] = {}
    for language in LANGUAGES:
        for width in ("abbreviated", "wide"):
            names = get_day_names(width, locale=language)
            own = tuple(str(names[day]).lower() for day in range(7))
            lists[own] = None
            lists[tuple(name.rstrip(".") for name in own)] = None
    return tuple(names for names in lists if len(set(names)) == 7)
