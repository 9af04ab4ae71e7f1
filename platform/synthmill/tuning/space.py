"""What a search may change: hyper-parameters that the families declare, as the recipe's `tune.space` narrows,
fixes and extends them.

A point of the space is a plain mapping: `model` and the family's parameters, `FAMILY.FIELD` for a field of
its `Config` and `training.FIELD` for one of the training section. Parameters of other families are absent:
the space is conditional.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthmill.config import ModelConfig, Recipe, TrainingConfig, dump, parse_model
from synthmill.errors import RecipeError, UserError, did_you_mean
from synthmill.models.base import GenerativeModel, model_class, parse_config
from synthmill.training.space import Choice, Range, search_space

MODEL = "model"
TRAINING = "training."
FIELD = "tune.space"
Point = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """Families in the order of the recipe, and what each may change."""

    recipe: Recipe
    families: Mapping[str, Mapping[str, Range | Choice]]
    """Family -> parameter -> where its values lie."""
    fixed: Mapping[str, Mapping[str, Any]]
    """Family -> what `tune.space` fixes for every trial, by parameter."""

    def default(self, family: str) -> Point:
        """The recipe as it stands, with the model's own defaults for what it does not state."""
        recipe = self.recipe_of({MODEL: family})
        values = {f"{family}.{key}": value for key, value in flat(recipe.model.config).items()}
        values |= {TRAINING + key: value for key, value in dump(recipe.training).items()}
        return {MODEL: family} | {name: values[name] for name in self.families[family]}

    def recipe_of(self, point: Mapping[str, Any]) -> Recipe:
        """The recipe that trains a point.

        Raises:
            RecipeError: values that the model refuses together; names the field.
        """
        family = str(point[MODEL])
        values = {**self.fixed[family], **{key: value for key, value in point.items() if key != MODEL}}
        own = self.recipe.model.config if family == self.recipe.model.name else {}
        config = flat(dump(parse_config(family, own)))
        config |= {
            key.partition(".")[2]: value for key, value in values.items() if not key.startswith(TRAINING)
        }
        training = dump(self.recipe.training)
        training |= {key.removeprefix(TRAINING): v for key, v in values.items() if key.startswith(TRAINING)}
        whole = dump(parse_config(family, nested(config)))
        return self.recipe.model_copy(
            update={
                "model": ModelConfig(name=family, config=whole),
                "training": parse_model(TrainingConfig, training, prefix="training"),
            }
        )

    def has(self, point: Mapping[str, Any]) -> bool:
        """Whether a point lies in the space: its family is searched, and each of its values is one of it."""
        spaces = self.families.get(str(point.get(MODEL)))
        if spaces is None or set(point) != {MODEL, *spaces}:
            return False
        return all(contains(spaces[name], point[name]) for name in spaces)

    def lines(self) -> list[str]:
        """The space for people, one parameter a line."""
        found = []
        for family, spaces in self.families.items():
            default = self.default(family)
            found.append(f"{family}:")
            found += [
                f"  {name}: {in_words(space)} (default {default[name]})" for name, space in spaces.items()
            ]
            found += [f"  {name}: fixed at {value}" for name, value in self.fixed[family].items()]
        return found


def make_space(recipe: Recipe) -> Space:
    """The space of a recipe.

    Raises:
        RecipeError: nothing to search, an unknown key, a value beyond its field's limits.
        NotFoundError: no such model.
    """
    names = recipe.tune.models or (recipe.model.name,)
    used: set[str] = set()
    families: dict[str, dict[str, Range | Choice]] = {}
    fixed: dict[str, dict[str, Any]] = {}
    for family in names:
        families[family], fixed[family] = _family(family, recipe, used)
    unknown = sorted(set(_stated_keys(recipe)) - used)
    if unknown:
        known = [*_fields(names[0]), *(TRAINING + name for name in TrainingConfig.model_fields)]
        raise RecipeError(
            f"no field of {', '.join(names)} or of training{did_you_mean(unknown[0], known)}",
            field=f"{FIELD}.{unknown[0]}",
        )
    if not any(families.values()) and len(families) < 2:
        raise RecipeError(
            f"is empty: {names[0]} declares nothing to search; name fields with their ranges", field=FIELD
        )
    space = Space(recipe, families, fixed)
    whole = {family: _with_default(space, family) for family in families}
    return Space(recipe, whole, fixed)


def _family(family: str, recipe: Recipe, used: set[str]) -> tuple[dict[str, Range | Choice], dict[str, Any]]:
    """What one family declares, changed by the keys of `tune.space` that are about it."""
    declared = {f"{family}.{key}": space for key, space in search_space(model_class(family).Config).items()}
    if _trains_in_steps(family):
        declared |= {TRAINING + key: space for key, space in search_space(TrainingConfig).items()}
    fixed: dict[str, Any] = {}
    # Keys that name the family come last: they are the more exact ones.
    stated = _stated_keys(recipe)
    for key in sorted(stated, key=lambda key: key.startswith(f"{family}.")):
        name = _parameter(key, family)
        if name is None:
            continue
        used.add(key)
        given = stated[key]
        declared.pop(name, None)
        fixed.pop(name, None)
        if given is None:
            continue
        space = _stated(given, key, declares_integer(family, name))
        if isinstance(space, Range | Choice):
            declared[name] = space
        else:
            fixed[name] = given
        _check(family, name, space if isinstance(space, Range | Choice) else Choice((given,)), key)
    return declared, fixed


