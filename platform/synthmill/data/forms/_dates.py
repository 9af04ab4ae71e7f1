"""Which pattern the dates and times of a column follow, decided over all of them."""

import itertools
import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool
from synthmill.data.forms._words import MONTH_START, ZONES, day_names, month_names
from synthmill.data.forms.base import Ask, Found, Hint, Values, to_bool
from synthmill.data.forms.moment import DIRECTIVE, PATTERNS, MomentForm

SAMPLE = 300
LATEST_YEAR = 2050
"""Two digits stand for years that end no later, where the years of a column leave a choice."""
_NAME = r"(?P<b>[^\W\d_]{3,12}\.?)"
_DATES = (
    r"(?P<Y>\d{4})(?P<s1>[-/.])(?P<m>\d{1,2})(?P<s2>[-/.])(?P<d>\d{1,2})",
    r"(?P<x>\d{1,2})(?P<s1>[-/. ]|\. )(?P<w>\d{1,2})(?P<s2>[-/. ]|\. )(?P<Y>\d{4})",
    r"(?P<x>\d{1,2})(?P<s1>[-/.])(?P<w>\d{1,2})(?P<s2>[-/.])(?P<y>\d{2})",
    rf"(?P<d>\d{{1,2}})(?P<s1>[-/ ]|\. ?|)?{_NAME}(?P<s2>[-/ ]|)(?P<Y>\d{{4}})",
    rf"(?P<d>\d{{1,2}})(?P<s1>[-/ ]|\. ?|)?{_NAME}(?P<s2>[-/ ]|)(?P<y>\d{{2}})",
    rf"{_NAME}(?P<s1>[- ])(?P<d>\d{{1,2}})(?P<s2>, ?| )(?P<Y>\d{{4}})",
    rf"(?P<Y>\d{{4}})(?P<s1>[-/ ]){_NAME}(?P<s2>[-/ ])(?P<d>\d{{1,2}})",
    rf"{_NAME}(?P<s1>[-/ ])(?P<Y>\d{{4}})",
    rf"{_NAME}(?P<s1>[-/ ])(?P<y>\d{{2}})",
    r"(?P<Y>\d{4})(?P<m>\d{2})(?P<d>\d{2})",
    r"(?P<Y>\d{4})(?P<s1>[-/])(?P<m>\d{2})",
    r"(?P<m>\d{2})(?P<s1>[/.])(?P<Y>\d{4})",
)
_WEEKDAY = r"(?:(?P<a>[^\W\d_]{2,10}\.?)(?P<s0>,? ))?"
_HALF = r"(?: ?)[AaPp]\.?[Mm]\.?"
_CLOCK = (
    rf"(?P<H>\d{{1,2}})(?P<c1>[:.h])(?P<M>\d{{2}})(?:(?P<c2>[:.])(?P<S>\d{{2}})(?:(?P<p0>[.,])(?P<f>\d{{1,9}}))?)?"
    rf"(?P<p>{_HALF})?"
)
_COMPACT_CLOCK = r"(?P<H>\d{2})(?P<M>\d{2})(?P<S>\d{2})"
_ZONE = rf"(?P<z> ?(?:Z|UTC|GMT|{'|'.join(ZONES)}|[+-]\d{{2}}:?\d{{2}}|[+-]\d{{2}}))?"
_JOIN = r"(?P<j>T| +|, |:| at | um |_)"
_SHAPES = (
    *(re.compile(rf"^{_WEEKDAY}{date}(?:{_JOIN}{_CLOCK}{_ZONE})?$") for date in _DATES),
    re.compile(rf"^{_DATES[9]}(?P<j>[T_]?){_COMPACT_CLOCK}{_ZONE}$"),
    re.compile(rf"^{_CLOCK}(?P<z> ?(?:Z|UTC))?$"),
)


