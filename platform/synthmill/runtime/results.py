"""The closing JSON line of a job, at the URI that `--result-file` names."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from synthmill.config import StorageConfig, load_recipe
from synthmill.errors import RecipeError, StorageError, SynthmillError, UserError
from synthmill.runtime.options import storage_settings
from synthmill.storage.folder import DEFAULT_SETTINGS, Folder

STORAGE = "storage."


@dataclass(frozen=True)
class ResultPlace:
    """Where the line goes, written as the job's own storage settings say; faults are one line that names the
    flag."""

    uri: str
    storage: StorageConfig = DEFAULT_SETTINGS

    def clear(self) -> None:
        """Remove what an earlier job wrote, which must not be taken for this one's; a place that can't be
        written is known by then."""
        self.write({})
        with self._open() as (folder, name):
            folder.delete(name)

    def write(self, result: Mapping[str, Any]) -> None:
        with self._open() as (folder, name):
            folder.write_bytes(name, json.dumps(result).encode())

    @contextmanager
    def _open(self) -> Iterator[tuple[Folder, str]]:
        parent, slash, name = self.uri.rpartition("/")
        try:
            yield Folder(f"{parent}{slash}" or ".", self.storage), name
        except UserError as fault:
            raise RecipeError(str(fault).removeprefix(f"{fault.field}: "), field="--result-file") from fault
        except SynthmillError as fault:
            raise StorageError(f"--result-file: {fault}") from fault


def place_of_job(options: Mapping[str, Any]) -> ResultPlace | None:
    """Where a job with these options writes its result; None: nowhere."""
    uri = options.get("result_file")
    return ResultPlace(uri, _settings(options.get("recipe"), options.get("set_") or [])) if uri else None


def place_in_words(arguments: list[str]) -> ResultPlace | None:
    """The same for arguments that could not be parsed."""
    uri = next(filter(None, _values(arguments, "--result-file")), None)
    return ResultPlace(uri, _settings(None, _values(arguments, "--set"))) if uri else None


def _settings(recipe: str | None, overrides: list[str]) -> StorageConfig:
    try:
        if recipe is not None:
            return load_recipe(recipe, tuple(overrides)).storage
        return storage_settings([item for item in overrides if item.startswith(STORAGE)])
    except Exception:
        return DEFAULT_SETTINGS  # The job itself says what is wrong with them.


def _values(arguments: list[str], flag: str) -> list[str]:
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    apart = [value for word, value in pairs if word == flag]
    return apart + [word.partition("=")[2] for word in arguments if word.startswith(f"{flag}=")]
