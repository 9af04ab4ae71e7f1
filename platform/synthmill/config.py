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
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from synthmill.errors import NotFoundError, RecipeError, did_you_mean
from synthmill.frozen import Count, FrozenModel, ends, tunable
from synthmill.tune_config import TuneConfig

__all__ = ["FrozenModel", "Recipe", "TuneConfig", "tunable"]
FORMAT = "synthmill.recipe/1"
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


def _is_none(value: object) -> bool:
    """Whether a field is left out of what is saved: one that came later must not change the fingerprints of
    recipes that don't set it."""
    return value is None


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
    group_by: tuple[str, ...] | None = Field(None, exclude_if=_is_none)
    """The column or columns whose equal values make the rows of one sequence (a customer, a patient, a
    sensor); whole sequences are then learnt and generated. Null: rows stand for themselves."""
    order_by: str | None = Field(None, exclude_if=_is_none)
    """A column of numbers, dates or times that orders the rows of a sequence; null: they are in order."""
    static: tuple[str, ...] | None = Field(None, exclude_if=_is_none)
    """Columns that are equal in all rows of a sequence; null: those that are so in the training rows."""
    lags: int | None = Field(None, ge=1, le=8, exclude_if=_is_none)
    """Earlier rows of the sequence that a row is learnt from; null: 2."""
    max_length: int | None = Field(None, ge=2, exclude_if=_is_none)
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


def _patience(value: Any) -> Any:
    if value is None or value == "never":
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("input should be an integer greater than or equal to 1, never or null")


Patience = Annotated[
    int | Literal["never"] | None,
    BeforeValidator(_patience),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "never"}, {"type": "null"}]}),
]
"""Null is what recipes from before say, and `auto` would change their fingerprints."""


class TrainingConfig(FrozenModel):
    """How to train."""

    seed: int = 0
    """Initial weights, noise and row order follow from it."""
    max_epochs: int = Field(300, ge=1)
    """Passes over the training rows."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after so many optimizer steps, if sooner."""
    max_seconds: float | None = Field(None, gt=0)
    """Stop after so many seconds of training, if sooner."""
    global_batch_rows: int = tunable(500, choices=(250, 500, 1000), ge=2)
    """Rows in one step over all workers; reduced, with a line saying so, when there are fewer training rows.
    Models of tables reduce 500, and no other number, to a tenth of fewer than 5,000 rows, 50 at least."""
    micro_batch_rows: int | None = Field(None, ge=1, exclude_if=_is_none)
    """Rows that a worker computes at once; gradients are added up over the parts of its share of a batch, so
    that a batch may be larger than memory. Null: the whole share. Not for models with BatchNorm."""
    workers: Count = 1
    """Training processes; gradients are averaged over them, so the result does not depend on their number.
    `2..8`: as many as there is room for; the run goes on with the others when one is lost, and takes in new
    ones."""
    resize_seconds: float | None = Field(None, gt=0, exclude_if=_is_none)
    """Time that a run with a range of workers trains at least before it takes in more; null: 60."""
    threads: int | None = Field(None, ge=1)
    """Torch threads a worker; null: one, or as many as the CPUs it was given where that is seen to be at
    least 1.3 times as fast. Another number changes the last bits of the weights; the history records it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward passes; auto: bf16 where the processor has it and is seen to be at least 1.3
    times as fast with it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    channels_last: bool | None = None
    """Whether weights of convolutions lie in memory with their channels last; null: on GPUs."""
    compile: bool = False
    """Compile each phase's loss with `torch.compile`; a phase that takes gradients of gradients runs as
    written. Worth it for long runs only; on CPUs it needs a C++ compiler."""
    cuda_graphs: bool = False
    """On GPUs, replay each phase's forward and backward pass as a CUDA graph; a phase whose loss changes with
    progress runs as written. Off until it has been seen to train the same on a GPU."""
    resume: Literal["never", "always", "if-possible"] = "if-possible"
    """Whether to go on from the last checkpoint of the same recipe."""
    ema_half_life_steps: float | None = Field(None, gt=0, exclude_if=_is_none)
    """Steps after which weights count half in the published average; null: 693 (a decay of 0.999)."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Time between checkpoints."""
    check_every_steps: int | None = Field(None, ge=1)
    """Steps between quality checks; null: spaced so that they cost at most 5% of the time, or up to 25% of a
    short run that would have fewer than 12."""
    patience_checks: Patience = None
    """Stop after so many quality checks without improvement beyond noise; null: 8, or, of a model whose
    learning rate falls until the end, 5 that were surely worse; `never`: train to the end."""
    max_failures: int = Field(3, ge=0)
    """Lost workers after which the run gives up."""

    @property
    def least_workers(self) -> int:
        """The fewest that the run goes on with."""
        return ends(self.workers)[0]

    @property
    def most_workers(self) -> int:
        """The most that it has at a time."""
        return ends(self.workers)[1]


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
        RecipeError: not readable, not YAML, another format, an unknown key, a wrong type; names the key.
    """
    raw = _read_recipe(name_or_path)
    for override in overrides:
        apply_override(raw, override)
    stated = raw.pop("format", None)
    if stated not in (None, FORMAT):
        raise RecipeError(f"{stated!r} can't be read; this version reads {FORMAT!r}", field="format")
    # `data:` with nothing below it is a section to be completed by overrides, not a null.
    empty = {key for key, value in raw.items() if value is None and key in Recipe.model_fields}
    return parse_model(Recipe, {key: value for key, value in raw.items() if key not in empty})


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


def _read_recipe(name_or_path: str) -> dict[str, Any]:
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
    if error["type"] != "extra_forbidden":
        # pydantic names the member of a union that it tried as well: `data.image.size.int` is no key.
        path = [part for part in path if "[" not in part and part not in ("int", "float", "str", "bool")]
    field = ".".join([prefix, *path] if prefix else path)
    if error["type"] == "extra_forbidden":
        return RecipeError(f"unknown key{did_you_mean(path[-1], _keys_at(model, path[:-1]))}", field=field)
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
        fields = current.model_fields if isinstance(current, type) and issubclass(current, BaseModel) else {}
        match = next((field for name, field in fields.items() if part in (name, field.alias)), None)
        current = match.annotation if match else None
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]