def _stated_keys(recipe: Recipe) -> dict[str, Any]:
    """`tune.space` with sections written out: `--set tune.space.training.seed=1` makes a section of it."""
    sections = ("training", *(recipe.tune.models or (recipe.model.name,)))
    found: dict[str, Any] = {}
    for key, given in recipe.tune.space.items():
        section = key in sections and isinstance(given, dict)
        found |= {f"{key}.{inner}": value for inner, value in given.items()} if section else {key: given}
    return found


def _trains_in_steps(family: str) -> bool:
    """Whether the training section means anything to a family: a model in closed form reads none of it."""
    return model_class(family).fit_closed is GenerativeModel.fit_closed


def _fields(family: str) -> list[str]:
    return list(flat(dump(model_class(family).Config())))


def _parameter(key: str, family: str) -> str | None:
    """The parameter of a family that a key of `tune.space` names; None: it is about something else."""
    if key.startswith(TRAINING):
        return key if key.removeprefix(TRAINING) in TrainingConfig.model_fields else None
    fields = _fields(family)
    if key in fields:
        return f"{family}.{key}"
    inner = key.removeprefix(f"{family}.")
    return key if inner != key and inner in fields else None


def declares_integer(family: str, name: str) -> bool:
    """Whether values of a parameter are whole numbers, as its default says."""
    if name.startswith(TRAINING):
        return TrainingConfig.model_fields[name.removeprefix(TRAINING)].annotation is int
    default = flat(dump(model_class(family).Config()))[name.partition(".")[2]]
    return isinstance(default, int) and not isinstance(default, bool)


def _stated(given: Any, key: str, integer: bool) -> Any:
    """A range, choices, or the one value itself."""
    if isinstance(given, dict):
        if not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
            raise RecipeError("a range is written {low: ..., high: ..., log: true}", field=f"{FIELD}.{key}")
        low, high, log = given["low"], given["high"], bool(given.get("log", False))
        numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in (low, high))
        if not numbers or low >= high or (log and low <= 0):
            fix = "low must be below high" + (" and above 0 on a logarithmic scale" if log else "")
            raise RecipeError(f"{fix}, got {low!r} to {high!r}", field=f"{FIELD}.{key}")
        return Range(low, high, log, integer)
    if isinstance(given, list):
        if not given:
            raise RecipeError("has no choices", field=f"{FIELD}.{key}")
        return Choice(tuple(tuple(item) if isinstance(item, list) else item for item in given))
    return given


def _check(family: str, name: str, space: Range | Choice, key: str) -> None:
    """Every end of a range and every choice must be a value that the field takes."""
    ends = space.options if isinstance(space, Choice) else (space.low, space.high)
    for value in ends:
        plain = int(value) if isinstance(space, Range) and space.integer else value
        try:
            if name.startswith(TRAINING):
                parse_model(TrainingConfig, {name.removeprefix(TRAINING): plain})
            else:
                parse_config(family, nested({name.partition(".")[2]: plain}))
        except UserError as fault:
            reason = str(fault).removeprefix(f"{fault.field}: ")
            raise RecipeError(reason, field=f"{FIELD}.{key}") from None


def _with_default(space: Space, family: str) -> dict[str, Range | Choice]:
    """The recipe's own value is always in the space that the models declare: trial 0 must be a point of it.
    A space that the recipe states stays as it is stated."""
    default = space.default(family)
    found: dict[str, Range | Choice] = {}
    for name, where in space.families[family].items():
        value = default[name]
        stated = any(_parameter(key, family) == name for key in _stated_keys(space.recipe))
        if stated or contains(where, value):
            found[name] = where
        elif isinstance(where, Choice):
            found[name] = Choice((*where.options, _hashable(value)))
        elif where.log and value <= 0:
            # No logarithm of it: the field stays at what the recipe says.
            found[name] = Choice((value,))
        else:
            low, high = min(where.low, value), max(where.high, value)
            found[name] = Range(low, high, where.log, where.integer)
    return found


def contains(space: Range | Choice, value: Any) -> bool:
    """Whether a value lies in a space; lists from JSON are tuples here."""
    if isinstance(space, Choice):
        return _hashable(value) in space.options
    return isinstance(value, int | float) and space.low <= value <= space.high


def in_words(space: Range | Choice) -> str:
    """`0.001 to 0.1, log` or `1, 5, 10`."""
    if isinstance(space, Choice):
        return ", ".join(str(option) for option in space.options)
    return f"{space.low:g} to {space.high:g}" + (", log" if space.log else "")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as `outer.inner`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def nested(config: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        *path, last = key.split(".")
        node = found
        for part in path:
            node = node.setdefault(part, {})
        node[last] = list(value) if isinstance(value, tuple) else value
    return found


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
