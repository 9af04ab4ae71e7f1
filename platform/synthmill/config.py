"""A recipe: one YAML file that says what to train on, what to train and how.

A run is a recipe file, `--set key=value` overrides and `--dry-run`; there is no flag per field. The resolved
recipe is fingerprinted and saved with every output. Every class here is frozen and refuses unknown keys.
"""

import contextlib
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from synthmill.constraint_config import TYPES, ConstraintConfig
from synthmill.errors import NotFoundError, RecipeError, did_you_mean
from synthmill.frozen import FrozenModel, is_none, tunable
from synthmill.training_config import TrainingConfig
from synthmill.tune_config import TuneConfig

__all__ = ["FrozenModel", "Recipe", "TrainingConfig", "TuneConfig", "tunable"]
FORMAT = "synthmill.recipe/1"
TABLES_FORMAT = "synthmill.tables/1"
"""Of schemas of several tables, which are no recipes."""
AUTO = "auto"
"""The `model.name` that leaves the choice to the rows and the time budget."""
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"

_SECRET = "secret"
_PASSWORD = re.compile(
    r"^postgres\w*(\+\w+)?://([^/@?]*:[^/@]+@|.*[?&](password|passfile|sslpassword|sslkey)=)", re.IGNORECASE
)
"""Of a database's URI: those of stores are refused where they are read."""

M = TypeVar("M", bound="FrozenModel")


class SplitConfig(FrozenModel):
    """How rows are assigned to train, validation and holdout before anything is fitted."""

    validation: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the rows that selection, early stopping and tuning read."""
    holdout: float = Field(0.2, ge=0.0, lt=1.0)
    """Share of the rows that only evaluation opens; may be 0."""
    seed: int = 0
    """Key of the hash that assigns rows."""
    group: str | None = None
    """Column whose equal values stay on one side (a patient, a customer)."""


class ImageConfig(FrozenModel):
    """How images of any size and mode become arrays of one shape."""

    size: tuple[int, int] | int | None = None
    """Height and width in pixels, or one number for both; null: the source's own, if all images share it."""
    channels: Literal[1, 3] | None = None
    """1 gray, 3 RGB; null: gray when every image is stored as gray."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How another aspect ratio is made to fit `size`: scaled to cover it and cropped at the centre, scaled to
    lie within it and padded with `background`, or stretched."""
    background: int = Field(255, ge=0, le=255)
    """Gray level behind transparent pixels and around padded images."""
    depth: int | None = Field(None, ge=8, le=16)
    """Bits that gray pixels of more than 8 bits reach to; null: what the file says, or as many as the
    source's brightest pixel needs."""
    flip: bool = False
    """Mirror training images at random; not for digits or letters."""
    max_broken_share: float = Field(0.01, ge=0.0, lt=1.0)
    """Share of files, rounded up, that may be unreadable: they are counted, named and skipped; more are an
    error."""


def _is_auto(value: object) -> bool:
    """Whether `data.stream` is left out of what is saved: recipes from before it must keep their
    fingerprints."""
    return value == "auto"


