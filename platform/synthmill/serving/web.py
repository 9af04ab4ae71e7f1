"""The page at `/` and what belongs to it: files of this package, nothing from elsewhere."""

import html
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
PAGES = {"/": "index.html", "/docs": "docs.html"}
ASSETS = ("style.css", "app.js", "charts.js", "code.js", "docs.js")


class File(NamedTuple):
    """A file as it is sent."""

    data: bytes
    media_type: str


@lru_cache
def page_file(name: str) -> File:
    """One of the package's page files."""
    data = (resources.files("synthmill.serving") / "page" / name).read_bytes()
    return File(data, MEDIA_TYPES[name.rpartition(".")[2]])


def sign_in_page(error: str | None) -> str:
    """The form that takes a key; `error` says what was wrong with the last one."""
    message = f'<p id="error" class="error" role="alert">{html.escape(error)}</p>' if error else ""
    return page_file("sign-in.html").data.decode().replace("<!-- error -->", message)
