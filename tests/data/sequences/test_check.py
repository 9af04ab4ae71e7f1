"""What is refused before anything is fitted, each in one line that names the field."""

import numpy as np
import pyarrow as pa
import pytest

from synthmill.config import DataConfig, parse_model
from synthmill.data.readers.base import Source
from synthmill.data.sequences.check import check_fields, check_sequences
from synthmill.errors import UserError
from synthmill.library.recipes import read_recipe
from synthmill.training.prepare import prepare_rows, resolve
from visits import visits

VISITS = visits(40)


def config(**fields: object) -> DataConfig:
    return parse_model(DataConfig, {"source": "-", "group_by": "customer", "order_by": "when", **fields})


def with_column(name: str, values: object) -> pa.Table:
    at = VISITS.schema.get_field_index(name)
    return VISITS.set_column(
        at, name, pa.array(values) if not isinstance(values, pa.ChunkedArray) else values
    )


def some_missing(name: str) -> pa.Table:
    mask = np.arange(VISITS.num_rows) < 3
    return with_column(
        name, pa.chunked_array([pa.array(VISITS[name].to_pylist(), VISITS[name].type, mask=mask)])
    )


@pytest.mark.parametrize(
    ("table", "fields", "field", "says"),
    [
        (VISITS, {"group_by": "custmer"}, "data.group_by", "did you mean 'customer'"),
        (VISITS, {"order_by": "wen"}, "data.order_by", "did you mean 'when'"),
        (VISITS, {"order_by": "stage"}, "data.order_by", "holds text"),
        (VISITS, {"group_by": "mood"}, "data.group_by", "whole numbers or text"),
        (VISITS, {"static": "stage"}, "data.static", "'stage' changes within a sequence"),
        (VISITS, {"static": ["stage", "mood"]}, "data.static", "2 columns need a decision"),
        (VISITS, {"max_length": 3}, "data.max_length", "more than 3 rows"),
        (VISITS, {"split": {"group": "stage"}}, "data.split.group", "differ in 'stage'"),
        (some_missing("customer"), {}, "data.group_by", "3 rows have no 'customer'"),
        (some_missing("when"), {}, "data.order_by", "3 rows have no 'when'"),
        (
            with_column("mood", [float("nan"), *range(1, VISITS.num_rows)]),
            {"order_by": "mood"},
            "data.order_by",
            "1 rows have no 'mood'",
        ),
        (
            with_column("customer", [str(i) for i in range(VISITS.num_rows)]),
            {},
            "data.group_by",
            "has one row",
        ),
        (
            with_column("customer", [i % 4 for i in range(VISITS.num_rows)]),
            {},
            "data.group_by",
            "4 sequences",
        ),
        (VISITS.select(["customer"]), {"order_by": None}, "data.group_by", "nothing to learn"),
    ],
)
def test_bad_sequences_are_refused(table: pa.Table, fields: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        check_sequences(table, config(**fields))
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"group_by": None}, "data.order_by"),
        ({"group_by": []}, "data.group_by"),
        ({"group_by": ["customer", "customer"]}, "data.group_by"),
        ({"order_by": "customer"}, "data.order_by"),
        ({"static": ["when"]}, "data.static"),
        ({"static": ["customer"]}, "data.static"),
    ],
)
def test_settings_that_contradict_are_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(UserError) as caught:
        check_fields(config(**fields))
    assert caught.value.field == field


def recipe(**data: object):  # type: ignore[no-untyped-def]
    return {"name": "x", "data": {"source": "-", **data}, "model": {"name": "autoregressive"}}


@pytest.mark.parametrize(
    ("change", "field"),
    [({"model.name": "ctgan"}, "model.name"), ({"data.stream": "always"}, "data.stream")],
)
def test_what_can_not_learn_sequences_is_refused(change: dict[str, str], field: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(read_recipe(recipe(group_by="customer"), change))
    assert caught.value.field == field


def test_too_few_sequences_that_are_left_to_train_on() -> None:
    few = visits(6)
    split = {"holdout": 0.5, "validation": 0.2}
    made = resolve(read_recipe(recipe(group_by="customer", order_by="when", split=split)))
    with pytest.raises(UserError, match=r"to train on have two rows or more, and 5 are needed"):
        prepare_rows(made, Source(few, "0" * 64, "-"))


def test_rows_at_the_same_time_are_noted() -> None:
    table = with_column(
        "when",
        pa.chunked_array([VISITS["when"].combine_chunks().take(pa.array(np.zeros(VISITS.num_rows, int)))]),
    )
    (note,) = check_sequences(table, config())
    assert "have the 'when' of the row before them" in note
    assert check_sequences(VISITS, config()) == ()


def test_recipes_without_sequences_keep_their_fingerprints() -> None:
    plain = parse_model(DataConfig, {"source": "-"}).model_dump(mode="json")
    assert not {"group_by", "order_by", "static", "lags", "max_length"} & set(plain)
