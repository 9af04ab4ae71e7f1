import json
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from encoded import MemoryFolder, Records
from synthmill.config import DataConfig, ModelConfig, Recipe, SplitConfig, TrainingConfig, dump
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.readers.base import read_source
from synthmill.data.schema import ColumnRule
from synthmill.data.split import split_table
from synthmill.data.summary import summarise
from synthmill.errors import RecipeError
from synthmill.generation.generator import Generator
from synthmill.models.base import build
from synthmill.training import fit as fitting
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.fit import run_key
from synthmill.training.loop import Outcome
from synthmill.training.parallel import Single
from synthmill.training.quality.base import Cost

SENTINEL = "zzz-never-seen"


def rows(count: int, seed: int) -> pa.Table:
    draws = np.random.default_rng(seed)
    kind = draws.choice(["a", "b"], count)
    return pa.table({"kind": kind, "size": draws.normal(size=count) + 2 * (kind == "b")})


TRAIN, VALIDATION = rows(600, 0), rows(200, 1)
CODEC = MixedCodec.fit(TRAIN, DataConfig(source="unused.csv"))


def recipe(model: str = "tvae", config: dict[str, object] | None = None, **training: object) -> Recipe:
    small = {"embedding_dim": 4, "compress_dims": [8], "decompress_dims": [8]} if model == "tvae" else {}
    settings = {
        "max_epochs": 4,
        "global_batch_rows": 100,
        "precision": "fp32",
        "check_every_steps": 8,
        "threads": 1,
        **training,
    }
    return Recipe(
        name="t",
        data=DataConfig(source="unused.csv"),
        model=ModelConfig(name=model, config=config if config is not None else small),
        training=TrainingConfig(**settings),  # type: ignore[arg-type]
    )


def fit(told: Recipe, validation: pa.Table = VALIDATION, checkpoints: Checkpoints | None = None) -> Outcome:
    return fitting.fit(
        told, TRAIN, validation, CODEC, parallel=Single(), reporter=Records(), checkpoints=checkpoints
    )


def test_a_recipe_becomes_weights_that_load_and_a_history_that_is_json() -> None:
    outcome = fit(recipe())
    model = build("tvae", recipe().model.config, CODEC.layout)
    model.load_state_dict(outcome.state_dict)
    assert outcome.steps == 24
    assert outcome.best is not None
    assert outcome.best["step"] in (8, 16, 24)
    assert json.loads(json.dumps(outcome.history, allow_nan=False)) == outcome.history
    assert sum("quality" in record for record in outcome.history) == 3


def first_losses(outcome: Outcome) -> dict[str, float]:
    return next(record for record in outcome.history if "elbo/codes" in record)


@pytest.mark.parametrize(("name", "least"), [("marginals", 0.6), ("bootstrap", 0.95)])
def test_closed_forms_are_fitted_at_once(name: str, least: float) -> None:
    outcome = fit(recipe(name))
    build(name, {}, CODEC.layout).load_state_dict(outcome.state_dict)
    assert outcome.steps == 0
    assert outcome.best is not None
    assert outcome.best["score"] > least


def test_validation_chooses_but_is_not_learned() -> None:
    poisoned = VALIDATION.set_column(0, "kind", pa.array([SENTINEL] * VALIDATION.num_rows))
    folder = MemoryFolder()
    outcome = fit(recipe(), poisoned, Checkpoints(folder))
    assert SENTINEL not in json.dumps([outcome.history, outcome.best])
    assert all(SENTINEL.encode() not in data for data in folder.files.values())
    clean = fit(recipe())
    assert first_losses(outcome)["elbo/codes"] == first_losses(clean)["elbo/codes"]
    assert outcome.best is not None
    assert clean.best is not None
    assert outcome.best["score"] < clean.best["score"]


def test_without_validation_the_last_average_is_published() -> None:
    outcome = fit(recipe(), VALIDATION.slice(0, 0))
    assert outcome.best is None
    assert outcome.state_dict


def test_the_run_key_changes_with_what_changes_the_weights_only() -> None:
    base = run_key(recipe(), CODEC)
    assert (
        run_key(recipe(workers=4, threads=2, checkpoint_seconds=5, max_failures=1, resume="always"), CODEC)
        == base
    )
    for other in (recipe(seed=1), recipe(max_epochs=5), recipe(config={"embedding_dim": 8})):
        assert run_key(other, CODEC) != base


def test_the_run_key_changes_with_what_codes_mean() -> None:
    table = pa.table({"churned": ["no", "no", "yes"] * 20, "x": range(60)})
    keys = set()
    for categories in (("yes", "no"), ("no", "yes")):
        codec = MixedCodec.fit(
            table, DataConfig(source="unused.csv"), {"churned": ColumnRule(categories=categories)}
        )
        keys.add(run_key(recipe(), codec))
    assert len(keys) == 2


def test_a_wrong_hyper_parameter_is_named() -> None:
    with pytest.raises(
        RecipeError, match=r"model\.config\.embeding_dim: unknown key; did you mean 'embedding_dim'"
    ):
        fit(recipe(config={"embeding_dim": 4}))


