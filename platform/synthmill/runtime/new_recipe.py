"""`synthmill init`: looks at a file or a folder and writes a recipe that says what it saw, in comments."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from synthmill.config import DataConfig, StorageConfig
from synthmill.data.columns import flat, is_supported, is_text, plain_table, plain_type
from synthmill.data.files import read_files
from synthmill.data.identifiers import has_id_name
from synthmill.data.image_file import BrokenImageError, read_image
from synthmill.data.people import MOST_ROWS
from synthmill.data.profile import ColumnProfile, profile_column
from synthmill.data.schema import ColumnRule
from synthmill.errors import DataError, UserError, did_you_mean
from synthmill.storage.folder import Folder
from synthmill.storage.uri import parse

TARGET_NAMES = re.compile(
    r"^(target|label|labels|class|classes|y|outcome|response|diagnosis|default|defaulted|income|salary|price"
    r"|churn|churned|survived|fraud|is_?fraud|approved|converted|species|quality|result)$",
    re.IGNORECASE,
)
MOST_CLASSES = 20
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
MOST_LOOKED_AT = 200
"""Images that are opened to see which size and mode they have."""
LARGEST_SIDE = 64
SMALLEST_SIDE = 8
FEW_ROWS = 500


@dataclass(frozen=True)
class Draft:
    """The two files to write, and what they say."""

    recipe: str
    schema: str | None
    """The schema file that leaves columns out; None when all can stay."""
    target: str | None = None
    dropped: dict[str, str] = field(default_factory=dict)
    """Column -> why it can't be learnt."""


@dataclass(frozen=True)
class Seen:
    """A column, and what will become of it."""

    name: str
    profile: ColumnProfile | None
    """None: it can't be learnt, for the reason that `dropped` gives."""
    distinct: int
    dropped: str = ""


