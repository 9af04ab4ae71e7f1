"""A table with several rows a person: a value that one person has in many rows is one person's value."""

import numpy as np
import pyarrow as pa
import pytest

from synthmill.config import DataConfig, SplitConfig
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.numeric import NumericCodec
from synthmill.data.people import count_sharers, outermost, people_of, widened
from synthmill.data.summary import summarise
from synthmill.errors import DataError

PEOPLE, VISITS = 60, 10
RNG = np.random.default_rng(0)
INCOMES = np.repeat(RNG.lognormal(10, 1, PEOPLE).round(2), VISITS)


def visits() -> pa.Table:
    return pa.table(
        {
            "patient": np.repeat([f"p{i:03d}" for i in range(PEOPLE)], VISITS),
            "surname": np.repeat([f"Surname{i}" for i in range(PEOPLE)], VISITS),
            "town": np.repeat(
                [["north", "south", "alone"][min(i % 2, 1) if i else 2] for i in range(PEOPLE)], VISITS
            ),
            "income": INCOMES,
            "pressure": RNG.normal(120, 10, PEOPLE * VISITS),
            "ward": RNG.integers(0, 4, PEOPLE * VISITS),
        }
    )


def fitted(table: pa.Table, group: str | None) -> MixedCodec:
    return MixedCodec.fit(table, DataConfig(source="x", split=SplitConfig(group=group)))


def test_what_only_one_person_has_is_neither_a_level_nor_a_point_nor_a_knot_nor_a_bound() -> None:
    codec = fitted(visits(), "patient")
    kinds = {column.name: column.kind for column in codec.profile.columns}
    assert kinds == {
        "patient": "identifier",
        "surname": "identifier",
        "town": "categorical",
        "income": "numeric",
        "pressure": "numeric",
        "ward": "integer",
    }
    assert set(codec.profile.column("town").levels) == {"north", "south"}
    assert codec.profile.column("ward").points == (0, 1, 2, 3)
    income = codec.profile.column("income")
    assert income.points == ()
    assert income.maximum == pytest.approx(np.sort(np.unique(INCOMES))[-5:].mean(), abs=0.01)
    curve = next(
        column.curve
        for column in codec._columns
        if isinstance(column, NumericCodec) and column.profile.name == "income"
    )
    assert curve is not None
    assert len(curve.x) > 5
    assert not set(curve.x.round(2).tolist()) & set(INCOMES.tolist())


def test_rows_count_for_themselves_without_a_group_and_under_a_group_of_many_rows() -> None:
    table = visits()
    assert set(fitted(table, None).profile.column("surname").levels) == {f"Surname{i}" for i in range(PEOPLE)}
    assert fitted(table, "ward").profile == fitted(table, None).profile


def test_a_column_of_values_too_few_people_share_names_people() -> None:
    table = visits().append_column(
        "nurse", pa.array([f"n{i % 30}" for i in range(PEOPLE) for _ in range(VISITS)])
    )
    with pytest.raises(DataError, match=r"no value of column 'nurse' has 5 people among the training rows"):
        fitted(table, "patient")


def test_a_row_without_a_person_is_one_of_its_own() -> None:
    people = people_of(pa.table({"who": ["a", None, "a", None, "b"]}), "who")
    assert people is not None
    assert len(set(people.tolist())) == 4
    assert count_sharers(np.array([0, 0, 0, 1, 1]), 3, people).tolist() == [2, 2, 0]
    assert count_sharers(np.array([0, 0, 0, 1, 1]), 3, None).tolist() == [3, 2, 0]


def test_neighbours_are_joined_until_they_are_of_five_people() -> None:
    people = np.repeat(np.arange(12), 3)
    assert widened(np.full(6, 6), people).tolist() == [18, 18]
    assert widened(np.full(2, 6), people[:12]).tolist() == []
    assert outermost(np.arange(36.0), people, lowest=True).tolist() == [0, 3, 6, 9, 12]
    assert outermost(np.arange(36.0), people, lowest=False).tolist() == [35, 32, 29, 26, 23]


def test_a_summary_shows_what_five_people_share() -> None:
    table = visits()
    profile = fitted(table, "patient").profile
    told = summarise(table, profile, people_of(table, "patient"))["columns"]
    assert told["town"]["levels"] == ["south", "north"]
    assert "levels" not in told["surname"]
    assert set(told["ward"]["levels"]) == {"0", "1", "2", "3"}
    assert not set(np.round(told["income"]["edges"], 2).tolist()) & set(INCOMES.tolist())
    assert summarise(table, profile)["columns"]["town"]["levels"] == ["south", "north", "alone"]
