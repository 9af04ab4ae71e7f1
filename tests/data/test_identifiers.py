"""Identifiers: told from numbers and categories, regenerated in their own pattern, unique, never copied."""

import re
import uuid

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig, SplitConfig
from synthmill.data.batch import Batch
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.identifiers import fit_template, has_id_name, write_ids
from synthmill.data.profile import profile_table
from synthmill.data.schema import ColumnRule
from synthmill.errors import DataError

RNG = np.random.default_rng(0)


def kind_of(values: object, name: str = "x", **config: object) -> str:
    table = pa.table({name: values})
    return profile_table(table, {}, DataConfig.model_validate({"source": "x", **config})).column(name).kind


def made(values: list[str], rows: np.ndarray, name: str = "x") -> list[str]:
    ids: list[str] = write_ids(fit_template(name, pa.array(values)), rows.astype(np.uint64)).to_pylist()
    return ids


@pytest.mark.parametrize(
    "name", ["id", "ID", "user_id", "userId", "customer-no", "uuid", "order key", "Index", "patient.ID"]
)
def test_names_of_identifiers(name: str) -> None:
    assert has_id_name(name)


@pytest.mark.parametrize(
    "name", ["paid", "humid", "kid", "monkey", "width", "notes", "android", "idle", "number_of_rooms"]
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not has_id_name(name)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("user_id", RNG.permutation(100_000)[:50], "identifier"),
        ("user_id", RNG.integers(0, 20, 50), "integer"),
        ("serial", np.arange(1, 301), "identifier"),
        ("serial", np.arange(100_000, 100_300), "identifier"),
        ("serial", np.arange(1000, 1300), "integer"),
        ("price_index", np.arange(100, 400), "integer"),
        ("order_no", RNG.permutation(900_000)[:80] + 100_000, "identifier"),
        ("serial", RNG.permutation(300), "integer"),
        ("year", np.arange(1950, 2025), "integer"),
        ("income", RNG.permutation(10**9 + np.arange(0, 10**6, 997))[:400], "integer"),
        ("x", RNG.normal(size=300), "numeric"),
        ("user_id", RNG.normal(size=300), "numeric"),
        ("code", [f"C-{i:05d}" for i in range(40)], "identifier"),
        ("code", [f"C-{i % 4}" for i in range(40)], "categorical"),
        ("name", [f"Person {i * 7919}" for i in range(40)], "identifier"),
        ("email", [f"p{i}@example.org" for i in range(40)], "identifier"),
    ],
)
def test_what_is_an_identifier(name: str, values: object, kind: str) -> None:
    assert kind_of(values, name) == kind


def test_free_text_is_refused_with_an_explanation() -> None:
    notes = [f"the patient number {i} said that all is well today" for i in range(60)]
    with pytest.raises(DataError, match=r"^data\.source: column 'notes' is free text, .*; drop it"):
        kind_of(notes, "notes")
    labels = ["a long label of several words", "another long label of words"] * 30
    assert kind_of(labels, "label") == "categorical"


def test_a_group_of_few_rows_is_an_identifier_and_a_large_one_a_category() -> None:
    patients, wards = [f"p{i % 100}" for i in range(500)], [f"w{i % 4}" for i in range(500)]
    assert kind_of(patients, "patient", split=SplitConfig(group="patient")) == "identifier"
    assert kind_of(wards, "ward", split=SplitConfig(group="ward")) == "categorical"


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([f"C-{i:05d}" for i in range(1, 50)], r"C-\d{5}"),
        ([f"{i}" for i in range(95, 130)], r"\d+"),
        ([f"user{i}@example.org" for i in range(5, 50)], r"user\d+@example\.org"),
        (
            [f"{chr(65 + i % 26)}{chr(65 + i % 7)}-{i:03d}-{chr(97 + i % 5)}" for i in range(50)],
            r"[A-Z]{2}-\d{3}-[a-z]",
        ),
        (["Ann Lee", "Bo", "Charlotte of Ghent"] + ["Li" * i for i in range(1, 9)], r"x-\d+"),
        (["Smith-12", "Smith-13"], r"x-\d+"),
        (
            [str(uuid.UUID(int=i * 2**97 + i)) for i in range(40)],
            r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        ),
        ([str(uuid.UUID(int=i * 2**97 + 0xA)).upper() for i in range(40)], r"[0-9A-F-]{36}"),
    ],
)
def test_the_pattern_is_kept_and_ids_are_unique(values: list[str], pattern: str) -> None:
    ids = made(values, np.arange(2000))
    assert len(set(ids)) == 2000
    assert all(re.fullmatch(pattern, text) for text in ids[:90])


