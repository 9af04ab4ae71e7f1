"""The objective: independent columns lose, copies break the limits, named metrics stand in its place."""

from dataclasses import dataclass, replace

import pyarrow as pa
import pytest

from evidence import people, shuffled_columns
from synthmill.config import Recipe, parse_model
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.split import SplitTables, split_table
from synthmill.errors import UserError
from synthmill.tuning.scoring import Scorer, make_goal


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    tables: SplitTables
    codec: MixedCodec

    def scorer(self, **options: object) -> Scorer:
        return Scorer(self.recipe, self.tables, self.codec, **options)


def case(**tune: object) -> Case:
    target = tune.pop("target", "outcome")
    raw = {
        "name": "people",
        "data": {
            "source": "people",
            "kind": "table",
            "target": target,
            "split": {"validation": 0.4, "holdout": 0.0},
        },
        "model": {"name": "tvae"},
        "tune": {"sample_rows": 600, **tune},
    }
    recipe = parse_model(Recipe, raw)
    tables = split_table(people(1500, 1), recipe.data.split, sha256="0" * 64)
    return Case(recipe, tables, MixedCodec.fit(tables.train, recipe.data, {}))


@pytest.fixture(scope="module")
def plain() -> Case:
    return case()


@pytest.fixture(scope="module")
def scorer(plain: Case) -> Scorer:
    return plain.scorer()


def test_what_was_scored_before_changes_no_score(plain: Case) -> None:
    # Figures of the real rows are computed for the first sample and used for all.
    used, sizes = plain.scorer(), (800, 500, 800)
    seen = [used(people(size, 5)) for size in sizes]
    assert seen == [plain.scorer()(people(size, 5)) for size in sizes]


def test_rows_like_the_real_ones_are_worth_more_than_independent_columns(scorer: Scorer) -> None:
    good, bad = scorer(people(800, 5)), scorer(shuffled_columns(people(800, 5)))
    assert set(good.figures) == {"pairs", "classifier", "utility"}
    # What independent columns win teaches nothing: each term must know them.
    assert all(good.figures[name] > bad.figures[name] for name in good.figures)
    assert good.values[0] > bad.values[0] + 0.2
    assert bad.figures["pairs"] < 0.5


def test_copies_break_a_limit(plain: Case) -> None:
    scorer = case(objective="tabular.pair_gap").scorer()
    copied = scorer(plain.tables.train)
    assert copied.violations["near_copies"] > 0
    assert scorer(people(800, 5)).violations["near_copies"] <= 0


def test_a_term_that_the_source_can_not_give_is_left_out_for_all() -> None:
    blind = case(target=None)
    missing = blind.scorer().lacking(blind.tables.train)
    assert missing == ["utility"]
    found = blind.scorer(missing=missing)(people(800, 5))
    assert found.values[0] == pytest.approx((found.figures["pairs"] + found.figures["classifier"]) / 2)


def test_named_metrics_are_turned_so_that_higher_is_better() -> None:
    found = case(objective=["tabular.pair_gap", "utility.tstr_ratio"], constraints="none").scorer()
    good, bad = found(people(800, 5)), found(shuffled_columns(people(800, 5)))
    assert good.values[0] > bad.values[0]
    assert good.violations == {}


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"objective": "tabular.pair_gab"}, "did you mean 'tabular.pair_gap'"),
        ({"objective": "tabular.column_shapes"}, "won by columns drawn independently"),
        ({"objective": "utility.tstr_ratio", "target": None}, "needs a target column; set data.target"),
        ({"objective": "privacy.near_copy_pvalue"}, "privacy alone is best served by noise"),
        ({"objective": "utility.lift_lowdata"}, "can't be computed for each trial"),
        ({"objective": []}, "names no objective"),
    ],
)
def test_objectives_that_say_nothing_are_refused(tune: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_goal(case(**tune).recipe)


def test_scoring_needs_validation_rows() -> None:
    some = case()
    without = replace(some.tables, validation=some.tables.train.slice(0, 0))
    with pytest.raises(UserError, match=r"data\.split\.validation"):
        Scorer(some.recipe, without, some.codec)


def test_scores_are_those_of_the_rows_alone(scorer: Scorer) -> None:
    rows: pa.Table = people(500, 9)
    assert scorer(rows) == scorer(rows)
