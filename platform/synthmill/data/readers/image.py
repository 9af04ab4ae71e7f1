"""Where images come from: class folders, Parquet with Hugging Face image structs, IDX files, scikit-learn's
digits, the catalog.

Whatever the source, the outcome is one table: `image` struct<bytes: binary, path: string> with every image as
a PNG of the same shape, and `label` where there are labels. Splitting, mixing with synthetic rows and
evaluation then work as they do for tables.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.catalog.dataset import read_dataset
from synthmill.catalog.store import Store
from synthmill.config import DataConfig, ImageConfig, StorageConfig
from synthmill.data import png
from synthmill.data.idx import read_idx
from synthmill.data.image_file import BrokenImageError, Pixels, read_image, resize, with_channels
from synthmill.data.readers.base import FIELD, Reader, Source
from synthmill.data.schema import Rules
from synthmill.errors import DataError
from synthmill.storage.folder import Folder

IMAGE, LABEL = "image", "label"
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm")
_PARQUET_ENDINGS = (".parquet", ".pq")
_NAMED = 5
"""Broken files that a message names."""


@dataclass(frozen=True)
class _Raw:
    """One image before it is decoded: its bytes, or pixels where the format has no files; a class or None."""

    path: str
    content: bytes | Pixels
    label: Any


class ImageReader(Reader):
    """Images: class folders, Parquet, IDX files, scikit-learn's digits, datasets of the catalog."""

    def read(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Source:
        """Read every image that `data.source` names and bring all to one shape.

        Raises:
            DataError: no images, more unreadable ones than allowed (names them), different sizes without
            `data.image.size`, a wrong
                IDX magic, images without a label among labelled ones.
        """
        raws, sha256, uri, skipped = _read(config, store)
        images, labels, paths, broken = _decode(raws, config.image)
        if len(images) < 2:
            raise DataError(
                f"{config.source} holds {len(images)} readable images; a model needs at least 2, and hundreds"
                " to be of use",
                field=FIELD,
            )
        _check_sizes(images, paths)
        channels = config.image.channels or (1 if all(image.ndim == 2 for image in images) else 3)
        files = [png.encode(with_channels(image, channels)) for image in images]
        columns: dict[str, pa.Array] = {IMAGE: image_column(files, paths)}
        if any(label is not None for label in labels):
            columns[LABEL] = _label_column(labels, paths)
        return Source(pa.table(columns), sha256, uri, notes=(*skipped, *broken))


def image_column(files: list[bytes], paths: list[str]) -> pa.StructArray:
    """The `image` column of PNG files and their names."""
    return pa.StructArray.from_arrays(
        [pa.array(files, pa.binary()), pa.array(paths, pa.string())], fields=list(IMAGE_TYPE)
    )


def _decode(
    raws: Iterable[_Raw], config: ImageConfig
) -> tuple[list[Pixels], list[Any], list[str], tuple[str, ...]]:
    images, labels, paths, broken, total = [], [], [], [], 0
    for raw in raws:
        total += 1
        try:
            images.append(
                read_image(raw.content, config)
                if isinstance(raw.content, bytes)
                else resize(raw.content, config)
            )
        except BrokenImageError as fault:
            broken.append(f"{raw.path} ({fault})")
            continue
        labels.append(raw.label)
        paths.append(raw.path)
    if not broken:
        return images, labels, paths, ()
    told = (
        f"{len(broken):,} of {total:,} images can't be read:"
        f" {', '.join(broken[:_NAMED])}{', ...' if len(broken) > _NAMED else ''}"
    )
    if len(broken) > -(-config.max_broken_share * total // 1):
        raise DataError(
            f"{told}; remove them, or raise data.image.max_broken_share (now {config.max_broken_share:g})",
            field=FIELD,
        )
    return images, labels, paths, (f"{told}; skipped",)


def _check_sizes(images: list[Pixels], paths: list[str]) -> None:
    shape = images[0].shape[:2]
    other = next((i for i, image in enumerate(images) if image.shape[:2] != shape), None)
    if other is not None:
        height, width = images[other].shape[:2]
        raise DataError(
            f"images differ in size ({paths[0]} is {shape[1]}x{shape[0]}, {paths[other]} is"
            f" {width}x{height}); set data.image.size",
            field=FIELD,
        )


def _label_column(labels: list[Any], paths: list[str]) -> pa.Array:
    missing = [path for path, label in zip(paths, labels, strict=True) if label is None]
    if missing:
        raise DataError(
            f"{len(missing):,} images have no label while others do, {missing[0]} first; label or remove"
            " them",
            field=FIELD,
        )
    if all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        return pa.array(labels, pa.int64())
    return pa.array([str(label) for label in labels], pa.string())


def _read(config: DataConfig, store: Store | None) -> tuple[Iterable[_Raw], str, str, tuple[str, ...]]:
    """Images, digest and address of the source, and notes about what was skipped."""
    scheme, mark, rest = config.source.partition("://")
    if mark and scheme == "sklearn":
        return *_sklearn(rest, config.source), ()
    if mark and scheme == "dataset":
        return *_catalog(rest, config, store), ()
    folder, names, skipped = _files(
        config.source, store.root.settings if store is not None else StorageConfig()
    )
    return _reader(folder, names, config), _sha256(folder, names), config.source, skipped


def _reader(folder: Folder, names: list[str], config: DataConfig) -> Iterator[_Raw]:
    if names[0].lower().endswith(_PARQUET_ENDINGS):
        return _parquet(folder, names, config)
    if _is_idx(names[0]):
        return _idx(folder, names)
    return _class_folders(folder, names)


def _files(source: str, settings: StorageConfig) -> tuple[Folder, list[str], tuple[str, ...]]:
    """The folder, the relative paths of the source's files, sorted, and a note about skipped images; one kind
    of file."""
    whole = Folder(source, settings)
    parent, _, name = whole.uri.rpartition("/")
    folder = Folder(parent, settings)
    if name and folder.exists(name):
        return folder, [name, *[partner for partner in _labels_of(name) if folder.exists(partner)][:1]], ()
    listed = [entry.path for entry in whole.list()]
    names = [name for name in listed if not _hidden(name)]
    if not names:
        raise DataError(f"no images at {source}: no such file, or an empty folder", field=FIELD)
    for wanted in (_is_parquet, _is_idx, _is_image):
        found = [name for name in names if wanted(name)]
        if found:
            return whole, _once(found), _skipped(listed) if wanted is _is_image else ()
    raise DataError(
        f"{source} holds no images ({', '.join(_IMAGE_ENDINGS)}), Parquet or IDX files", field=FIELD
    )


def _is_image(name: str) -> bool:
    return name.lower().endswith(_IMAGE_ENDINGS)


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(_PARQUET_ENDINGS)


def _is_idx(name: str) -> bool:
    last = name.rsplit("/", 1)[-1].removesuffix(".gz")
    return not _is_image(last) and (last.endswith((".idx", "-ubyte", ".ubyte")) or "-idx" in last)


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _once(names: list[str]) -> list[str]:
    """Without `NAME.gz` where NAME is there too, as torchvision leaves its downloads."""
    known = set(names)
    return [name for name in names if not (name.endswith(".gz") and name.removesuffix(".gz") in known)]


def _skipped(names: list[str]) -> tuple[str, ...]:
    """A note about images in folders like `_background_`, which may be meant as classes; what begins with a
    dot never is."""
    left_out = [
        name
        for name in names
        if _is_image(name) and _hidden(name) and not name.startswith(".") and "/." not in name
    ]
    if not left_out:
        return ()
    named = sorted({next(part for part in name.split("/") if part.startswith("_")) for name in left_out})
    some = ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
    return (f"{len(left_out):,} images skipped because a name begins with `_` ({some}); rename to use them",)


def _class_folders(folder: Folder, names: list[str]) -> Iterator[_Raw]:
    """The folder directly above an image is its class; images in the source folder itself have none."""
    return (
        _Raw(name, folder.read_bytes(name), name.split("/")[-2] if "/" in name else None)
        for name in names
        if _is_image(name)
    )


def _idx(folder: Folder, names: list[str]) -> Iterator[_Raw]:
    images = [name for name in names if _labels_of(name)]
    if not images:
        raise DataError(f"{folder.uri} has no IDX file of images (a name with `images` in it)", field=FIELD)
    for name in images:
        pixels = read_idx(folder.read_bytes(name), name=name, dimensions=3)
        partner = next((other for other in _labels_of(name) if other in names), None)
        labels = None if partner is None else read_idx(folder.read_bytes(partner), name=partner, dimensions=1)
        if labels is not None and len(labels) != len(pixels):
            raise DataError(
                f"{name} has {len(pixels):,} images but {partner} has {len(labels):,} labels", field=FIELD
            )
        for i, image in enumerate(pixels):
            yield _Raw(f"{name}/{i:06d}", image, None if labels is None else int(labels[i]))


def _labels_of(name: str) -> tuple[str, ...]:
    """Names that the label file of an IDX file of images may have, packed as the images are first; none when
    it is not one."""
    head, slash, last = name.rpartition("/")
    if not _is_idx(last) or "images" not in last:
        return ()
    partner = head + slash + last.replace("images", "labels").replace("idx3", "idx1")
    return partner, partner.removesuffix(".gz") if partner.endswith(".gz") else f"{partner}.gz"


def _parquet(folder: Folder, names: list[str], config: DataConfig) -> Iterator[_Raw]:
    for name in names:
        try:
            table = pq.read_table(folder.open_input(name), use_threads=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as fault:
            raise DataError(
                f"{name} can't be read as Parquet ({str(fault).splitlines()[0][:120]})", field=FIELD
            ) from None
        yield from _rows(table, config, name)


def _rows(table: pa.Table, config: DataConfig, name: str) -> Iterator[_Raw]:
    column = image_of(table, name)
    label = config.target or LABEL
    if config.target is not None and label not in table.column_names:
        raise DataError(
            f"{name} has no column {label!r}; it has {', '.join(table.column_names)}", field="data.target"
        )
    labels = table[label].to_pylist() if label in table.column_names else [None] * table.num_rows
    for i, (cell, value) in enumerate(zip(table[column].to_pylist(), labels, strict=True)):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        path = (cell.get("path") if isinstance(cell, dict) else None) or f"{name}/{i:06d}"
        yield _Raw(path, content or b"", value)


def image_of(table: pa.Table, name: str) -> str:
    """The column that holds images: structs with `bytes`, or plain binary; `image` when there are several.

    Raises:
        DataError: there is none.
    """
    found = [field.name for field in table.schema if _holds_images(field.type)]
    if not found:
        raise DataError(
            f"{name} has no column of images (struct<bytes, path> or binary); it has"
            f" {', '.join(table.column_names)}",
            field=FIELD,
        )
    return IMAGE if IMAGE in found else found[0]


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _catalog(ref: str, config: DataConfig, store: Store | None) -> tuple[Iterable[_Raw], str, str]:
    if store is None:
        raise DataError(f"dataset://{ref} needs a store; give --store", field=FIELD)
    version = store.resolve("datasets", ref, field=FIELD)
    return (
        _rows(read_dataset(version), config, version.ref),
        version.manifest.content_digest,
        f"dataset://{version.ref}",
    )


def _sklearn(name: str, uri: str) -> tuple[Iterable[_Raw], str, str]:
    if name != "digits":
        raise DataError(f"no scikit-learn images named {name!r}; there is: digits", field=FIELD)
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    pixels = (bunch.images * (255.0 / 16.0)).round().astype(np.uint8)
    digest = hashlib.sha256(pixels.tobytes() + bunch.target.astype("<i8").tobytes()).hexdigest()
    return [_Raw(f"{i:05d}.png", pixels[i], int(bunch.target[i])) for i in range(len(pixels))], digest, uri


def _sha256(folder: Folder, names: list[str]) -> str:
    """Of names and bytes in order: a class folder that is renamed is another source."""
    digest = hashlib.sha256()
    for name in names:
        content, size = folder.digest(name)
        digest.update(json.dumps([name, content, size]).encode())
    return digest.hexdigest()
