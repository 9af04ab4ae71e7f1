"""Which form of answer an Accept header requests (RFC 9110, 12.5.1)."""

from functools import lru_cache

from synthmill.errors import UserError
from synthmill.serving.formats import Format


class NotAcceptableError(UserError):
    """No format that the client accepts is offered."""


@lru_cache(maxsize=256)
def negotiate(accept: str | None, forms: tuple[type[Format], ...]) -> type[Format]:
    """The offered form that an Accept header prefers; the first one offered when it does not care.

    Raises:
        NotAcceptableError: names the header and the forms there are.
    """
    ranges = [_preference(item) for item in (accept or "*/*").split(",")]
    offers = []
    for form in forms:
        # The most precise range decides; of equal ones the first.
        matching = [
            (_precision(range_), -place, quality)
            for place, (range_, quality) in enumerate(ranges)
            if _matches(range_, form.media_type)
        ]
        _, place, quality = max(matching, default=(0, 0, 0.0))
        if quality > 0:
            offers.append((quality, place, form))
    if not offers:
        known = ", ".join(form.media_type for form in forms)
        raise NotAcceptableError(f"can't answer as {accept!r}; there is: {known}", field="Accept")
    return max(offers, key=lambda offer: offer[:2])[2]


def _preference(item: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip().lower() for part in item.split(";"))
    # What can't be read is refused rather than preferred.
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return media_type, float(quality)
    except ValueError:
        return media_type, 0.0


def _matches(pattern: str, media_type: str) -> bool:
    return pattern in ("*/*", media_type) or (pattern.endswith("/*") and media_type.startswith(pattern[:-1]))


def _precision(pattern: str) -> int:
    return 0 if pattern == "*/*" else 1 if pattern.endswith("/*") else 2
