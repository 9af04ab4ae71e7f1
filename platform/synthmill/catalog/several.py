"""A model of several tables in files: one artifact a table in a folder of its name, and what joins them.

`tables.json card.md <table>/config.json <table>/weights.safetensors ...`: JSON and safetensors alone, no
pickle, and no row.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthmill.catalog.artifact import Artifact, read_artifact, write_artifact
from synthmill.catalog.dataset import read_verified
from synthmill.catalog.manifest import FileEntry, Parent
from synthmill.catalog.store import Store, Version
from synthmill.config import fingerprint
from synthmill.errors import StorageError
from synthmill.storage.folder import json_bytes
from synthmill.storage.formats import check_format

FORMAT_NUMBER = 1
FILE, CARD = "tables.json", "card.md"
KIND = "several tables"
"""What `details.kind` of a manifest says of such models and their datasets."""


@dataclass(frozen=True, kw_only=True)
class SeveralArtifact:
    """Everything that sampling needs, and how it came about."""

    config: dict[str, Any]
    """Schema, families, sources, notes."""
    tables: Mapping[str, Artifact]
    """By name, parents first."""
    card: str = ""


def is_several(version: Version) -> bool:
    """Whether a model or a dataset is of several tables."""
    return version.manifest.details.get("kind") == KIND


def publish_several(
    store: Store,
    name: str,
    artifact: SeveralArtifact,
    *,
    run_id: str,
    details: Mapping[str, Any] | None = None,
) -> Version:
    """Write the next version of a model, and commit it at once."""
    sources = artifact.config["sources"]
    parents = tuple(
        Parent(kind="source", ref=source["uri"], digest=source["sha256"]) for source in sources.values()
    )
    recipe = Parent(kind="recipe", ref=name, digest=fingerprint(artifact.config["schema"]))
    key = fingerprint({"schema": artifact.config["schema"], "digest": several_digest(artifact), "name": name})
    with store.begin("models", name, run_key=key, run_id=run_id) as draft:
        files = [
            _write(draft.folder, FILE, json_bytes(artifact.config)),
            _write(draft.folder, CARD, artifact.card.encode()),
        ]
        for table, one in artifact.tables.items():
            written = write_artifact(draft.folder.child(table), one)
            files += [entry.model_copy(update={"path": f"{table}/{entry.path}"}) for entry in written]
        manifest = draft.manifest(
            files=tuple(files),
            parents=(*parents, recipe),
            details={
                "kind": KIND,
                "tables": list(artifact.tables),
                "notes": artifact.config["notes"],
                **(details or {}),
            },
        )
        return draft.commit(manifest)


def read_several(version: Version) -> SeveralArtifact:
    """The artifact of a version of kind `models`.

    Raises:
        IntegrityError: a file is not what the manifest says. StorageError: a model of one table, or a newer
        format.
    """
    entries = {entry.path: entry for entry in version.manifest.files}
    if FILE not in entries:
        raise StorageError(f"{version.uri}: the manifest lists no {FILE}; this is a model of one table")
    config = json.loads(read_verified(version.folder, entries[FILE]))
    check_format(config, "several", newest=FORMAT_NUMBER, uri=version.folder.uri_of(FILE))
    tables = {
        table["name"]: read_artifact(_part(version, table["name"])) for table in config["families"]["tables"]
    }
    card = read_verified(version.folder, entries[CARD]).decode()
    return SeveralArtifact(config=config, tables=tables, card=card)


def several_digest(artifact: SeveralArtifact) -> str:
    """Of weights, codecs and what joins them: equal for models that sample the same rows."""
    digest = hashlib.sha256(json.dumps(artifact.config["families"], sort_keys=True).encode())
    for table, one in artifact.tables.items():
        digest.update(f"{table}\x1e{json.dumps(one.codec, sort_keys=True)}".encode())
        for name, tensor in sorted(one.weights.items()):
            digest.update(f"{name}\x1e".encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _part(version: Version, table: str) -> Version:
    """A table's own artifact, as a version that begins in its folder."""
    start = f"{table}/"
    files = tuple(
        entry.model_copy(update={"path": entry.path.removeprefix(start)})
        for entry in version.manifest.files
        if entry.path.startswith(start)
    )
    manifest = version.manifest.model_copy(update={"files": files})
    return Version(version.kind, version.name, version.number, version.folder.child(table), manifest)


def _write(folder: Any, path: str, data: bytes) -> FileEntry:
    folder.write_bytes(path, data)
    return FileEntry(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
