"""A dataset of images as files: a subfolder for each class, in the order of the rows. Generated files carry
their AI label inside."""

import json
import re
from itertools import chain, count
from pathlib import Path

from synthmill.catalog.dataset import iter_parts
from synthmill.catalog.manifest import decode_schema
from synthmill.catalog.store import Version
from synthmill.errors import DataError, UserError

IMAGE, LABEL, SYNTHETIC = "image", "label", "is_synthetic"


def empty_folder(folder: Path) -> Path:
    """The folder, made if need be; UserError when something is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = next(folder.iterdir(), None)
    except OSError as fault:
        raise UserError(f"{folder} can't be used: {fault.strerror}", field="--export") from None
    if foreign is not None:
        raise UserError(
            f"{folder} is not empty (it has {foreign.name!r}); choose another folder", field="--export"
        )
    return folder


def export_images(version: Version, folder: Path) -> int:
    """Write every image of a version; returns how many. Real ones of a mixed dataset begin with `real-` and
    carry no label.

    Raises:
        DataError: the dataset has no images.
        IntegrityError: a part was changed; names it.
    """
    written = 0
    names = _class_names(version)
    folders: dict[str, str] = {}
    for table in iter_parts(version):
        if IMAGE not in table.column_names:
            raise DataError(
                f"{version.ref} has no column of images; it has {', '.join(table.column_names)}",
                field="--export",
            )
        images = table[IMAGE].to_pylist()
        labels = table[LABEL].to_pylist() if LABEL in table.column_names else [None] * len(images)
        made = table[SYNTHETIC].to_pylist() if SYNTHETIC in table.column_names else [True] * len(images)
        labels = [names[label] if label is not None and names else label for label in labels]
        for cell, label, generated in zip(images, labels, made, strict=True):
            target = folder if label is None else folder / _own_name(str(label), folders)
            target.mkdir(exist_ok=True)
            (target / f"{'' if generated else 'real-'}{written:09d}.png").write_bytes(cell["bytes"])
            written += 1
    return written


def _class_names(version: Version) -> list[str]:
    """What Hugging Face's features call the numbers of the classes; empty where labels speak for
    themselves."""
    said = version.manifest.arrow_schema
    described = (None if said is None else decode_schema(said).metadata) or {}
    features = json.loads(described.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return [str(name) for name in features.get(LABEL, {}).get("names", [])]


def _own_name(label: str, taken: dict[str, str]) -> str:
    """The folder of a class, `taken` by it from then on: its safe name, with `-2`, `-3` and so on where
    another class came first."""
    if label not in taken:
        name, used = safe_name(label), set(taken.values())
        taken[label] = next(
            free for free in chain([name], (f"{name}-{i}" for i in count(2))) if free not in used
        )
    return taken[label]


def safe_name(label: str) -> str:
    """A class as the name of a folder: what could leave the folder, or be hidden in it, becomes `_`."""
    name = re.sub(r"[^\w .+-]", "_", label).strip()
    return f"_{name[1:]}" if not name or name.startswith(".") else name
