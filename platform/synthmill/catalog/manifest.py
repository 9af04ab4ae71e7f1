"""What a committed version consists of and where it came from."""

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from synthmill.config import NAME_PATTERN, FrozenModel, dump
from synthmill.errors import StorageError
from synthmill.storage.folder import Folder
from synthmill.storage.formats import check_format, format_name
from synthmill.storage.publish import MANIFEST

FORMAT_NUMBER = 2
"""2: files may lie in the folder of another version. Manifests without such a file are still of format 1."""
Kind = Literal["datasets", "models", "reports"]


class FileEntry(FrozenModel):
    """One file of a version."""

    path: str
    """Relative to the version's folder."""
    rows: int | None = Field(None, ge=0)
    """Rows of a data part; null for other files."""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    version: int | None = Field(None, ge=1, exclude_if=lambda number: number is None)
    """Number of the version of the same name in whose folder the file lies; null: this one's own."""


class Parent(FrozenModel):
    """One thing that a version was made from."""

    kind: Literal["dataset", "model", "report", "source", "recipe"]
    ref: str
    """`adult@3` for what the catalog holds; a URI without secrets for a source."""
    digest: str
    """Content digest of a version, SHA-256 of a source, fingerprint of a recipe."""


class Manifest(FrozenModel):
    """`_manifest.json`: written last, and with it the version exists."""

    format: str = format_name("manifest", 1)
    kind: Kind
    name: str = Field(pattern=NAME_PATTERN)
    number: int = Field(ge=1)
    run_id: str
    run_key: str
    """SHA-256 of everything that determines the bytes."""
    created: str
    """ISO 8601, UTC."""
    files: tuple[FileEntry, ...]
    arrow_schema: str | None = None
    """Base64 of the Arrow IPC message of the data parts' schema."""
    rows: int | None = None
    parents: tuple[Parent, ...] = ()
    code_version: str
    seed: int | None = None
    compute_class: str | None = None
    """Device type, ISA level and library versions within which the bytes repeat."""
    labels: dict[str, Any] = Field(default_factory=dict)
    """Provenance labels; see `provenance.labels`."""
    gate: dict[str, Any] | None = None
    """`verdict`, `report` (URI) and `report_sha256` of the quality gate that the version went through."""
    content_digest: str
    """Equal for two versions with the same data; see `content_digest`."""
    contains_training_rows: bool = False
    holdout_opened: int = Field(0, ge=0)
    """How often evaluation opened the holdout."""
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`name@number`."""
        return f"{self.name}@{self.number}"


def content_digest(files: Iterable[FileEntry], arrow_schema: str | None) -> str:
    """SHA-256 (hex) over (part name, rows, SHA-256) in order of the names, and the schema.

    Files whose names begin with '_' describe the data and are left out.
    """
    # Neither names nor runs nor times: two identical runs have the same digest wherever they ran.
    parts = sorted(
        (entry.path, entry.rows, entry.sha256)
        for entry in files
        if not entry.path.rpartition("/")[2].startswith("_")
    )
    text = json.dumps([parts, arrow_schema], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def encode_schema(schema: Any) -> str:
    """An Arrow schema, without metadata, as text for `Manifest.arrow_schema`."""
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def decode_schema(text: str) -> Any:
    """The Arrow schema that `encode_schema` encoded."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def home_of(folder: Folder, entry: FileEntry) -> Folder:
    """The folder that holds a file of the version in `folder`: its own, or an earlier version's beside it."""
    return folder if entry.version is None else folder.sibling(str(entry.version))


def utc_now() -> str:
    """Now, in the form of `Manifest.created`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_manifest(folder: Folder) -> Manifest:
    """The manifest of a version's folder; MissingError: there is no committed version."""
    data = folder.read_json(MANIFEST)
    uri = folder.uri_of(MANIFEST)
    check_format(data, "manifest", newest=FORMAT_NUMBER, uri=uri)
    try:
        return Manifest.model_validate(data)
    except ValueError as fault:
        raise StorageError(f"{uri}: not a valid manifest ({str(fault).splitlines()[0]})") from None


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON data."""
    return dump(manifest)