def find(values: Values, hint: Hint = Hint()) -> Found | Ask | None:  # noqa: B008
    """The form of most of the texts; None where hardly any is a date or a time."""
    if hint.datetime_format is not None:
        return _stated(values, hint.datetime_format)
    sample = values.first(SAMPLE)
    votes: Counter[tuple[str, ...]] = Counter()
    for text, rows in zip(sample.texts.to_pylist(), sample.counts.tolist(), strict=True):
        votes[_key(text)] += rows
    votes.pop((), None)
    if not votes:
        return _rare(values) if re.match(_RARE_START, sample.texts[0].as_py()) else None
    # The same order of year, month and day is one candidate, however it is padded.
    best: list[tuple[int, MomentForm, Bool]] = []
    for key, _ in votes.most_common(3):
        for form in _candidates(key, values):
            form, read = _within_reach(form, values)
            best.append((int(values.counts[read].sum()), form, read))
        if best and max(rows for rows, *_ in best) >= 0.5 * values.rows:
            break
    if not best:
        return None
    most = max(rows for rows, *_ in best)
    ties = [(form, read) for rows, form, read in best if rows == most]
    if most < 0.02 * values.rows or most == 0:
        return None
    orders = {_order(form) for form, _ in ties}
    if len(orders) > 1 and hint.kind not in ("text",):
        first, second = (form.pattern.replace("%-", "%") for form in _one_of_each(ties))
        return Ask(
            "days and months can't be told apart; state"
            f' `datetime_format: "{first}"` or `datetime_format: "{second}"`'
        )
    form, read = _with_offset(*ties[0], values)
    return Found(_with_century(form, values.where(read)), read)


_RARE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S UTC %Y")
"""How C and the social networks write times: the year stands last."""
_RARE_START = r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d "


def _rare(values: Values) -> Found | None:
    found = max((_stated(values, pattern) for pattern in _RARE), key=lambda one: values.share(one.fits))
    return found if found.fits.any() else None


def _key(text: str) -> tuple[str, ...]:
    """What the pieces of a text are, with the marks between them; () where it is no date or time.

    (shape, marks..., width flags): texts with equal keys follow the same patterns.
    """
    for number, shape in enumerate(_SHAPES):
        match = shape.match(text)
        if match is None:
            continue
        found = match.groupdict()
        if found.get("b") and not _known_month(found["b"]):
            continue
        year = found.get("Y")
        if year is not None and not 1 <= int(year) <= 9999:
            continue
        marks = [found.get(name) or "" for name in ("s0", "s1", "s2", "j", "c1", "c2", "p0")]
        digits = str(len(found["f"])) if found.get("f") else ""
        return (
            str(number),
            *marks,
            "S" if found.get("S") else "H" if found.get("H") else "",
            digits,
            re.sub(r"[AaPp]", "*", found.get("p") or ""),
            _zone_style(found.get("z")),
            "a" if found.get("a") else "",
        )
    return ()


def _zone_style(zone: str | None) -> str:
    """The zone with its digits as 0, and `Z` for itself."""
    return re.sub(r"[+-]", "+", re.sub(r"\d", "0", zone or ""))


def _known_month(word: str) -> bool:
    word = word.lower()
    return MONTH_START.match(word) is not None and any(word in names for names in month_names())


def _candidates(key: tuple[str, ...], values: Values) -> list[MomentForm]:
    """The patterns that texts with a key may follow: padded or not, day or month first."""
    number, s0, s1, s2, join, c1, c2, p0, clock, digits, half, zone, weekday = key
    shape = _SHAPES[int(number)]
    names = [name for name in shape.groupindex if name in "YymdxwbHMSfpza"]
    if not clock:
        names = [name for name in names if name not in "HMSfpz"]
    if clock == "H":
        names = [name for name in names if name not in "Sf"]
    if not digits:
        names = [name for name in names if name != "f"]
    if not half:
        names = [name for name in names if name != "p"]
    if not zone:
        names = [name for name in names if name != "z"]
    if not weekday:
        names = [name for name in names if name != "a"]
    pattern = ""
    dates_seen = 0
    before = {"M": c1, "S": c2, "f": p0}
    compact = int(number) == len(_DATES)
    for name in names:
        mark = before.get(name, "")
        if name in "Yymdxwb":
            mark = s0 if dates_seen == 0 else s1 if dates_seen == 1 else s2
            mark = "" if dates_seen == 0 and not weekday else mark
            dates_seen += 1
        elif name == "H":
            mark = join if dates_seen else ""
        pattern += "" if compact and name in "MS" else mark
        pattern += _zone_text(zone) if name == "z" else f"%{name}"
    pattern = pattern.replace("%p", (" " if half.startswith(" ") else "") + "%p")
    return _filled(pattern, values, half.strip(), digits, zone)