def test_ids_follow_the_global_row_number() -> None:
    values = [f"C-{i:05d}" for i in range(1, 50)]
    assert made(values, np.arange(500, 700)) == made(values, np.arange(1000))[500:700]


def test_a_full_pattern_grows_instead_of_repeating() -> None:
    ids = made([f"{letter}{digit}" for letter in "ABCD" for digit in range(5)], np.arange(2000))
    assert ids[0] == "A1"
    assert len(set(ids)) == 2000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=30, unique=True))
def test_any_strings_give_unique_ids(values: list[str]) -> None:
    assert len(set(made(values, np.arange(300)))) == 300


def test_ids_keep_their_type_and_their_missing_pattern() -> None:
    table = pa.table(
        {
            "user_id": pa.array([int(i) if i % 3 else None for i in RNG.permutation(90)], pa.int32()),
            "code": pa.array([f"C-{i:04d}" for i in range(90)], pa.large_string()),
            "y": ["a", "b", "c"] * 30,
        }
    )
    codec = MixedCodec.fit(table, DataConfig(source="x"), {"user_id": ColumnRule(kind="identifier")})
    rows = codec.decode(codec.encode(table), first_row=1000)
    assert rows.schema == table.schema
    assert rows["user_id"].is_valid().equals(table["user_id"].is_valid())
    assert rows["user_id"].drop_null()[0].as_py() in (1001, 1002)
    assert rows["code"].to_pylist()[:2] == ["C-1001", "C-1002"]
    sampled = Batch(codes=torch_zeros(5, len(codec.layout.discrete)), values=torch_zeros(5, 0).float())
    assert codec.decode(sampled, first_row=0)["code"].to_pylist() == [f"C-{i:04d}" for i in range(1, 6)]


def torch_zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.int64)


def test_identifiers_beside_real_ones_begin_where_none_is_taken() -> None:
    real = pa.table(
        {"order_id": np.arange(1, 61), "code": [f"C-{i:04d}" for i in range(60)], "y": ["a", "b", "c"] * 20}
    )
    codec = MixedCodec.fit(real, DataConfig(source="x"))
    assert [column.kind for column in codec.profile.columns] == ["identifier", "identifier", "categorical"]
    assert codec.first_free_id(real, 5) == 100
    assert codec.first_free_id(real, 250) == 1000
    assert codec.first_free_id(real.slice(0, 0), 250) == 0
    ninth = pa.table({"order_id": [1_000_009], "code": ["C-0105"], "y": ["a"]})
    assert codec.first_free_id(ninth, 150) == 1000
    assert codec.first_free_id(ninth, 104) == 0
    plain = pa.table({"x": ["a", "b"] * 20, "y": RNG.normal(size=40)})
    assert MixedCodec.fit(plain, DataConfig(source="x")).first_free_id(plain, 100) == 0


def test_identifiers_of_narrow_types_begin_in_the_widest_gap_or_are_refused() -> None:
    rng = np.random.default_rng(1)
    keys = rng.choice(2**31 - 200_000, size=20_000, replace=False).astype(np.int32)
    real = pa.table({"order_id": pa.array(keys), "y": ["a", "b"] * 10_000})
    codec = MixedCodec.fit(real, DataConfig(source="x"))
    start = codec.first_free_id(real, 500_000)
    made = codec.decode(blank(codec, 500_000), first_row=start)["order_id"]
    assert len(set(made.to_pylist()) | set(keys.tolist())) == 520_000
    small = pa.table({"order_id": pa.array(range(1, 61), pa.int8()), "y": ["a", "b"] * 30})
    narrow = MixedCodec.fit(small, DataConfig(source="x"))
    assert narrow.id_rooms() == [("order_id", 127)]
    assert narrow.first_free_id(small, 60) == 60
    with pytest.raises(
        DataError,
        match=r"--rows: no 80 identifiers in a row are free beside the real 'order_id'; ask for fewer rows",
    ):
        narrow.first_free_id(small, 80)


def blank(codec: MixedCodec, rows: int) -> Batch:
    return Batch(codes=torch_zeros(rows, len(codec.layout.discrete)), values=torch_zeros(rows, 0).float())
