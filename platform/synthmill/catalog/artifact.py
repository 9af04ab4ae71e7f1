"""A trained model in files: JSON and safetensors only, no pickle, and never a training row.

`config.json weights.safetensors codec.json codec.safetensors history.jsonl card.md`
"""

import hashlib
import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
from torch import Tensor

from synthmill.catalog.dataset import read_verified
from synthmill.catalog.manifest import FileEntry
from synthmill.catalog.store import Version
from synthmill.errors import StorageError, UserError
from synthmill.storage.folder import THREADS, Folder, json_bytes
from synthmill.storage.formats import check_format, format_name

FORMAT_NUMBER = 1
FILES = ("config.json", "weights.safetensors", "codec.json", "codec.safetensors", "history.jsonl", "card.md")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Everything that sampling needs, and how it came about."""

    config: dict[str, Any]
    """Model name and configuration, layout, recipe, split, source, training figures."""
    weights: Mapping[str, Tensor]
    codec: dict[str, Any]
    codec_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    card: str = ""


def write_artifact(folder: Folder, artifact: Artifact) -> tuple[FileEntry, ...]:
    """Write the six files; the entries are for the manifest."""
    config = {"format": format_name("artifact", FORMAT_NUMBER), **artifact.config}
    # A config that was read from an older artifact brings its format along; a newer one must not be written.
    check_format(config, "artifact", newest=FORMAT_NUMBER, uri=folder.uri_of("config.json"))
    history = [json.dumps(_finite(record), sort_keys=True) for record in artifact.history]
    contents = {
        "config.json": json_bytes(config),
        "weights.safetensors": _pack(artifact.weights),
        "codec.json": json_bytes(artifact.codec),
        "codec.safetensors": _pack(artifact.codec_tensors),
        "history.jsonl": "".join(line + "\n" for line in history).encode(),
        "card.md": artifact.card.encode(),
    }
    # In any order: before the manifest is written, no reader looks at them.
    with ThreadPoolExecutor(len(FILES)) as pool:
        list(pool.map(lambda path: folder.write_bytes(path, contents[path]), FILES))
    return tuple(
        FileEntry(path=path, bytes=len(contents[path]), sha256=hashlib.sha256(contents[path]).hexdigest())
        for path in FILES
    )


def read_artifact(version: Version) -> Artifact:
    """The artifact of a version of kind `models`, on the CPU.

    Raises:
        IntegrityError: a file is not what the manifest says; names it.
        StorageError: a file is missing from the manifest, or a newer format.
        UserError: a model of several tables.
    """
    entries = {entry.path: entry for entry in version.manifest.files}
    absent = [path for path in FILES if path not in entries]
    if absent and version.manifest.details.get("tables"):
        raise UserError(
            f"{version.ref} is a model of several tables, which this does not take yet", field="model"
        )
    if absent:
        raise StorageError(f"{version.uri}: the manifest lists no {absent[0]}; this is not a model artifact")
    with ThreadPoolExecutor(THREADS) as pool:
        data = pool.map(lambda path: read_verified(version.folder, entries[path]), FILES)
        contents = dict(zip(FILES, data, strict=True))
    config = json.loads(contents["config.json"])
    check_format(config, "artifact", newest=FORMAT_NUMBER, uri=version.folder.uri_of("config.json"))
    return Artifact(
        config=config,
        weights=safetensors.torch.load(contents["weights.safetensors"]),
        codec=json.loads(contents["codec.json"]),
        codec_tensors=safetensors.torch.load(contents["codec.safetensors"]),
        history=[json.loads(line) for line in contents["history.jsonl"].splitlines()],
        card=contents["card.md"].decode(),
    )


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    # Sorted, for equal bytes; contiguous, as safetensors refuses views (and channels last) otherwise.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    packed: bytes = safetensors.torch.save(plain)
    return packed


def _finite(value: Any) -> Any:
    """NaN and infinity become null: JSON has neither, but a diverged run's history should still be saved."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
