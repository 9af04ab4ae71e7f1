"""The forms that together read a column's texts, and the texts that need none because a plain type says it
all."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data import cells
from synthmill.data.columns import Bool, is_text
from synthmill.data.forms import _dates, angle, digits, duration, number, scientific
from synthmill.data.forms.base import Ask, Form, Found, Hint, Values, to_bool
from synthmill.data.forms.moment import MomentForm
from synthmill.data.forms.several import SeveralForm

Finder = Callable[[Values, Hint], Found | Ask | None]
FINDERS: tuple[Finder, ...] = (
    digits.find,
    number.find,
    _dates.find,
    duration.find,
    angle.find,
    scientific.find,
)
"""Tried in this order, the most rows win: a code of digits would pass for a number, a number for a date."""
MAX_FORMS = 8
MIN_SPELLING_SHARE = 0.01
MIN_ROWS = 5
FEW_LEVELS = 20
STATED: dict[str, tuple[Finder, ...]] = {
    "integer": (number.find, digits.find),
    "numeric": (number.find, angle.find, digits.find, scientific.find),
    "date": (_dates.find,),
    "datetime": (_dates.find, duration.find),
}


@dataclass(frozen=True)
class Fit:
    """Forms that together read a column's texts, the one of most rows first."""

    forms: list[Form]
    exact: Bool
    """The texts that a form writes just so."""
    read: Bool
    respelled: Bool
    """Those that are read, and would be written otherwise."""
    ask: Ask | None = None
    """A question that stood in the way."""


def fit_forms(values: Values, hint: Hint) -> Fit:
    """Greedily: the form of most rows, then that of most of the others, while they mean the same."""
    forms: list[Form] = []
    read = np.zeros(len(values.texts), dtype=bool)
    exact = read.copy()
    asked = None
    finders = STATED.get(hint.kind or "", FINDERS) if hint.datetime_format is None else (_dates.find,)
    for _ in range(MAX_FORMS):
        left = np.flatnonzero(~exact)
        part = values.where(~exact)
        found = [finder(part, hint) for finder in finders] if len(left) else []
        asked = asked or (next((one for one in found if isinstance(one, Ask)), None) if not forms else None)
        fitting = [one for one in found if isinstance(one, Found) and one.fits.any()]
        fitting = [one for one in fitting if not forms or one.form.group == forms[0].group]
        if not fitting:
            break
        best = max(fitting, key=lambda one: part.share(one.fits))
        rows = part.counts[best.fits].sum()
        if forms and rows < max(MIN_ROWS, MIN_SPELLING_SHARE * values.rows):
            break
        texts = part.texts.filter(pa.array(best.fits))
        same = to_bool(pc.equal(best.form.write(best.form.parse(texts)), texts))
        at = left[best.fits]
        read[at] = True
        if not same.any() or best.form in forms:
            forms += [] if forms else [best.form]
            break
        forms.append(best.form)
        exact[at[same]] = True
    for form in forms[:1] if not exact.all() else []:
        read |= to_bool(form.parse(values.texts).is_valid())
    return Fit(forms, exact, read, read & ~exact, None if read.all() else asked)


def plain_texts(values: Values, hint: Hint) -> Bool:
    """The texts that are plain numbers, booleans or ISO dates and times: whichever most rows are."""
    if hint.datetime_format is not None:
        return np.zeros(len(values.texts), dtype=bool)
    kinds = cells.PLAIN if hint.kind is None else cells.PLAIN_OF.get(hint.kind, ())
    masks = [cells.plain_mask(values.texts, kind) for kind in kinds]
    day = MomentForm(pattern="%Y-%m-%d").parse(pc.utf8_slice_codeunits(values.texts, 0, 10))
    masks = [
        mask & to_bool(day.is_valid()) if kind in ("date", "datetime") else mask
        for kind, mask in zip(kinds, masks, strict=True)
    ]
    none = np.zeros(len(values.texts), dtype=bool)
    if hint.kind is None and cells.are_exponent_codes(values.texts):
        masks[kinds.index("number")] = none
    zoned = cells.zone_mask(values.texts)
    masks += [mask & zoned for mask in masks] + [mask & ~zoned for mask in masks]
    if len(offsets(values.texts)) == 1:
        # One offset for all is part of how they are written; several can't be told apart in the output.
        masks = [mask & ~to_bool(cells.offset_mask(values.texts)) for mask in masks]
    if zoned.any() and not zoned.all():
        # Times with and without a zone have no plain type in common.
        masks = [mask for mask in masks if not (mask & zoned).any() or not (mask & ~zoned).any()]
    found = max([none, *masks], key=lambda mask: int(values.counts[mask].sum()))
    if found.all() and is_text(cells.plain_typed(pa.chunked_array([values.texts])).type):
        # Nanoseconds of the year 1500 look plain, and no plain type holds them.
        return none
    return found


def offsets(texts: pa.Array) -> list[str]:
    """The different offsets from UTC, UTC's own among them, in which times end."""
    zoned = texts.filter(pa.array(cells.zone_mask(texts)))
    ends = pc.replace_substring_regex(zoned, r"^.*?(Z|[+-]\d{2}(:?\d{2})?)$", r"\1")
    found: list[str] = pc.unique(ends).to_pylist() if pc.any(cells.offset_mask(zoned)).as_py() else []
    return found


def joined(forms: list[Form], values: Values | None) -> Form | None:
    """One form of them all, with the share of rows of each."""
    if len(forms) < 2:
        return forms[0] if forms else None
    shares = [1.0] * len(forms)
    if values is not None:
        left = np.ones(len(values.texts), dtype=bool)
        for at, form in enumerate(forms):
            same = left & to_bool(pc.equal(form.write(form.parse(values.texts)), values.texts))
            shares[at] = float(values.counts[same].sum())
            left &= ~same
    total = sum(shares)
    return SeveralForm(
        forms=tuple(form.to_json() for form in forms), shares=tuple(share / total for share in shares)
    )


def is_categories(values: Values) -> bool:
    """Whether the texts are few and each is frequent."""
    return len(values.texts) <= FEW_LEVELS and bool((values.counts >= MIN_ROWS).all())


def repeats(values: Values) -> bool:
    """Whether texts occur so often that they are categories."""
    return values.rows >= MIN_ROWS * len(values.texts)
