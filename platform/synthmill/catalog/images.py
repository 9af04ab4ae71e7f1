"""A dataset of images as files: a subfolder for each class, numbered in the order of the rows.

Generated files carry their AI label inside: it is part of the PNG bytes that the dataset stores.
"""

import json
import re
from itertools import chain, count
from pathlib import Path

from synthmill.catalog.dataset import iter_parts
from synthmill.catalog.manifest import decode_schema
from synthmill.catalog.store import Version
from synthmill.errors import DataError, UserError
from synthmill.storage.local import explained_local

IMAGE, LABEL, SYNTHETIC = "image", "label", "is_synthetic"


def empty_folder(folder: Path) -> Path:
    """The folder, made if need be; UserError if it is not empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = next(folder.iterdir(), None)
    except OSError as fault:
        raise UserError(f"{folder} can't be used: {fault.strerror}", field="--export") from None
    # Files of an earlier export would look like rows of this dataset.
    if foreign is not None:
        message = f"{folder} is not empty (it has {foreign.name!r}); choose another folder"
        raise UserError(message, field="--export")
    return folder


def export_images(version: Version, folder: Path) -> int:
    """Write every image of a version; returns how many.

    Names of real images in a mixed dataset begin with `real-`: they carry no AI label.

    Raises:
        DataError: the dataset has no images.
        IntegrityError: a part was changed; names it.
        StorageError: a file can't be written.
    """
    written = 0
    classes = _class_names(version)
    folders: dict[str, str] = {}
    for table in iter_parts(version):
        if IMAGE not in table.column_names:
            columns = ", ".join(table.column_names)
            raise DataError(f"{version.ref} has no column of images; it has {columns}", field="--export")
        images = table[IMAGE].to_pylist()
        labels = table[LABEL].to_pylist() if LABEL in table.column_names else [None] * len(images)
        if classes:
            labels = [classes[label] if label is not None else None for label in labels]
        # Without the column the dataset is not mixed: every row is generated.
        flags = table[SYNTHETIC].to_pylist() if SYNTHETIC in table.column_names else [True] * len(images)
        for cell, label, generated in zip(images, labels, flags, strict=True):
            target = folder
            if label is not None:
                if str(label) not in folders:
                    # "a/b" and "a:b" have the same safe name; the later class gets "a_b-2".
                    name, used = safe_name(str(label)), set(folders.values())
                    names = chain([name], (f"{name}-{i}" for i in count(2)))
                    folders[str(label)] = next(free for free in names if free not in used)
                target = folder / folders[str(label)]
            path = target / f"{'' if generated else 'real-'}{written:09d}.png"
            with explained_local(path):
                target.mkdir(exist_ok=True)
                path.write_bytes(cell["bytes"])
            written += 1
    return written


def _class_names(version: Version) -> list[str]:
    """The classes' names where labels are their numbers, from Hugging Face's features; else empty."""
    schema = version.manifest.arrow_schema
    metadata = (decode_schema(schema).metadata if schema else None) or {}
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return [str(name) for name in features.get(LABEL, {}).get("names", [])]


def safe_name(label: str) -> str:
    """A class as a folder's name; characters that could lead out of the folder or hide in it become `_`."""
    name = re.sub(r"[^\w .+-]", "_", label).strip()
    return f"_{name[1:]}" if not name or name.startswith(".") else name
