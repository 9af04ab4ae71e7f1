import numpy as np
import pyarrow as pa
import pytest
import torch

from synthmill import registry
from synthmill.config import DataConfig
from synthmill.data.batch import Batch, concat
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.models.base import build
from synthmill.training.quality.base import sample_blocks
from synthmill.training.quality.table import Bins, TableQuality


def rows(count: int, seed: int) -> pa.Table:
    """A number that follows a category, a category that follows the number, missing cells and a date."""
    draws = np.random.default_rng(seed)
    kind = draws.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2])
    size = draws.normal(size=count) + 3 * (kind == "b")
    grade = np.where(size + 0.3 * draws.normal(size=count) > 1, "high", "low").astype(object)
    grade[draws.random(count) < 0.1] = None
    day = draws.integers(0, 400, count).astype("datetime64[D]")
    return pa.table({"kind": kind, "size": size, "grade": pa.array(grade, pa.string()), "day": day})


TRAIN, VALIDATION = rows(3000, 0), rows(400, 1)
CODEC = MixedCodec.fit(TRAIN, DataConfig(source="unused.csv"))


def closed(name: str) -> object:
    model = build(name, {}, CODEC.layout)
    model.fit_closed([CODEC.encode(TRAIN)])
    return model.eval()


def quality(seed: int = 0) -> TableQuality:
    return TableQuality(CODEC, TRAIN, VALIDATION, CODEC.encode(TRAIN), seed=seed)


def test_copies_reach_the_ceiling_and_independent_columns_do_not() -> None:
    copies, independent = quality()(closed("bootstrap")), quality()(closed("marginals"))  # type: ignore[arg-type]
    assert copies["score"] == pytest.approx(1.0, abs=0.02)
    assert independent["score"] < copies["score"] - 5 * copies["noise"]
    assert copies["accuracy"] == pytest.approx(copies["score"] * copies["ceiling"])


def test_noise_is_the_spread_over_seeds() -> None:
    model = closed("bootstrap")
    found = [quality(seed)(model) for seed in range(12)]  # type: ignore[arg-type]
    spread = float(np.std([check["score"] for check in found]))
    assert 0.3 * spread < float(np.mean([check["noise"] for check in found])) < 3 * spread


def test_accuracy_is_that_of_pairs_counted_one_by_one() -> None:
    check = quality()
    model = closed("marginals")
    made = CODEC.decode(concat(list(sample_blocks(model, check.rows, 0))), first_row=0)  # type: ignore[arg-type]
    bins = Bins(TRAIN)
    left, right = (
        np.stack([bins._codes(name, table[name].combine_chunks()) for name in bins.columns], 1)
        for table in (made, VALIDATION)
    )
    scores = []
    for i in range(4):
        for j in range(i):
            p, q = (np.bincount(x[:, i] * 100 + x[:, j], minlength=10_000) / len(x) for x in (left, right))
            scores.append(1 - np.abs(p - q).sum() / 2)
    assert check(model)["accuracy"] == pytest.approx(np.mean(scores), abs=1e-5)  # type: ignore[arg-type]


def test_the_same_rows_are_sampled_at_every_check() -> None:
    model = closed("marginals")
    check = quality()
    assert check(model) == check(model)  # type: ignore[arg-type]


def test_bins_come_from_training_rows() -> None:
    odd = VALIDATION.set_column(0, "kind", pa.array(["sentinel"] * VALIDATION.num_rows))
    bins = Bins(TRAIN)
    one_hot = bins.one_hot(odd)
    assert torch.equal(one_hot.sum(1), torch.full((400,), 4.0)), "every cell falls in one bin"
    assert one_hot[:, 1].sum() == 400, "an unknown category is in 'other'"
    assert "sentinel" not in repr(vars(TableQuality(CODEC, TRAIN, odd, CODEC.encode(TRAIN), seed=0)))


def test_one_column_and_missing_columns_are_scored() -> None:
    table = pa.table({"x": np.arange(1000) % 7})
    codec = MixedCodec.fit(table, DataConfig(source="unused.csv"))
    model = build("bootstrap", {}, codec.layout)
    model.fit_closed([codec.encode(table)])
    found = TableQuality(codec, table, table, codec.encode(table), seed=0)(model)
    assert found["score"] == pytest.approx(1.0, abs=0.03)


def test_without_validation_rows_there_is_no_check() -> None:
    assert TableQuality.of(CODEC, TRAIN, VALIDATION.slice(0, 0), CODEC.encode(TRAIN), seed=0) is None


def test_blocks_do_not_depend_on_how_many_follow() -> None:
    model = closed("marginals")
    few, many = (concat(list(sample_blocks(model, rows, 0))) for rows in (1500, 5000))  # type: ignore[arg-type]
    assert isinstance(few, Batch)
    assert torch.equal(few["codes"], many["codes"][:1500])


def test_a_wide_table_takes_no_memory_that_grows_with_the_square_of_its_columns() -> None:
    """Bins of 3,000 columns squared would be 8 GB; only a fixed number of columns is compared."""
    table = pa.table({f"c{index}": np.arange(40) % 7 for index in range(3000)})
    bins = Bins(table)
    assert len(bins.columns) == 100
    assert bins.columns == Bins(table).columns
    assert bins.width < 2000


def test_every_kind_of_data_has_a_check() -> None:
    assert set(registry.names("training/quality")) == set(registry.names("data/readers"))


def test_pairs_are_counted_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quality()
    monkeypatch.setattr("synthmill.training.quality.table.JOINT_ROWS", 700)
    parts = quality()
    assert torch.equal(parts._real_DD, whole._real_DD)
    assert parts._ceiling == whole._ceiling


class Knowing(torch.nn.Module):
    """Copies of the training rows, from a model that finds all rows so improbable."""

    def __init__(self, nats: float) -> None:
        super().__init__()
        self._copies, self._nats = closed("bootstrap"), nats
        self.register_buffer("place", torch.zeros(1))

    def sample(self, *args: object, **options: object) -> Batch:
        made: Batch = self._copies.sample(*args, **options)  # type: ignore[attr-defined]
        return made

    def nats(self, batch: Batch) -> torch.Tensor:
        return torch.full((batch.num_rows,), self._nats)


def test_a_model_that_learnt_rows_by_heart_loses_what_it_is_worse_by_than_independent_columns() -> None:
    check = quality()
    independent = check(Knowing(1.0))["independent_nats"]  # type: ignore[arg-type]
    codes = CODEC.encode(TRAIN)["codes"]
    # By hand for the first column: three kinds with known shares.
    counts = torch.bincount(codes[:, 0]) + 0.5
    own = -(counts / counts.sum()).log()[CODEC.encode(VALIDATION)["codes"][:, 0]].mean()
    assert 0.9 < float(own) < 1.2
    assert 0.9 < independent < 3.0
    honest, heart = check(Knowing(independent - 0.1)), check(Knowing(independent + 0.25))  # type: ignore[arg-type]
    assert honest["selection"] == honest["score"]
    assert heart["selection"] == pytest.approx(heart["score"] - 0.25, abs=1e-5)
    # The score that people see stays comparable with that of models without a likelihood.
    assert heart["score"] == honest["score"] == check(closed("bootstrap"))["score"]  # type: ignore[arg-type]
    assert "selection" not in check(closed("bootstrap"))  # type: ignore[arg-type]