def draft_recipe(
    source: str, *, name: str, target: str | None, schema_name: str, settings: StorageConfig
) -> Draft:
    """Look at the source and draft a recipe; `schema_name` is the file that left-out columns go to.

    Raises:
        DataError: nothing there, or nothing that can be learnt.
    """
    paths = _find_images(source, settings)
    if paths:
        folder = Folder(source, settings)
        classes = {path.rpartition("/")[0].rpartition("/")[2] for path in paths}
        # Evenly over the folder: the first ones may all be of one class.
        shown = [folder.read_bytes(path) for path in paths[:: max(1, len(paths) // MOST_LOOKED_AT)]]
        return _of_images(source, name, len(paths), shown, 0 if "" in classes else len(classes), [])
    config = DataConfig(source=source, kind="table")
    table = read_files(source, config, settings, keep_text=frozenset()).table
    if target is not None and target not in table.column_names:
        raise DataError(
            f"no column named {target!r}{did_you_mean(target, table.column_names)}", field="--target"
        )
    # A Hugging Face image: a struct with the file's bytes.
    column = next(
        (
            column_name
            for column_name, kind in zip(table.column_names, table.schema.types, strict=True)
            if pa.types.is_struct(kind) and "bytes" in [inner.name for inner in kind]
        ),
        None,
    )
    if column is not None:
        return _of_image_table(source, name, table, column, target)
    return _of_table(source, plain_table(table), name, target, schema_name, config)


def write(draft: Draft, recipe: Path, schema: Path, *, force: bool) -> None:
    """Write both files, or neither.

    Raises:
        UserError: one is there already, and `force` is not given.
    """
    # Both are looked at before either is written.
    wanted = {recipe: draft.recipe, **({schema: draft.schema} if draft.schema is not None else {})}
    there = next((path for path in wanted if path.exists()), None)
    if there is not None and not force:
        raise UserError(f"{there} is there already; choose another --output, or --force", field="--output")
    for path, text in wanted.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as fault:
            raise UserError(f"{path} can't be written ({fault.strerror})", field="--output") from None


def _of_table(
    source: str, table: pa.Table, name: str, target: str | None, schema_name: str, config: DataConfig
) -> Draft:
    group = _guess_group(table, target)
    seen = [_look(column, table[column], config, column == group) for column in table.column_names]
    usable = [column for column in seen if column.profile is not None]
    if not any(column.profile and column.profile.kind not in ("identifier", "constant") for column in usable):
        raise DataError(f"{source} has no column that can be learnt", field="source")
    dropped = {column.name: column.dropped for column in seen if column.profile is None}
    guess = target or _guess_target(usable)
    if guess is None:
        target_lines = ["  # target: COLUMN  # what downstream models predict; utility figures need it"]
    else:
        why = "" if target is not None else "  # a guess: what do downstream models predict?"
        target_lines = [f"  target: {_quoted(guess)}{why}"]
    lines = [
        *_head(source, f"{table.num_rows:,} rows, {len(seen)} columns"),
        f"name: {name}",
        "data:",
        f"  source: {_quoted(source)}",
        "  kind: table",
        *target_lines,
        *(
            [f"  schema: {_quoted(schema_name)}  # leaves out the columns below that can't be learnt"]
            if dropped
            else []
        ),
        *_split_lines(group, table.num_rows),
        "  # What was seen in each column:",
        *[f"  #   {_quoted(column.name)}: {_words(column, table.num_rows)}" for column in seen],
        "model:",
        "  name: auto  # follows from the rows and training.max_seconds; docs/recipes.md says how",
        "training:",
        "  seed: 0",
        "  max_epochs: 300",
        f"  global_batch_rows: {min(500, max(50, table.num_rows // 10))}",
    ]
    return Draft("\n".join(lines) + "\n", _schema_text(dropped), guess, dropped)


def _head(source: str, seen: str) -> list[str]:
    return [
        f"# Written by `synthmill init` after a look at {_quoted(source)}: {seen}.",
        "# Change what you know better; `synthmill train THIS_FILE --dry-run` shows what it resolves to.",
    ]


def _look(name: str, column: pa.ChunkedArray, config: DataConfig, is_group: bool) -> Seen:
    """One column; what training would refuse is left out, with the reason training would give."""
    if not is_supported(plain_type(column.type)):
        return Seen(name, None, 0, f"of type {column.type}, which no model here can learn")
    distinct = int(pc.count_distinct(column).as_py())
    if distinct == 0:
        return Seen(name, None, 0, "has only missing values")
    # By the code that training uses, so that both agree on what is refused.
    rule = ColumnRule(kind="identifier") if is_group else ColumnRule()
    try:
        return Seen(name, profile_column(name, flat(column), rule, config), distinct)
    except DataError as fault:
        return Seen(name, None, distinct, _reason(str(fault), name))


def _reason(message: str, name: str) -> str:
    """Why a column is refused, without its name and without the fix that this file already is."""
    text = message.partition(": ")[2] if message.startswith("data.") else message
    text = text.removeprefix(f"column {name!r} ").partition("; ")[0]
    return text.removeprefix("is ")


def _guess_target(columns: list[Seen]) -> str | None:
    """A column with a name that targets have, else the last one if it has few classes."""
    usable = [c for c in columns if c.profile and c.profile.kind not in ("identifier", "constant")]
    named = next((c.name for c in usable if TARGET_NAMES.match(c.name)), None)
    if named is not None or not usable:
        return named
    # Where no name tells, files for classification have their classes last.
    last = usable[-1]
    assert last.profile is not None
    classes = last.profile.kind in ("categorical", "boolean") and 2 <= last.distinct <= MOST_CLASSES
    return last.name if classes else None


def _guess_group(table: pa.Table, target: str | None) -> str | None:
    """A column that names people who have several rows each: named like an identifier, but not unique; with
    very many rows each, it would name a hospital or a town."""
    for name in table.column_names:
        kind = plain_type(table.schema.field(name).type)
        if name == target or not has_id_name(name) or not (is_text(kind) or pa.types.is_integer(kind)):
            continue
        distinct = int(pc.count_distinct(table[name]).as_py())
        if max(MOST_CLASSES, table.num_rows / MOST_ROWS) < distinct <= table.num_rows / 2:
            return str(name)
    return None


def _split_lines(group: str | None, rows: int) -> list[str]:
    why = "decided before anything is fitted; only evaluation opens the holdout"
    if rows < FEW_ROWS:
        why = f"{rows:,} rows are few: gates may be inconclusive"
    lines = [f"  split:  # {why}", "    validation: 0.1", "    holdout: 0.2"]
    if group is not None:
        lines += [
            f"    group: {_quoted(group)}  # a guess: its rows belong to one person and stay on one side"
        ]
    return lines


def _words(column: Seen, rows: int) -> str:
    profile = column.profile
    if profile is None:
        return f"left out: {column.dropped}"
    if profile.kind == "identifier":
        return "identifier: new ones in the same pattern, never copies"
    if profile.kind == "constant":
        return "constant: comes out as it went in"
    parts: list[str] = [profile.kind]
    if profile.kind in ("categorical", "boolean"):
        parts.append(f"{column.distinct:,} values")
    if profile.folded_rows:
        parts.append(f"rare ones folded into one ({profile.folded_rows:,} rows)")
    if profile.missing_rows:
        parts.append(f"{profile.missing_rows / rows:.1%} missing")
    if profile.discrete and profile.kind in ("integer", "numeric"):
        parts.append("few different values: learnt as levels")
    return ", ".join(parts)


def _schema_text(dropped: dict[str, str]) -> str | None:
    if not dropped:
        return None
    lines = [
        "# Columns that are left out. Free text that is really a category: write `kind: categorical`; a key:",
        "# `kind: identifier`. docs/recipes.md has all kinds.",
        "columns:",
        *[f"  {_quoted(name)}: {{kind: drop}}  # {' '.join(why.split())}" for name, why in dropped.items()],
    ]
    return "\n".join(lines) + "\n"


def _find_images(source: str, settings: StorageConfig) -> list[str]:
    """Paths of image files in a folder; none for anything else."""
    location = parse(source)
    if location.scheme == "file" and not Path(location.root).is_dir():
        return []
    paths = [entry.path for entry in Folder(source, settings).list()]
    shown = [p for p in paths if not any(part.startswith(("_", ".")) for part in p.split("/"))]
    return sorted(path for path in shown if path.lower().endswith(IMAGE_ENDINGS))


def _of_image_table(source: str, name: str, table: pa.Table, column: str, target: str | None) -> Draft:
    chosen = target or next((c for c in table.column_names if c != column and TARGET_NAMES.match(c)), None)
    classes = int(pc.count_distinct(table[chosen]).as_py()) if chosen else 0
    shown = flat(table[column].slice(0, MOST_LOOKED_AT)).field("bytes").to_pylist()
    extra = [] if chosen is None else [f"  target: {_quoted(chosen)}  # the column with the classes"]
    return _of_images(source, name, table.num_rows, shown, classes, extra)


def _of_images(
    source: str, name: str, total: int, files: list[bytes], classes: int, extra: list[str]
) -> Draft:
    """A recipe for `total` images of so many classes (0: unlabelled), of which `files` were opened."""
    config = DataConfig(source=source, kind="image").image
    shapes: Counter[tuple[int, int]] = Counter()
    colour, broken = False, 0
    for content in files:
        try:
            pixels = read_image(content, config)
        except BrokenImageError:
            broken += 1
            continue
        shapes[pixels.shape[0], pixels.shape[1]] += 1
        colour = colour or pixels.ndim == 3
    if not shapes:
        raise DataError(f"none of the images in {source} can be read", field="source")
    (height, width), _ = shapes.most_common(1)[0]
    # The image models halve a side several times; multiples of 8 halve evenly.
    side = max(SMALLEST_SIDE, min(LARGEST_SIDE, height, width) // 8 * 8)
    same = len(shapes) == 1 and height == width == side
    looked = sum(shapes.values())
    lines = [
        *_head(source, f"{total:,} images, {looked:,} opened"),
        f"name: {name}",
        "data:",
        f"  source: {_quoted(source)}",
        "  kind: image",
        *extra,
        f"  # Classes: {classes or 'none; images of a class lie in a folder of its name'}.",
        f"  # Sizes: {len(shapes)}; the commonest is {width}x{height}. {'RGB' if colour else 'Gray'}.",
        *([f"  # {broken} of those opened can't be read: they are skipped, up to 1%."] if broken else []),
        "  image:",
        f"    size: {side}" + ("" if same else "  # all are brought to it; larger takes longer"),
        f"    channels: {3 if colour else 1}",
        "    flip: false  # true mirrors at random; not for digits or letters",
        "  split:",
        "    validation: 0.1",
        "    holdout: 0.2",
        "model:",
        "  name: vae  # the quickest; dcgan and style_gan draw sharper. docs/images.md compares them",
        "training:",
        "  seed: 0",
        "  max_epochs: 100",
        f"  global_batch_rows: {min(128, max(16, total // 10))}",
    ]
    return Draft("\n".join(lines) + "\n", None, "label" if classes else None)


def _quoted(text: str) -> str:
    """A YAML scalar on one line, whatever the text; plain where YAML reads it back as the same text."""
    plain = re.fullmatch(r"[A-Za-z_][\w./-]*", text) and yaml.safe_load(text) == text
    return text if plain else json.dumps(text, ensure_ascii=True)
