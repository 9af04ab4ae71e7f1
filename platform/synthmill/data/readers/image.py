"""Where images come from: class folders, Parquet with Hugging Face image structs, IDX files, scikit-learn's
digits, the catalog.

Whatever the source, the outcome is one table: `image` struct<bytes: binary, path: string> with every image as
a PNG of the same shape, and `label` where there are labels. Splitting, mixing with synthetic rows and
evaluation then work as they do for tables.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.catalog.dataset import described_dataset
from synthmill.catalog.store import Store
from synthmill.config import DataConfig, ImageConfig, StorageConfig
from synthmill.data import png
from synthmill.data.idx import read_idx
from synthmill.data.image_file import (
    BrokenImageError,
    Decoded,
    Pixels,
    decode,
    depth_of,
    eight_bit,
    resize,
    with_channels,
)
from synthmill.data.image_folder import Listing, is_idx, is_parquet, list_folder
from synthmill.data.image_table import IMAGE as IMAGE
from synthmill.data.image_table import LABEL as LABEL
from synthmill.data.image_table import Roles, beside, cells_of, named_files, roles
from synthmill.data.origin import attach, numbered
from synthmill.data.readers.base import FIELD, Reader, Source
from synthmill.data.schema import Rules
from synthmill.errors import DataError
from synthmill.storage.folder import Folder

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_NAMED = 5
"""Broken files that a message names."""


@dataclass(frozen=True)
class _Raw:
    """One image before it is decoded: its bytes, or pixels where the format has no files; a class or None."""

    path: str
    content: bytes | Pixels | str
    """A text says why there is nothing to read."""
    label: Any


@dataclass(frozen=True)
class _Raws:
    """The images of a source, read one by one."""

    images: Iterable[_Raw]
    sha256: str
    uri: str = ""
    names: tuple[str, ...] = ()
    """Of the classes, where the source numbers them."""
    notes: tuple[str, ...] = ()


def with_class_names(schema: pa.Schema, names: tuple[str, ...]) -> pa.Schema:
    """The origin of a table whose source numbers its classes and names the numbers."""
    return numbered(schema, LABEL, names, {IMAGE: {"_type": "Image"}})


class ImageReader(Reader):
    """Images: class folders, Parquet, IDX files, scikit-learn's digits, datasets of the catalog."""

    def read(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Source:
        """Read every image that `data.source` names and bring all to one shape.

        Raises:
            DataError: no images, more unreadable ones than allowed (names them), different sizes without
            `data.image.size`, a wrong
                IDX magic, images without a label among labelled ones.
        """
        raws = _read(config, store)
        found = _decode(raws.images, config.image)
        if len(found.pixels) < 2:
            raise DataError(
                f"{config.source} holds {len(found.pixels)} readable images; a model needs at least 2, and"
                " hundreds to be of use",
                field=FIELD,
            )
        _check_sizes(found.pixels, found.paths)
        channels = config.image.channels or (1 if all(image.ndim == 2 for image in found.pixels) else 3)
        files = [png.encode(with_channels(image, channels)) for image in found.pixels]
        columns: dict[str, pa.Array] = {IMAGE: image_column(files, found.paths)}
        if any(label is not None for label in found.labels):
            columns[LABEL] = _label_column(found.labels, found.paths)
        table = pa.table(columns)
        if raws.names and LABEL in columns:
            table = attach(table, with_class_names(table.schema, raws.names))
        return Source(table, raws.sha256, raws.uri, notes=(*raws.notes, *found.notes))


def image_column(files: list[bytes], paths: list[str]) -> pa.StructArray:
    """The `image` column of PNG files and their names."""
    return pa.StructArray.from_arrays(
        [pa.array(files, pa.binary()), pa.array(paths, pa.string())], fields=list(IMAGE_TYPE)
    )


@dataclass
class _Images:
    """What could be read, in order."""

    pixels: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    deep: dict[int, int | None] = field(default_factory=dict)
    """Positions of images of more than 8 bits, and how many bits their files say."""
    notes: list[str] = field(default_factory=list)


def _decode(raws: Iterable[_Raw], config: ImageConfig) -> _Images:
    """Every image in 8 bits and the recipe's size; unreadable ones are counted, and too many an error."""
    found, broken, animated = _Images(), [], []
    for raw in raws:
        try:
            if isinstance(raw.content, str):
                raise BrokenImageError(raw.content)
            image = (
                decode(raw.content, config.background)
                if isinstance(raw.content, bytes)
                else Decoded(raw.content)
            )
        except BrokenImageError as fault:
            broken.append(f"{raw.path} ({fault})")
            continue
        if image.pixels.dtype == np.uint16:
            found.deep[len(found.pixels)] = image.depth
            found.pixels.append(image.pixels)
        else:
            found.pixels.append(resize(image.pixels.astype(np.uint8, copy=False), config))
        animated += [raw.path] if image.is_animated else []
        found.labels.append(raw.label)
        found.paths.append(raw.path)
    _flatten_deep(found, config)
    if animated:
        have = "1 image has" if len(animated) == 1 else f"{len(animated):,} images have"
        found.notes.append(f"{have} several frames, of which the first is read: {_some(animated)}")
    if broken:
        found.notes.append(_broken_note(broken, len(found.paths) + len(broken), config))
    return found


def _flatten_deep(found: _Images, config: ImageConfig) -> None:
    """Deep images to 8 bits. A file of 16 bits can hold 12 from a camera, and rarely says so: the brightest
    pixel of all does, as one image can be dark."""
    unsaid = [i for i, depth in found.deep.items() if depth is None]
    depth = config.depth
    if depth is None and unsaid:
        brightest = max(int(found.pixels[i].max(initial=0)) for i in unsaid)
        depth = depth_of(brightest)
        if depth < 16:
            found.notes.append(
                f"no pixel of {len(unsaid):,} images of 16 bits is above {brightest:,}: they are read as"
                f" {depth}-bit; set data.image.depth: 16 to keep them dark"
            )
    for i, said in found.deep.items():
        found.pixels[i] = resize(eight_bit(found.pixels[i], config.depth or said or depth or 16), config)


def _broken_note(broken: list[str], total: int, config: ImageConfig) -> str:
    said = f"{len(broken):,} of {total:,} images can't be read: {_some(broken)}"
    if len(broken) > -(-config.max_broken_share * total // 1):
        raise DataError(
            f"{said}; remove them, or raise data.image.max_broken_share (now {config.max_broken_share:g})",
            field=FIELD,
        )
    return f"{said}; skipped"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


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


def _read(config: DataConfig, store: Store | None) -> _Raws:
    scheme, mark, rest = config.source.partition("://")
    if mark and scheme == "sklearn":
        return _sklearn(rest, config.source)
    if mark and scheme == "dataset":
        return _catalog(rest, config, store)
    listing = _files(config.source, store.root.settings if store is not None else StorageConfig())
    folder, names = listing.folder, listing.names
    if is_parquet(names[0]):
        found = _parquet(folder, names, config)
    else:
        raws = _idx(folder, names) if is_idx(names[0]) else _class_folders(folder, names)
        found = _Raws(raws, _sha256(folder, names))
    return replace(found, uri=config.source, notes=(*listing.notes, *found.notes))


def _files(source: str, settings: StorageConfig) -> Listing:
    """The relative paths of the source's files, sorted, of one kind; what is skipped stands in the notes."""
    whole = Folder(source, settings)
    parent, _, name = whole.uri.rpartition("/")
    folder = Folder(parent, settings)
    if name and folder.exists(name):
        partners = [partner for partner in _labels_of(name) if folder.exists(partner)]
        return Listing(folder, [name, *partners[:1]])
    return list_folder(whole, source)


def _class_folders(folder: Folder, names: list[str]) -> Iterator[_Raw]:
    """The folder directly above an image is its class; images in the source folder itself have none."""
    return (
        _Raw(name, folder.read_bytes(name), name.split("/")[-2] if "/" in name else None) for name in names
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
    if not is_idx(last) or "images" not in last:
        return ()
    partner = head + slash + last.replace("images", "labels").replace("idx3", "idx1")
    return partner, partner.removesuffix(".gz") if partner.endswith(".gz") else f"{partner}.gz"


def _parquet(folder: Folder, names: list[str], config: DataConfig) -> _Raws:
    tables = []
    for name in names:
        try:
            tables.append((name, pq.read_table(folder.open_input(name), use_threads=False)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as fault:
            raise DataError(
                f"{name} can't be read as Parquet ({str(fault).splitlines()[0][:120]})", field=FIELD
            ) from None
    found = [(name, table, roles(table, name, config.target)) for name, table in tables]
    files = [file for name, table, at in found for file in named_files(folder, name, table, at)]
    raws = (raw for name, table, at in found for raw in _rows(table, at, name, folder))
    first = found[0][2]
    return _Raws(raws, _sha256(folder, [*names, *files]), names=first.names, notes=_noted(first))


def _noted(at: Roles) -> tuple[str, ...]:
    return () if at.note is None else (at.note,)


def _rows(table: pa.Table, at: Roles, name: str, folder: Folder | None = None) -> Iterator[_Raw]:
    above = name.rpartition("/")[0]
    for path, content, label in cells_of(table, at, name):
        if content is not None:
            yield _Raw(path, content, label)
            continue
        inside = beside(above, path)
        if folder is None or inside is None:
            yield _Raw(path, "its path leads out of the table's folder", label)
        elif not folder.exists(inside):
            yield _Raw(path, f"no such file beside {name}", label)
        else:
            yield _Raw(path, folder.read_bytes(inside), label)


def _catalog(ref: str, config: DataConfig, store: Store | None) -> _Raws:
    if store is None:
        raise DataError(f"dataset://{ref} needs a store; give --store", field=FIELD)
    version = store.resolve("datasets", ref, field=FIELD)
    table = described_dataset(version)
    at = roles(table, version.ref, config.target)
    return _Raws(
        _rows(table, at, version.ref),
        version.manifest.content_digest,
        uri=f"dataset://{version.ref}",
        names=at.names,
        notes=_noted(at),
    )


def _sklearn(name: str, uri: str) -> _Raws:
    if name != "digits":
        raise DataError(f"no scikit-learn images named {name!r}; there is: digits", field=FIELD)
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    pixels = (bunch.images * (255.0 / 16.0)).round().astype(np.uint8)
    digest = hashlib.sha256(pixels.tobytes() + bunch.target.astype("<i8").tobytes()).hexdigest()
    raws = [_Raw(f"{i:05d}.png", pixels[i], int(bunch.target[i])) for i in range(len(pixels))]
    return _Raws(raws, digest, uri=uri)


def _sha256(folder: Folder, names: list[str]) -> str:
    """Of names and bytes in order: a class folder that is renamed is another source."""
    digest = hashlib.sha256()
    for name in names:
        content, size = folder.digest(name)
        digest.update(json.dumps([name, content, size]).encode())
    return digest.hexdigest()
