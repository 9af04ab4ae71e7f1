"""Images in the rows of a table: which column holds them, which their class, and the files that rows only
name."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.data.readers.base import FIELD
from synthmill.errors import DataError, RecipeError
from synthmill.storage.folder import Folder
from synthmill.storage.uri import check_path

IMAGE, LABEL = "image", "label"
_HUGGING_FACE = b"huggingface"
ABSENT = -1
"""A class that Hugging Face's `ClassLabel` gives to rows without one."""


@dataclass(frozen=True)
class Roles:
    """What the columns of a table of images are for."""

    image: str
    label: str | None
    names: tuple[str, ...] = ()
    """Of the classes, by their number; none where the label's values speak for themselves."""

    @property
    def note(self) -> str | None:
        """What a person should know of columns that are published under other names."""
        if self.image == IMAGE and self.label in (None, LABEL):
            return None
        label = f", {self.label!r} as {LABEL!r}" if self.label not in (None, LABEL) else ""
        return f"column {self.image!r} is published as {IMAGE!r}{label}"


def roles(table: pa.Table, name: str, target: str | None) -> Roles:
    """The columns of images and of classes: those that Hugging Face's features say, or else the first of the
    right type and `label`. `target` is the recipe's column of classes.

    Raises:
        DataError: no column of images, or none of the target's name; lists what there is.
    """
    features = features_of(table.schema)
    image = image_of(table, name)
    classes = [column for column, said in features.items() if said.get("_type") == "ClassLabel"]
    label = target or (LABEL if LABEL in table.column_names else classes[0] if len(classes) == 1 else None)
    if target is not None and target not in table.column_names:
        raise DataError(
            f"{name} has no column {target!r}; it has {', '.join(table.column_names)}", field="data.target"
        )
    if label is not None and label not in table.column_names:
        label = None
    names = tuple(map(str, features.get(label or "", {}).get("names") or ()))
    # Classes that are called by their numbers stay numbers.
    is_plain = names == tuple(map(str, range(len(names))))
    return Roles(image, label, () if is_plain else names)


def features_of(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Hugging Face's features, by column; none where the metadata has none."""
    try:
        said = json.loads((schema.metadata or {}).get(_HUGGING_FACE, b"{}"))
        found = said["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {column: feature for column, feature in found.items() if isinstance(feature, dict)}


def image_of(table: pa.Table, name: str) -> str:
    """The column that holds images: `image`, or what Hugging Face's features say, or the first of structs
    with `bytes` or `path`, or plain binary.

    Raises:
        DataError: there is none.
    """
    features = features_of(table.schema)
    found = [field.name for field in table.schema if _holds_images(field.type)]
    if not found:
        raise DataError(
            f"{name} has no column of images (struct<bytes, path> or binary); it has"
            f" {', '.join(table.column_names)}",
            field=FIELD,
        )
    said = [column for column in found if features.get(column, {}).get("_type") == "Image"]
    return IMAGE if IMAGE in found else (said or found)[0]


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool({"bytes", "path"} & {kind.field(i).name for i in range(kind.num_fields)})
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def cells_of(table: pa.Table, at: Roles, name: str) -> Iterator[tuple[str, bytes | None, Any]]:
    """(path, bytes or None where the row only names a file, class) of each row."""
    labels = table[at.label].to_pylist() if at.label is not None else [None] * table.num_rows
    for i, (cell, value) in enumerate(zip(table[at.image].to_pylist(), labels, strict=True)):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        path = cell.get("path") if isinstance(cell, dict) else None
        if at.names and value is not None:
            value = at.names[value] if ABSENT < value < len(at.names) else None
        yield path or f"{name}/{i:06d}", b"" if content is None and path is None else content, value


def named_files(folder: Folder, name: str, table: pa.Table, at: Roles) -> list[str]:
    """Files beside the table that its rows name in place of bytes, relative to `folder`."""
    above = name.rpartition("/")[0]
    return [
        inside
        for path, content, _ in cells_of(table, at, name)
        if content is None and (inside := beside(above, path)) is not None and folder.exists(inside)
    ]


def beside(above: str, path: str) -> str | None:
    """The path relative to the folder of the table; None when it leads out of it."""
    try:
        check_path(path)
    except RecipeError:
        return None
    return f"{above}/{path}" if above else path
