"""Checkpoints of a run: safetensors and JSON, manifest last, verified on load; the newest few stay.

    step-0000001200/state.safetensors, state.json,
    manifest.json {"format": "synthmill.checkpoint/1", "step", "files": {name: {bytes, sha256}}}

A folder without a manifest is an interrupted write and is skipped; one whose bytes don't match it is damaged,
and the newest intact one is taken instead.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

from safetensors.torch import load, save
from torch import Tensor

from synthmill.errors import IntegrityError, MissingError

FORMAT = "synthmill.checkpoint/1"
TENSORS, DATA, MANIFEST = "state.safetensors", "state.json", "manifest.json"


class DamageError(IntegrityError):
    """The bytes of one checkpoint are not those that were written."""


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
        return {
            name[len(prefix) + 1 :]: value
            for name, value in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }


class Checkpoints:
    """The checkpoints of one run in one folder."""

    def __init__(self, folder: CheckpointFolder, keep: int = 2) -> None:
        assert keep >= 1
        self._folder = folder
        self._keep = keep
        self.damage: list[str] = []
        """What is wrong with the checkpoints that `latest` skipped."""

    def save(self, step: int, state: State, *, good_step: int | None = None) -> None:
        """Write the checkpoint of `step`, then delete the oldest; the newest one that is not after
        `good_step` stays as well."""
        name = _name(step)
        # Copies: parameters are views of one flat tensor, and safetensors refuses memory that is shared.
        tensors = save(
            {key: value.detach().to("cpu").contiguous().clone() for key, value in state.tensors.items()}
        )
        data = json.dumps(state.data, allow_nan=False).encode()
        files = {}
        for file, content in ((TENSORS, tensors), (DATA, data)):
            self._folder.write_bytes(f"{name}/{file}", content)
            files[file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        # Last, so that a write that is cut off leaves no checkpoint rather than half of one.
        self._folder.write_json(f"{name}/{MANIFEST}", {"format": FORMAT, "step": step, "files": files})
        whole = [other for other in self._names() if self._is_whole(other)]
        good = [other for other in whole if good_step is not None and other <= _name(good_step)][-1:]
        oldest = whole[-self._keep :][0]
        for other in self._names():
            # Names have leading zeros, so they sort as their steps do.
            if other < oldest and other not in good:
                self._folder.delete_tree(other)

    def forget_after(self, step: int) -> None:
        """Drop the checkpoints after `step`, unless there is none before."""
        if any(self._is_whole(name) and name <= _name(step) for name in self._names()):
            for late in (name for name in self._names() if name > _name(step)):
                self._folder.delete_tree(late)

    def exist(self) -> bool:
        """Whether there is a complete checkpoint; its bytes are not looked at."""
        return any(self._is_whole(name) for name in self._names())

    def latest(self) -> State | None:
        """The newest complete checkpoint that is intact, or None when there is none at all; see `damage` for
        what was skipped.

        Raises:
            IntegrityError: every checkpoint is damaged, or one has an unknown format.
        """
        self.damage = []
        for name in reversed(self._names()):
            if self._is_whole(name):
                try:
                    return self._read(name)
                except DamageError as fault:
                    self.damage.append(str(fault))
        if self.damage:
            raise IntegrityError(
                f"{'; '.join(self.damage)}; no checkpoint remains: training.resume=never starts afresh"
            )
        return None

    def _is_whole(self, name: str) -> bool:
        return self._folder.exists(f"{name}/{MANIFEST}")

    def _names(self) -> list[str]:
        return sorted(name for name in self._folder.children() if name.startswith("step-"))

    def _read(self, name: str) -> State:
        manifest = self._folder.read_json(f"{name}/{MANIFEST}")
        if manifest.get("format") != FORMAT:
            raise IntegrityError(
                f"checkpoint {name} has format {manifest.get('format')!r}; this version reads {FORMAT!r}"
            )
        contents = {}
        for file, expected in manifest["files"].items():
            try:
                contents[file] = self._folder.read_bytes(f"{name}/{file}")
            except MissingError:
                raise DamageError(f"checkpoint file {name}/{file} is missing") from None
            if hashlib.sha256(contents[file]).hexdigest() != expected["sha256"]:
                raise DamageError(f"checkpoint file {name}/{file} does not match its checksum")
        return State(load(contents[TENSORS]), json.loads(contents[DATA]))


def _name(step: int) -> str:
    return f"step-{step:010d}"
