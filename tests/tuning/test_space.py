"""The search space: what models declare, as a recipe narrows, fixes and extends it, and mistakes in it."""

import pytest

from synthmill.config import dump, fingerprint
from synthmill.errors import UserError
from synthmill.training.space import Choice, Range
from tuning_cases import recipe, space_of


def test_the_space_is_what_the_model_and_the_training_section_declare() -> None:
    space = space_of()
    assert space.families["tvae"]["tvae.learning_rate"] == Range(2e-4, 3e-3, log=True, integer=False)
    assert space.families["tvae"]["training.global_batch_rows"] == Choice((250, 500, 1000))
    assert space.default("tvae")["tvae.learning_rate"] == 1e-3


def test_a_recipe_narrows_fixes_extends_and_removes() -> None:
    space = space_of(
        tune={
            "space": {
                "learning_rate": {"low": 1e-4, "high": 1e-3, "log": True},
                "l2scale": 1e-4,
                "embedding_dim": None,
                "tvae.compress_dims": [[32], [64, 64]],
            }
        }
    )
    family = space.families["tvae"]
    assert family["tvae.learning_rate"] == Range(1e-4, 1e-3, log=True, integer=False)
    assert family["tvae.compress_dims"] == Choice(((32,), (64, 64)))
    assert "tvae.embedding_dim" not in family
    trained = space.recipe_of({**space.default("tvae"), "tvae.compress_dims": [64, 64]})
    assert trained.model.config["l2scale"] == 1e-4
    assert trained.model.config["compress_dims"] == [64, 64]


def test_sections_of_the_space_say_the_same_as_dotted_keys() -> None:
    """As `--set tune.space.tvae.embedding_dim=[8,16]` writes it."""
    sections = {"tvae": {"embedding_dim": [8, 16]}, "training": {"global_batch_rows": 500}, "l2scale": None}
    dotted = {"tvae.embedding_dim": [8, 16], "training.global_batch_rows": 500, "l2scale": None}
    found = [space_of(tune={"space": space}) for space in (sections, dotted)]
    assert found[0].families == found[1].families
    assert found[0].fixed == found[1].fixed == {"tvae": {"training.global_batch_rows": 500}}


def test_the_recipes_own_value_is_always_in_what_models_declare() -> None:
    space = space_of(
        model={"name": "tvae", "config": {"embedding_dim": 16, "learning_rate": 0.01}},
        training={"global_batch_rows": 64},
    )
    assert space.has(space.default("tvae"))
    assert space.families["tvae"]["tvae.learning_rate"].high == 0.01


def test_each_family_has_its_own_parameters() -> None:
    space = space_of(tune={"models": ["tvae", "ctgan"], "space": {"ctgan.pac": 1}})
    assert not any(name.startswith("ctgan.") for name in space.families["tvae"])
    point = space.default("ctgan")
    assert space.has(point)
    assert not space.has({**point, "model": "tvae"})
    assert space.recipe_of(point).model.config["pac"] == 1


def test_a_recipe_that_sets_nothing_keeps_its_fingerprint() -> None:
    plain = dump(recipe(tune={}))
    assert plain["tune"] == {}
    assert fingerprint(plain) != fingerprint(dump(recipe(tune={"max_trials": 3})))


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        (
            {"space": {"learning_rat": 1}},
            r"tune\.space\.learning_rat: no field .* did you mean 'learning_rate'",
        ),
        (
            {"space": {"learning_rate": {"low": -1, "high": 1}}},
            r"tune\.space\.learning_rate: .*greater than 0",
        ),
        ({"space": {"learning_rate": {"low": 2, "high": 1}}}, r"low must be below high"),
        ({"space": {"learning_rate": {"low": 0, "high": 1, "log": True}}}, r"above 0 on a logarithmic scale"),
        ({"space": {"learning_rate": {"from": 1}}}, r"a range is written"),
        ({"space": {"learning_rate": []}}, r"has no choices"),
        ({"space": {"training": {"sed": 1}}}, r"tune\.space\.training\.sed: no field .* 'training\.seed'"),
        ({"space": {"training.global_batch_rows": [1]}}, r"global_batch_rows: .*greater than or equal to 2"),
        ({"models": ["tvae", "tva"]}, r"no model named 'tva'"),
        ({"max_trials": 0}, r"tune\.max_trials"),
        ({"samplr": "tpe"}, r"tune\.samplr: unknown key; did you mean 'sampler'"),
    ],
)
def test_mistakes_are_one_line(tune: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        space_of(tune=tune)
    assert "\n" not in str(caught.value)


def test_a_model_without_anything_to_search_says_so() -> None:
    with pytest.raises(UserError, match=r"tune\.space: is empty: marginals declares nothing"):
        space_of(model={"name": "marginals"})