def _zone_text(zone: str) -> str:
    """A zone in words stands in the pattern; offsets are read."""
    word = zone.strip()
    lead = zone[: len(zone) - len(word)]
    return lead + (word if word in ("UTC", "GMT", *ZONES) else "%z")


def _filled(pattern: str, values: Values, half: str, digits: str, zone: str) -> list[MomentForm]:
    """Forms of a pattern: each way of padding, each order of `x` and `w`, names as the column writes them."""
    orders = [pattern]
    if "%x" in pattern:
        # A point between numbers is how days come first; a slash or a dash leaves it open.
        orders = [
            pattern.replace("%x", "%d").replace("%w", "%m"),
            pattern.replace("%x", "%m").replace("%w", "%d"),
        ]
        orders = orders[:1] if re.search(r"%x\. ?%w", pattern) else orders
    if half:
        orders = [text.replace("%H", "%I") for text in orders]
    forms = []
    halves = tuple(half.replace("*", letter, 1) for letter in ("AP" if half.isupper() else "ap"))
    months, days = (
        _names(values, "b") if "%b" in pattern else (),
        _names(values, "a") if "%a" in pattern else (),
    )
    if ("%b" in pattern and not months) or ("%a" in pattern and not days):
        return []
    unit = "D" if not re.search(r"%[HI]", orders[0]) else "s"
    if unit == "s":
        # Milliseconds are the coarsest unit of Parquet, and what plain times of a CSV have.
        unit = "ms" if int(digits or 0) <= 3 else "us" if int(digits) <= 6 else "ns"
        unit = "s" if "%Y" not in pattern and "%y" not in pattern and not digits else unit
    for text in orders:
        loose = [name for name in ("d", "m", "H", "I") if f"%{name}" in text]
        for padded in itertools.product((True, False), repeat=2):
            made = text
            for name in loose:
                if not padded[name in "HI"]:
                    made = made.replace(f"%{name}", f"%-{name}")
            form = MomentForm.model_validate(
                {
                    "pattern": made,
                    "digits": int(digits or 0),
                    "unit": unit,
                    "months": months,
                    "days": days,
                    "halves": halves if half else (),
                    "zone": ZONES.get(zone.strip(), "UTC") if zone else None,
                    "colon": ":" in zone,
                    "zulu": zone.strip() == "Z",
                }
            )
            forms += [] if form in forms else [form]
    return forms


def _names(values: Values, what: str) -> tuple[str, ...]:
    """The list of names that holds most of the column's own, in its case."""
    lists = month_names() if what == "b" else day_names()
    words = pc.unique(pc.list_flatten(pc.split_pattern_regex(values.first(SAMPLE * 4).texts, r"[\d\s,/-]+")))
    own = [word for word in words.to_pylist() if word and word[0].isalpha()]
    # A point may end the day's number instead of the name.
    lower = {word.lower() for word in own}
    best = max(lists, key=lambda names: len(lower & set(names)))
    shown = [word for word in own if word.lower() in best]
    if not shown:
        return ()
    upper, title = all(word.isupper() for word in shown), all(word[0].isupper() for word in shown)
    return tuple(name.upper() if upper else name.capitalize() if title else name for name in best)


def _order(form: MomentForm) -> tuple[str, ...]:
    return tuple(name.lstrip("-") for name in DIRECTIVE.findall(form.pattern))


def _one_of_each(ties: list[tuple[MomentForm, Bool]]) -> list[MomentForm]:
    found = {_order(form): form for form, _ in reversed(ties)}
    return sorted(found.values(), key=lambda form: _order(form) != ("d", "m"))[:2]


def _with_century(form: MomentForm, values: Values) -> MomentForm:
    """Two-digit years begin after the widest gap between those that occur, so that births of 1930 to 2005
    stay
    together."""
    if "%y" not in form.pattern:
        return form
    cells = pc.struct_field(pc.extract_regex(values.texts, form.regex()), "y")
    years = np.unique(np.asarray(pc.unique(cells.drop_null()).cast(pa.int64())))
    gaps = np.diff(np.concatenate([years, [years[0] + 100]]))
    start = int(years[(int(np.argmax(gaps)) + 1) % len(years)])
    span = 100 - int(gaps.max())
    first = 2000 + start
    century = first if first + span <= LATEST_YEAR else first - 100
    return form.model_copy(update={"century": century})


