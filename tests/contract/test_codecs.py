"""What every codec promises, on rows of its own kind; a new encoding adds a case."""

import json
from dataclasses import dataclass

import pyarrow as pa
import pytest
import torch

from synthmill import registry
from synthmill.config import DataConfig
from synthmill.data.batch import Batch, Condition, with_noise
from synthmill.data.codecs.base import FILE_NAMES, FOLDER, Codec, codec_class, codec_from_files
from synthmill.data.readers.base import read_source
from synthmill.generation.condition import Where
from tables import customers

ENCODINGS = registry.names(FOLDER)
SENTINEL = "sentinel-3f7a"


@dataclass(frozen=True)
class Case:
    """Rows that an encoding can learn, and one column that a condition can read, with a value of it."""

    config: DataConfig
    table: pa.Table
    column: str
    value: str


def _mixed() -> Case:
    return Case(DataConfig(source="customers.csv"), customers(600), "plan", "pro")


def _pixels() -> Case:
    config = DataConfig(source="sklearn://digits", kind="image")
    return Case(config, read_source(config).table.slice(0, 200), "label", "7")


def _constrained() -> Case:
    own = (
        {"type": "inequality", "columns": ["joined", "last_seen"]},
        {"type": "fixed_combinations", "columns": ["city", "churned"]},
        {"type": "range", "column": "age", "minimum": 18, "maximum": 90},
    )
    return Case(DataConfig(source="customers.csv", constraints=own), customers(600), "plan", "pro")


CASES = {"constrained": _constrained(), "mixed": _mixed(), "discrete": _mixed(), "pixels": _pixels()}


@pytest.fixture(params=ENCODINGS)
def case(request: pytest.FixtureRequest) -> Case:
    assert request.param in CASES, f"add a case for the encoding {request.param!r}"
    return CASES[request.param]


@pytest.fixture
def codec(case: Case, request: pytest.FixtureRequest) -> Codec:
    return codec_class(request.node.callspec.params["case"]).fit(case.table, case.config)


def _generated(codec: Codec, case: Case) -> Batch:
    """Encoded rows as a model would give them, with their own noise."""
    return with_noise(codec.encode(case.table), torch.Generator().manual_seed(3))


def test_tensors_have_a_row_for_each_row(codec: Codec, case: Case) -> None:
    batch = codec.encode(case.table)
    assert batch.num_rows == case.table.num_rows
    assert codec.layout.rows == case.table.num_rows


def test_decoded_rows_have_the_schema(codec: Codec, case: Case) -> None:
    table = codec.decode(_generated(codec, case), first_row=0)
    assert table.schema.equals(codec.schema, check_metadata=True)
    assert table.column_names == case.table.column_names
    assert table.num_rows == case.table.num_rows


def test_a_row_does_not_depend_on_the_rows_beside_it(codec: Codec, case: Case) -> None:
    batch = _generated(codec, case)
    whole = codec.decode(batch, first_row=0)
    pieces = [
        codec.decode(batch.take(slice(at, at + 37)), first_row=at) for at in range(0, batch.num_rows, 37)
    ]
    assert pa.concat_tables(pieces).combine_chunks().equals(whole.combine_chunks())


def test_packed_rows_decode_to_the_same(codec: Codec, case: Case) -> None:
    batch = _generated(codec, case)
    packed = codec.pack(batch)
    assert codec.decode(packed, first_row=5).equals(codec.decode(batch, first_row=5))
    assert sum(value.nbytes for value in packed.values()) <= sum(value.nbytes for value in batch.values())


def test_files_give_the_same_codec(codec: Codec, case: Case, request: pytest.FixtureRequest) -> None:
    config, tensors = codec.to_files()
    stated = config["format"].split("/")[0].rsplit(".", 1)[-1]
    assert FILE_NAMES.get(stated, stated) == request.node.callspec.params["case"]
    again = codec_from_files(json.loads(json.dumps(config)), tensors)
    batch = _generated(codec, case)
    assert again.layout == codec.layout
    assert again.decode(batch, first_row=9).equals(codec.decode(batch, first_row=9))
    second, more = again.to_files()
    assert second == config
    assert all(torch.equal(tensors[name], more[name]) for name in tensors)


def test_a_newer_format_is_refused_by_name(codec: Codec) -> None:
    config, tensors = codec.to_files()
    newer = {**config, "format": config["format"].rsplit("/", 1)[0] + "/999"}
    with pytest.raises(Exception, match="/999"):
        codec_from_files(newer, tensors)


def test_a_condition_means_the_rows_that_the_mask_keeps(codec: Codec, case: Case) -> None:
    condition = codec.condition(case.column, case.value)
    assert condition is not None
    assert case.column in codec.condition_columns()
    batch = codec.encode(case.table)
    mask = Where.parse([f"{case.column}={case.value}"]).mask(codec.condition_table(batch)).tolist()
    assert mask == _has(batch, condition)
    assert 0 < sum(mask) < len(mask)
    assert codec.condition(case.column, "no such value") is None


def test_levels_are_counted(codec: Codec, case: Case) -> None:
    levels = codec.levels(case.column)
    assert levels is not None
    assert case.value in levels
    counts = codec.count_levels(case.column, case.table[case.column].combine_chunks())
    assert len(counts) == len(levels)
    assert counts[levels.index(case.value)] == sum(
        str(value) == case.value for value in case.table[case.column].to_pylist()
    )
    assert codec.levels("no such column") is None


@pytest.mark.parametrize("encoding", ["mixed", "discrete"])
def test_no_cell_of_one_row_is_in_the_files(encoding: str) -> None:
    """A text that one row alone has, in a column of common texts, is in nothing that is saved."""
    table = customers(600)
    poisoned = table.set_column(2, "plan", pa.array([SENTINEL, *table["plan"].to_pylist()[1:]], pa.string()))
    config, tensors = codec_class(encoding).fit(poisoned, DataConfig(source="x")).to_files()
    saved = json.dumps(config).encode() + b"".join(value.numpy().tobytes() for value in tensors.values())
    assert SENTINEL.encode() not in saved


def _has(batch: Batch, condition: Condition) -> list[bool]:
    keep = torch.ones(batch.num_rows, dtype=torch.bool)
    if condition.label is not None:
        keep &= batch["label"] == condition.label
    for span, code in condition.codes.items():
        keep &= batch["codes"][:, span] == code
    return keep.tolist()
