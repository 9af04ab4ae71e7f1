"""Checkpoints of a run: safetensors and JSON, manifest last, verified on load; the newest few are kept.

    step-0000001200/state.safetensors, state.json,
    manifest.json {"format": "synthmill.checkpoint/1", "step", "files": {name: {bytes, sha256}}}

A folder without a manifest is an interrupted write and is passed over.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

from safetensors.torch import load, save
from torch import Tensor

from synthmill.errors import IntegrityError

FORMAT = "synthmill.checkpoint/1"
TENSORS, DATA, MANIFEST = "state.safetensors", "state.json", "manifest.json"


class CheckpointFolder(Protocol):
    """What is needed of `storage.folder.Folder`."""

    def write_bytes(self, path: str, data: bytes) -> None: ...
    def write_json(self, path: str, data: Any) -> None: ...
    def read_bytes(self, path: str) -> bytes: ...
    def read_json(self, path: str) -> Any: ...
    def exists(self, path: str) -> bool: ...
    def children(self) -> list[str]: ...
    def delete_tree(self, prefix: str = "") -> None: ...


@dataclass(frozen=True)
class State:
    """Everything a run needs to go on: tensors by name, and plain JSON data."""

    tensors: dict[str, Tensor]
    data: dict[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names start with `prefix` and a dot, without it."""
        return {name[len(prefix) + 1 :]: value for name, value in self.tensors.items() if name.startswith(f"{prefix}.")}


class Checkpoints:
    """The checkpoints of one run in one folder."""

    def __init__(self, folder: CheckpointFolder, keep: int = 2) -> None:
        assert keep >= 1
        self._folder = folder
        self._keep = keep

    def save(self, step: int, state: State, *, good_step: int | None = None) -> None:
        """Write the checkpoint of `step`, then forget the oldest; the newest one that is not after `good_step` stays as well."""
        name = _name(step)
        tensors = save({key: value.detach().to("cpu").contiguous().clone() for key, value in state.tensors.items()})
        data = json.dumps(state.data, allow_nan=False).encode()
        files = {}
        for file, content in ((TENSORS, tensors), (DATA, data)):
            self._folder.write_bytes(f"{name}/{file}", content)
            files[file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self._folder.write_json(f"{name}/{MANIFEST}", {"format": FORMAT, "step": step, "files": files})
        whole = [other for other in self._names() if self._is_whole(other)]
        good = [other for other in whole if good_step is not None and other <= _name(good_step)][-1:]
        for old in (other for other in self._names() if other < whole[-self._keep :][0] and other not in good):
            self._folder.delete_tree(old)

    def forget_after(self, step: int) -> None:
        """Drop the checkpoints after `step`, unless there is none before."""
        if any(self._is_whole(name) and name <= _name(step) for name in self._names()):
            for late in (name for name in self._names() if name > _name(step)):
                self._folder.delete_tree(late)

    def latest(self) -> State | None:
        """The newest complete checkpoint, or None.

        Raises:
            IntegrityError: bytes that don't match the manifest, or an unknown format.
        """
        for name in reversed(self._names()):
            if self._is_whole(name):
                return self._read(name)
        return None

    def _is_whole(self, name: str) -> bool:
        return self._folder.exists(f"{name}/{MANIFEST}")

    def _names(self) -> list[str]:
        return sorted(name for name in self._folder.children() if name.startswith("step-"))

    def _read(self, name: str) -> State:
        manifest = self._folder.read_json(f"{name}/{MANIFEST}")
        if manifest.get("format") != FORMAT:
            raise IntegrityError(f"checkpoint {name} has format {manifest.get('format')!r}; this version reads {FORMAT!r}")
        contents = {}
        for file, expected in manifest["files"].items():
            contents[file] = self._folder.read_bytes(f"{name}/{file}")
            if hashlib.sha256(contents[file]).hexdigest() != expected["sha256"]:
                raise IntegrityError(f"checkpoint file {name}/{file} does not match its checksum; delete {name} to go on from an older one")
        return State(load(contents[TENSORS]), json.loads(contents[DATA]))


def _name(step: int) -> str:
    return f"step-{step:010d}"