def test_every_type_of_column_is_read_trained_on_and_sampled(tmp_path: Path) -> None:
    """From a Parquet file, as data frames write them: categories, string views, decimals, times, zones, half
    floats."""
    count, draws = 300, np.random.default_rng(0)
    letters, hours = pa.array(draws.choice(["a", "b", "c"], count)), draws.integers(0, 9000, count)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "category": letters.dictionary_encode(),
            "code": pa.array(draws.integers(0, 4, count)).dictionary_encode(),
            "large": letters.cast(pa.large_string()),
            "view": letters.cast(pa.string_view()),
            "price": pa.array(
                [Decimal(int(cents)).scaleb(-2) for cents in draws.integers(0, 10_000, count)],
                pa.decimal128(10, 2),
            ),
            "clock": pa.array([time(int(hour) % 24, 30) for hour in hours], pa.time64("us")),
            "wait": pa.array(draws.integers(0, 10_000, count), pa.duration("s")),
            "key": pa.array(draws.integers(0, 1000, count), pa.uint64()),
            "small": pa.array(draws.integers(-100, 100, count), pa.int8()),
            "flag": pa.array(draws.random(count) < 0.3, mask=draws.random(count) < 0.1),
            "moment": pa.array(
                [start + timedelta(hours=int(hour)) for hour in hours], pa.timestamp("us", "Europe/Berlin")
            ),
            "day": pa.array([(start + timedelta(hours=int(hour))).date() for hour in hours], pa.date32()),
            "half": pa.array(draws.normal(size=count).astype(np.float16)),
            "gaps": pa.array(
                np.where(draws.random(count) < 0.1, np.nan, draws.normal(size=count)).astype(np.float32)
            ),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    source = read_source(DataConfig(source=str(tmp_path / "rows.parquet")))
    parts = split_table(source.table, SplitConfig(), sha256=source.sha256)
    codec = MixedCodec.fit(parts.train, DataConfig(source="unused.csv"))
    told = recipe(max_steps=4)
    outcome = fitting.fit(told, parts.train, parts.validation, codec, parallel=Single(), reporter=Records())
    model = build("tvae", told.model.config, codec.layout)
    model.load_state_dict(outcome.state_dict)
    model.eval()
    sampled = Generator(model, codec, ref="t@1", digest="", config={}).sample(
        50, seed=1, where=("category=a", "flag=true")
    )
    plain = {"category": pa.string(), "code": pa.int64(), "view": pa.string()}
    assert {field.name: field.type for field in sampled.schema} == {
        field.name: plain.get(field.name, field.type) for field in table.schema
    }
    assert sampled["category"].unique().to_pylist() == ["a"]
    told_of = summarise(parts.train, codec.profile)["columns"]
    assert set(told_of["category"]["levels"]) == {"a", "b", "c"}


def test_a_field_that_came_later_changes_no_fingerprint_unless_it_is_set() -> None:
    assert "ema_half_life_steps" not in dump(recipe())["training"]
    assert dump(recipe(ema_half_life_steps=100))["training"]["ema_half_life_steps"] == 100
    assert run_key(recipe(ema_half_life_steps=100), CODEC) != run_key(recipe(), CODEC)


def test_an_artifact_is_made_without_ray_and_without_a_store(tmp_path: Path) -> None:
    """In a process of its own: this one has imported Ray for other tests."""
    pq.write_table(TRAIN, tmp_path / "rows.parquet")
    script = """
import sys
from synthmill.config import Recipe, parse_model
from synthmill.data.readers.base import read_source
from synthmill.training.artifact import build_artifact, fitted
from synthmill.training.fit import fit
from synthmill.training.parallel import Single
from synthmill.training.prepare import prepare_rows, resolve
from synthmill.training.reporter import Silent

raw = {"name": "m", "data": {"source": sys.argv[1]}, "model": {"name": "marginals"}}
recipe = resolve(parse_model(Recipe, raw))
rows = prepare_rows(recipe, read_source(recipe.data))
tables = rows.tables
outcome = fit(recipe, tables.train, tables.validation, rows.codec, parallel=Single(), reporter=Silent())
artifact = build_artifact(recipe, rows, fitted(outcome))
assert artifact.config["training"]["threads"] == 1
assert artifact.config["layout"]["rows"] == tables.train.num_rows
assert "ray" not in sys.modules
"""
    command = [sys.executable, "-c", script, str(tmp_path / "rows.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Second(Single):
    """Rank 1 of two, as far as making a check goes; rank 0 says that its check samples so many rows."""

    rank = 1

    def __init__(self, told: int) -> None:
        super().__init__()
        self._told = told

    def broadcast_(self, tensor: torch.Tensor) -> None:
        tensor.fill_(self._told)


@pytest.mark.parametrize("told", [2048, -1])
def test_only_rank_0_makes_a_check_and_others_know_when_one_is_due(
    told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("reads all training rows")

    monkeypatch.setattr(fitting, "quality_check", unwanted)
    known = fitting._known_to_all(None, Second(told))
    assert (None if known is None else known.cost) == (None if told < 0 else Cost(told, told))
    own = MixedCodec.fit(TRAIN, DataConfig(source="unused.csv"))
    closed = fitting.fit(
        recipe("marginals"), TRAIN, VALIDATION, own, parallel=Second(told), reporter=Records()
    )
    assert closed.best is None