def _with_offset(form: MomentForm, read: Bool, values: Values) -> tuple[MomentForm, Bool]:
    """An offset that is not UTC's stands in the pattern: that of most texts, which then are all that is
    read."""
    if "%z" not in form.pattern:
        return form, read
    ends = pc.struct_field(pc.extract_regex(values.texts, form.regex()), "z")
    coded = ends.fill_null("").dictionary_encode()
    codes = np.asarray(coded.indices)
    rows = np.bincount(codes[read], weights=values.counts[read], minlength=len(coded.dictionary))
    usual = coded.dictionary[int(rows.argmax())].as_py()
    if usual == "Z" or not usual.strip("+-0:"):
        zulu = usual == "Z"
        spelling = to_bool(pc.equal(pc.utf8_length(ends), len(usual)))
        update = {"zulu": zulu, "colon": ":" in usual}
        return form.model_copy(update=update), read & spelling & ((codes == rows.argmax()) | zulu)
    digits = usual.replace(":", "").ljust(5, "0")
    update = {"pattern": form.pattern.replace("%z", usual), "zone": f"{digits[:3]}:{digits[3:]}"}
    return form.model_copy(update=update), read & (codes == rows.argmax())


def _within_reach(form: MomentForm, values: Values) -> tuple[MomentForm, Bool]:
    """The form and which texts it reads: in microseconds where 64 bits of nanoseconds, which begin in 1677
    and end in 2262, reach fewer of them."""
    read = to_bool(form.parse(values.texts).is_valid())
    if form.unit != "ns" or read.all():
        return form, read
    wide = form.model_copy(update={"unit": "us"})
    reached = to_bool(wide.parse(values.texts).is_valid())
    return (wide, reached) if reached.sum() > read.sum() else (form, read)


def _stated(values: Values, pattern: str) -> Found:
    """The form of a `strftime` pattern that a schema file states."""
    own = {
        "%B": "%b",
        "%A": "%a",
        "%T": "%H:%M:%S",
        "%R": "%H:%M",
        "%D": "%m/%d/%y",
        "%F": "%Y-%m-%d",
        "%e": "%-d",
    }
    for short, long in own.items():
        pattern = pattern.replace(short, long)
    names = [name.lstrip("-") for name in DIRECTIVE.findall(pattern)]
    unknown = next((name for name in names if name not in PATTERNS and name not in "bap"), None)
    if unknown is not None:
        raise ValueError(f"%{unknown}")
    halves = ("AM", "PM")
    if "p" in names:
        joined = " ".join(values.first(SAMPLE).texts.to_pylist())
        halves = ("am", "pm") if re.search(r"[ap]m", joined) else halves
    clock = bool({"H", "I"} & set(names))
    dated = bool({"Y", "y"} & set(names))
    unit = "D" if not clock else ("us" if "f" in names else "ms" if dated else "s")
    digits = 0
    if "f" in names:
        ends = pc.replace_substring_regex(values.first(SAMPLE).texts, r"^.*?(\d*)\D*$", r"\1")
        lengths = pc.mode(pc.binary_length(ends))
        digits = int(lengths[0]["mode"].as_py()) if len(lengths) else 6
    padded = MomentForm.model_validate(
        {
            "pattern": pattern,
            "unit": unit,
            "digits": digits,
            "months": _names(values, "b") if "b" in names else (),
            "days": _names(values, "a") if "a" in names else (),
            "halves": halves,
            "zone": "UTC"
            if "z" in names or (re.search(r"UTC|GMT|\dZ?$|SZ$", pattern) and "Z" in pattern)
            else None,
            "colon": not to_bool(pc.match_substring_regex(values.first(SAMPLE).texts, r"[+-]\d{4}\b")).any(),
            "zulu": "z" in names and to_bool(pc.ends_with(values.first(SAMPLE).texts, "Z")).any(),
        }
    )
    # `%d` reads 5 and 05 alike, as strptime does; it is written as most of the column is.
    bare = padded.model_copy(update={"pattern": re.sub(r"%([dmHI])", r"%-\1", pattern)})
    read, loose = (to_bool(form.parse(values.texts).is_valid()) for form in (padded, bare))
    form, read = (padded, read) if values.counts[read].sum() >= values.counts[loose].sum() else (bare, loose)
    return Found(_with_century(form, values.where(read)) if read.any() else form, read)
