"""Which files of a folder are images: by name, and by content where the name does not say."""

from collections import Counter
from dataclasses import dataclass

from synthmill.data.readers.base import FIELD
from synthmill.errors import DataError
from synthmill.storage.folder import Folder

IMAGE_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".avif", ".tif", ".tiff", ".pgm",
    ".ppm", ".pnm",
)  # fmt: skip
PARQUET_ENDINGS = (".parquet", ".pq")
_OTHER_ENDINGS = (
    ".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".npy", ".npz",
    ".mat", ".zip", ".tar", ".gz", ".tgz", ".mp4", ".avi", ".mov", ".wav", ".mp3", ".db", ".ini", ".log",
    ".py", ".pdf", ".svg", ".ipynb", ".pkl", ".pt", ".h5", ".hdf5",
)  # fmt: skip
"""Files that are never opened to see whether they are images."""
_FIXES = {".heic": "HEIC", ".heif": "HEIC", ".dcm": "DICOM", ".svg": "SVG", ".cr2": "raw", ".nef": "raw"}
_HEAD_BYTES = 16
_MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"P5",
    b"P6", b"P2", b"P3",
)  # fmt: skip
_NAMED = 5


@dataclass(frozen=True)
class Listing:
    """The files of a source."""

    folder: Folder
    names: list[str]
    """Relative paths, sorted; all images, all Parquet or all IDX files."""
    notes: tuple[str, ...] = ()


def is_image(name: str) -> bool:
    """Whether a name ends as those of images do."""
    return name.lower().endswith(IMAGE_ENDINGS)


def is_parquet(name: str) -> bool:
    """Whether a name ends as those of Parquet files do."""
    return name.lower().endswith(PARQUET_ENDINGS)


def is_idx(name: str) -> bool:
    """Whether a name is one that IDX files have, packed or not."""
    last = name.rsplit("/", 1)[-1].removesuffix(".gz")
    return not is_image(last) and (last.endswith((".idx", "-ubyte", ".ubyte")) or "-idx" in last)


def list_folder(whole: Folder, source: str) -> Listing:
    """The images, Parquet or IDX files in a folder, and notes about what else is there.

    Raises:
        DataError: nothing of the kind.
    """
    listed = [entry.path for entry in whole.list()]
    names = [name for name in listed if not _hidden(name)]
    if not names:
        raise DataError(f"no images at {source}: no such file, or an empty folder", field=FIELD)
    for wanted in (is_parquet, is_idx):
        found = [name for name in names if wanted(name)]
        if found:
            return Listing(whole, _once(found))
    found = [name for name in names if is_image(name) or _looks_like_image(whole, name)]
    if not found:
        others = _others(names)
        raise DataError(
            f"{source} holds no images ({', '.join(IMAGE_ENDINGS)}), Parquet or IDX files; it has {others}",
            field=FIELD,
        )
    left = sorted(set(names) - set(found))
    notes = [*_underscored(whole, listed)]
    if left:
        files = "1 file is" if len(left) == 1 else f"{len(left):,} files are"
        notes.append(f"{files} no image by name or content, and skipped: {_others(left)}")
    return Listing(whole, found, tuple(notes))


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _looks_like_image(folder: Folder, name: str) -> bool:
    """By the first bytes, for names without an ending and endings that say nothing."""
    if name.lower().endswith(_OTHER_ENDINGS):
        return False
    with folder.open_input(name) as file:
        head: bytes = file.read(_HEAD_BYTES)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_MAGIC) or is_webp or head[4:12] in (b"ftypavif", b"ftypavis")


def _once(names: list[str]) -> list[str]:
    """Without `NAME.gz` where NAME is there too, as torchvision leaves its downloads."""
    known = set(names)
    return [name for name in names if not (name.endswith(".gz") and name.removesuffix(".gz") in known)]


def _underscored(folder: Folder, names: list[str]) -> tuple[str, ...]:
    """A note about images in folders like `_background_`, which may be meant as classes; what begins with a
    dot never is."""
    left_out = [
        name
        for name in names
        if _hidden(name)
        and not name.startswith(".")
        and "/." not in name
        and (is_image(name) or _looks_like_image(folder, name))
    ]
    if not left_out:
        return ()
    named = sorted({next(part for part in name.split("/") if part.startswith("_")) for name in left_out})
    some = ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
    return (f"{len(left_out):,} images skipped because a name begins with `_` ({some}); rename to use them",)


def _others(names: list[str]) -> str:
    """Some of the names, and what to do with formats that images have but Pillow does not read."""
    some = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    kinds = Counter(kind for name in names for end, kind in _FIXES.items() if name.lower().endswith(end))
    fixes = [f"{count:,} {kind}: convert to PNG or JPEG" for kind, count in sorted(kinds.items())]
    return some + (f" ({'; '.join(fixes)})" if fixes else "")
