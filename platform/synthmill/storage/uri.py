"""Where a store is: parsing of URIs and plain paths, and the check that no path escapes its folder.

A URI carries no credentials and no query; those come from the environment. So it can be printed and saved.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from synthmill.errors import RecipeError, did_you_mean

FIELD = "store URI"
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")
_USERINFO = re.compile(r"(://)[^/@\s\"']*@")
_QUERY = re.compile(r"(://[^?\s\"']*)\?[^\s\"']*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Location:
    """One folder: `root` is an absolute path for `file`, a key prefix without outer slashes for `s3`."""

    scheme: str
    bucket: str
    root: str

    @property
    def uri(self) -> str:
        """Canonical text, without a trailing slash."""
        if self.scheme == "file":
            return "file://" + quote(self.root.rstrip("/") or "/", safe="/~+=:,@")
        return f"{self.scheme}://{self.bucket}" + (f"/{self.root}" if self.root else "")

    def child(self, parts: str) -> "Location":
        """The folder `parts` below this one: names with '/' between them, checked before."""
        return Location(self.scheme, self.bucket, f"{self.root.rstrip('/')}/{parts}" if self.root else parts)

    def sibling(self, name: str) -> "Location":
        """The folder `name`, checked before, in the folder that this one is in."""
        parent, slash, own = self.root.rpartition("/")
        assert own, "a root has no siblings"
        return Location(self.scheme, self.bucket, f"{parent}{slash}{name}")


def is_uri(text: str) -> bool:
    """Whether the text begins with a scheme, such as `s3://`; anything else is a plain path."""
    return bool(_SCHEME.match(text))


def redact(text: str) -> str:
    """The text on one line, with user names, passwords and queries cut from every URL in it."""
    return " ".join(_QUERY.sub(r"\1", _USERINFO.sub(r"\1", text)).split())


def check_path(path: str) -> str:
    """The relative path, unchanged.

    Raises:
        RecipeError: absolute, empty, with an empty, '.' or '..' part, a backslash or a control character.
    """
    # A backslash is refused although it is harmless here: some systems take it for a separator.
    wrong = any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path
    if wrong or _CONTROL.search(path):
        fix = "use names separated by single slashes"
        raise RecipeError(f"{path!r} is not a path inside a store; {fix}", field="path")
    return path


def parse(text: str) -> Location:
    """The folder that a URI or a plain path (relative to the working directory, `~` allowed) names.

    Raises:
        RecipeError: another scheme, credentials or a query in the URI, an impossible bucket or path. The
            message never repeats a secret.
    """
    match = _SCHEME.match(text)
    if match is None:
        return _local(text)
    scheme, rest = match.group(1).lower(), text[match.end() :]
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        raise RecipeError(
            f"{redact(text)!r}: leave credentials, '?' and '#' out; credentials come from the environment",
            field=FIELD,
        )
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost"):
            raise RecipeError(f"{text!r} names the host {host!r}; write file:///absolute/path", field=FIELD)
        return _local(unquote(slash + path))
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if not _BUCKET.match(bucket):
            raise RecipeError(f"{bucket!r} is not a bucket name; write s3://bucket/prefix", field=FIELD)
        prefix = prefix.strip("/")
        return Location("s3", bucket, check_path(prefix) if prefix else "")
    raise RecipeError(f"no storage for {scheme + '://'!r}{did_you_mean(scheme, ('file', 's3'))}", field=FIELD)


def _local(text: str) -> Location:
    if not text or _CONTROL.search(text):
        raise RecipeError(f"{text!r} is not a path", field=FIELD)
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError:
        raise RecipeError(f"{text!r} names the home of an unknown user", field=FIELD) from None
    parts: list[str] = []
    # By hand: `Path.resolve` would follow links, and the URI that is saved should be the one that was given.
    for part in path.parts[1:]:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return Location("file", "", "/" + "/".join(parts))