class DataConfig(FrozenModel):
    """What to train on."""

    source: str
    """A file or folder (path or URI) of CSV, Parquet, Arrow, JSON, Excel, ORC or Avro, a Hugging Face dataset
    folder, a query (`sqlite:///FILE?query=SELECT...`, `postgresql://HOST/DB?table=NAME`), `sklearn://NAME`,
    or `dataset://NAME[@N]` for a catalog dataset. Images: a folder with a subfolder for each class, Parquet
    with Hugging Face image structs, IDX files, `sklearn://digits`."""
    kind: str = "auto"
    """What the source holds: `table`, `image`, ...; auto: what the model learns."""
    target: str | None = None
    """The column that downstream models predict; used by utility figures and `--balance`. For images in
    Parquet: the label column (default `label`)."""
    schema_file: str | None = Field(None, alias="schema")
    """A JSON or YAML file with column kinds, bounds and categories; SDV metadata JSON is read too."""
    trim: bool = True
    """Strip white space around CSV cells."""
    null_values: tuple[str, ...] = ("", "?")
    """Cells read as missing."""
    header: bool | None = None
    """Whether the first line of text files and sheets holds column names; null: seen from the file, and an
    error where it looks like a row."""
    columns: tuple[str, ...] | None = None
    """Column names of text files and sheets without a header."""
    delimiter: str | None = None
    """What divides the cells of text files: one character, `tab` or `whitespace`; null: seen from the
    file."""
    encoding: str | None = None
    """Encoding of text files, such as `cp1252`; null: UTF-8, or what a byte order mark states."""
    footer_rows: int | None = Field(None, ge=0)
    """Lines at the end of text files and sheets that are no rows; null: totals and footnotes are seen, left
    out and named."""
    sheet: str | None = None
    """The sheet of a workbook; null: the first that is not empty."""
    stream: Literal["auto", "always", "never"] = Field("auto", exclude_if=_is_auto)
    """Whether the source is gone over in blocks instead of being loaded; auto: where loading it would take
    more than half of the machine's memory. Rows are then divided by their content alone, and quantiles follow
    from a sample of 200,000 train rows; which it was is said, and recorded with the model."""
    group_by: tuple[str, ...] | None = Field(None, exclude_if=is_none)
    """The column or columns whose equal values make the rows of one sequence (a customer, a patient, a
    sensor); whole sequences are then learnt and generated. Null: rows stand for themselves."""
    order_by: str | None = Field(None, exclude_if=is_none)
    """A column of numbers, dates or times that orders the rows of a sequence; null: they are in order."""
    static: tuple[str, ...] | None = Field(None, exclude_if=is_none)
    """Columns that are equal in all rows of a sequence; null: those that are so in the training rows."""
    lags: int | None = Field(None, ge=1, le=8, exclude_if=is_none)
    """Earlier rows of the sequence that a row is learnt from; null: 2."""
    max_length: int | None = Field(None, ge=2, exclude_if=is_none)
    """Rows of the longest sequence, in the source and generated; null: any in the source, and as many as five
    training sequences reach in what is generated."""
    split: SplitConfig = SplitConfig()
    min_category_rows: int = Field(5, ge=1)
    """Categories with fewer training rows are folded into one."""
    rare_target: Literal["fold", "keep"] | None = None
    """What becomes of classes of the target with fewer training rows than that: `fold` makes other classes of
    them, `keep` learns them all the same, though so few rows share them; null: the job stops."""
    image: ImageConfig = ImageConfig()
    """Shape of images; read only where the source holds images."""
    constraints: tuple[ConstraintConfig, ...] | None = Field(None, exclude_if=is_none)
    """What holds in every row of the source, and so in every generated one: [constraints](constraints.md) has
    each type. Those in the schema file, which may be SDV's, are added."""

    model_config = ConfigDict(populate_by_name=True)

    @field_validator("group_by", "static", mode="before")
    @classmethod
    def _one_or_several(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @field_validator("kind")
    @classmethod
    def _present_name(cls, kind: str) -> str:
        return {"images": "image"}.get(kind, kind)

    @field_validator("source")
    @classmethod
    def _without_password(cls, source: str) -> str:
        # Recipes are printed, and saved with every model made of them.
        if _PASSWORD.search(source):
            raise PydanticCustomError(
                _SECRET,
                "holds a password, and would be saved with every model; take it out of the URI and set"
                " PGPASSWORD, or use ~/.pgpass",
            )
        return source


class ModelConfig(FrozenModel):
    """Which model, with which hyper-parameters."""

    name: str
    """A file name in `synthmill/models/`, or `auto`: chosen from the shape of the table and
    `training.max_seconds`; what was chosen, and why, is said, and the resolved recipe names it."""
    config: dict[str, Any] = Field({})
    """Fields of the model's own `Config`; see the recipe reference."""


class StorageConfig(FrozenModel):
    """How bytes are written to and read from a store."""

    retry_seconds: float = Field(120.0, ge=0)
    """How long a failing request is retried."""
    connect_seconds: float = Field(10.0, gt=0)
    """Time to wait for a connection."""
    read_seconds: float = Field(60.0, gt=0)
    """Time to wait for an answer."""
    encryption: Literal["none", "sse-s3", "sse-kms"] = "none"
    """Server-side encryption asked for on every object written to S3."""
    kms_key_id: str | None = None
    """The key for `sse-kms`; null: the bucket's default."""


class Recipe(FrozenModel):
    """Everything that determines a training run."""

    name: str = Field(pattern=NAME_PATTERN)
    """The model's name in the store."""
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    tune: TuneConfig = TuneConfig()
    """How `synthmill tune` searches; training does not read it."""
    gates: str = "default"
    """Quality gates: `default` or the path of a gates file."""
    storage: StorageConfig = StorageConfig()


def name_of_source(source: str) -> str:
    """`adult` for `s3://bucket/data/Adult.csv.gz`: what a file's or folder's model is called at first."""
    last = source.rstrip("/").rpartition("/")[2].partition(".")[0].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-._") or "model"


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("synthmill") / "recipes"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read the recipe at a path, or the shipped one of that name, and apply `key.path=value` overrides in
    order.

    Raises:
        NotFoundError: neither a file nor a shipped recipe.
        RecipeError: not readable, not YAML, another format, an unknown key, a wrong type; names the key. A
        schema of several tables.
    """
    raw = read_mapping(name_or_path)
    if raw.get("format") == TABLES_FORMAT or (isinstance(raw.get("tables"), dict) and "data" not in raw):
        raise RecipeError(
            f"{name_or_path} is a schema of several tables, which `synthmill fit` trains; this takes a recipe"
            " of one table",
            field="recipe",
        )
    for override in overrides:
        apply_override(raw, override)
    stated = raw.pop("format", None)
    if stated not in (None, FORMAT):
        raise RecipeError(f"{stated!r} can't be read; this version reads {FORMAT!r}", field="format")
    # `data:` with nothing below it is a section to be completed by overrides, not a null.
    empty = {key for key, value in raw.items() if value is None and key in Recipe.model_fields}
    return parse_stated({key: value for key, value in raw.items() if key not in empty}, overrides)


def parse_stated(raw: dict[str, Any], overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe that a person wrote, overrides applied: a default that is stated counts as stated."""
    training, key = raw.get("training"), "global_batch_rows"
    fields = TrainingConfig.model_fields
    if isinstance(training, dict) and training.get(key) == fields[key].default:
        # A section with every field in it was written out by `dump`, and says nothing of who stated what.
        written_out = dump(TrainingConfig()).keys() <= training.keys()
        if not written_out or any(word.startswith(f"training.{key}=") for word in overrides):
            raw = {**raw, "training": {**training, "batch_as_stated": True}}
    return parse_model(Recipe, raw)


def parse_model(model: type[M], raw: Any, *, prefix: str = "") -> M:
    """Validate `raw` against `model`; the first fault becomes one line that names the key and the fix."""
    try:
        return model.model_validate(raw)
    except ValidationError as fault:
        raise _explain(model, fault, prefix) from None


def parse_value(text: str) -> Any:
    """The value of an override: as YAML, or the text itself where it is not valid YAML."""
    if text[:1] in ('"', "[", "{"):
        # As JSON where it is that: YAML does not join the two halves that JSON writes some characters as.
        with contextlib.suppress(ValueError):
            return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def dump(model: FrozenModel) -> dict[str, Any]:
    """The model as plain JSON data, under the names used in recipe files."""
    return model.model_dump(mode="json", by_alias=True)


def fingerprint(data: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of plain data or of a configuration."""
    plain = dump(data) if isinstance(data, FrozenModel) else data
    # Canonical: neither the order of keys nor their formatting may change what identifies a run.
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_mapping(name_or_path: str) -> dict[str, Any]:
    """The content of the YAML file at a path, or of the shipped recipe of that name, as plain data.

    Raises:
        NotFoundError: neither. RecipeError: not readable, not YAML, not a mapping.
    """
    shipped = shipped_recipes()
    path = Path(name_or_path)
    # The user's own file goes before a shipped recipe of the same name.
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif name_or_path in shipped:
            text = (resources.files("synthmill") / "recipes" / f"{name_or_path}.yaml").read_text("utf-8")
        else:
            hint = did_you_mean(name_or_path, shipped)
            raise NotFoundError(f"no recipe file or shipped recipe {name_or_path!r}{hint}", field="recipe")
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not UTF-8; save it as UTF-8", field="recipe") from None
    except OSError as fault:
        raise RecipeError(f"{path} can't be read: {fault.strerror}", field="recipe") from None
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        where = getattr(fault, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise RecipeError(f"{name_or_path} is not valid YAML{line}", field="recipe") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{name_or_path} must be a mapping of keys to values", field="recipe")
    return raw


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set what `key.path=value` says in a recipe's content.

    Raises:
        RecipeError: not key=value, or a path that runs into a value.
    """
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise RecipeError(f"expected key=value, got {override!r}", field="--set")
    # Nothing after "=" means an empty text; YAML would make it null.
    value = parse_value(text) if text else ""
    node = raw
    for part in parts[:-1]:
        child = {} if node.get(part) is None else node[part]
        if not isinstance(child, dict):
            raise RecipeError(f"{part!r} holds a value, not keys", field=f"--set {key}")
        node[part] = child
        node = child
    node[parts[-1]] = value


def _explain(model: type[FrozenModel], fault: ValidationError, prefix: str) -> RecipeError:
    error = fault.errors()[0]  # One line for one mistake: the next run tells the next.
    path = [str(part) for part in error["loc"]]
    # pydantic names the type of an entry behind its number: `data.constraints.0.sum.total` is no key.
    tags = [at for at in range(1, len(path)) if path[at] in TYPES and path[at - 1].isdigit()]
    entry = TYPES[path[tags[0]]] if tags else None
    path = [part for at, part in enumerate(path) if at not in tags]
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        stated = error["ctx"].get("tag")
        hint = (
            f"{stated!r} is none{did_you_mean(stated, TYPES)}" if stated else f"is one of {', '.join(TYPES)}"
        )
        return RecipeError(hint, field=".".join([*([prefix] if prefix else []), *path, "type"]))
    if error["type"] != "extra_forbidden":
        # pydantic names the member of a union that it tried as well: `data.image.size.int` is no key.
        path = [part for part in path if "[" not in part and part not in ("int", "float", "str", "bool")]
    field = ".".join([prefix, *path] if prefix else path)
    if error["type"] == "extra_forbidden":
        known = list(entry.model_fields) if entry is not None else _keys_at(model, path[:-1])
        return RecipeError(f"unknown key{did_you_mean(path[-1], known)}", field=field)
    if error["type"] == "missing":
        return RecipeError("is required", field=field)
    if error["type"] == "string_pattern_mismatch":
        return RecipeError(
            f"{error['input']!r} must be lower-case letters, digits, '.', '_' and '-', starting with a letter"
            " or digit",
            field=field,
        )
    if error["type"] == _SECRET:
        return RecipeError(error["msg"], field=field)
    got = json.dumps(error["input"], default=str, skipkeys=True)
    # What our own validators say already reads as a sentence about the field.
    message = error["msg"].removeprefix("Value error, ")
    return RecipeError(f"{message[0].lower()}{message[1:]}, got {got[:80]}", field=field)


def _keys_at(model: type[FrozenModel], path: list[str]) -> list[str]:
    current: Any = model
    for part in path:
        if get_origin(current) is dict:
            # Below a mapping by names, such as tables: what its values have.
            current = get_args(current)[1]
            continue
        fields = current.model_fields if isinstance(current, type) and issubclass(current, BaseModel) else {}
        match = next((field for name, field in fields.items() if part in (name, field.alias)), None)
        current = match.annotation if match else None
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]
