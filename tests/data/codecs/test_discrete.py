"""The fine codec: few numbers are exact, many have fine bins, and what few rows share is folded as ever."""

import json

import numpy as np
import pyarrow as pa
import torch

from synthmill.config import DataConfig
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.codecs.mixed import MixedCodec
from tables import customers, overlap

CONFIG = DataConfig(source="x", target="churned")


def fit(table: pa.Table, config: DataConfig = CONFIG) -> DiscreteCodec:
    return DiscreteCodec.fit(table, config)


def test_numbers_of_few_values_are_exact_where_mixed_has_a_curve() -> None:
    values = np.random.default_rng(0).integers(0, 200, 10_000)
    table = pa.table({"x": values, "churned": values % 2 == 0})
    codec = fit(table)
    assert codec.layout.numeric == ()
    assert len(MixedCodec.fit(table, CONFIG).layout.numeric) == 1
    assert codec.decode(codec.encode(table), first_row=0)["x"].to_pylist() == values.tolist()


def test_a_value_of_fewer_than_five_rows_is_no_level() -> None:
    values = np.r_[np.repeat(np.arange(60), 40), [999_999] * 4]
    codec = fit(pa.table({"x": values, "churned": values % 2 == 0}))
    config, tensors = codec.to_files()
    assert "999999" not in json.dumps(config)
    assert codec.layout.discrete[0].width == 60
    assert not any((tensor == 999_999).any() for tensor in tensors.values())


def test_many_numbers_have_fine_bins_and_keep_their_marginal() -> None:
    table = customers(6000)
    codec = fit(table)
    (span,) = (span for span in codec.layout.numeric if span.column == "spend")
    assert span.segments > 100
    batch = codec.encode(table)
    places = torch.rand(batch["values"].shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = codec.decode(batch.with_(values=places), first_row=0)
    for name in table.column_names:
        assert overlap(table[name], rows[name], bins=50) > 0.98, name


def test_the_layout_says_what_is_missing_and_what_the_target_is() -> None:
    table = customers(1200)
    codec = fit(table)
    batch = codec.encode(table)
    at = {span.column: (index, span) for index, span in enumerate(codec.layout.discrete)}
    index, span = at["spend"]
    is_missing = (batch["codes"][:, index] == span.missing).tolist()
    assert is_missing == table["spend"].combine_chunks().is_null().to_pylist()
    assert at["plan"][1].missing is None
    assert codec.layout.target == "churned"
    config, tensors = codec.to_files()
    assert codec_from_files(json.loads(json.dumps(config)), tensors).layout == codec.layout
    assert codec.beside(table).layout == codec.layout
    assert fit(table, DataConfig(source="x", target="country")).layout.target is None


def test_a_category_of_two_digits_can_be_asked_for() -> None:
    towns = [f"town {i:03d}" for i in range(600) for _ in range(6)]
    codec = fit(pa.table({"town": towns, "churned": [i % 2 == 0 for i in range(len(towns))]}))
    condition = codec.condition("town", "town 123")
    assert condition is not None
    codes = codec.encode(pa.table({"town": ["town 123", "town 124"], "churned": [True, True]}))["codes"]
    matches = [all(int(row[span]) == code for span, code in condition.codes.items()) for row in codes]
    assert matches == [True, False]
    assert codec.condition("town", "nowhere") is None
