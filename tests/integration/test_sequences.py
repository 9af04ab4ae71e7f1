"""Sequences as jobs: the same bytes at any number of workers, whole sequences in every part, a report."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from synthmill import api
from synthmill.catalog.store import Store, Version
from synthmill.cli import run
from synthmill.data.sequences.order import runs_of
from synthmill.errors import UserError
from synthmill.serving.models import _open
from visits import visits

SEQUENCES = 2 * 1024 + 100


@pytest.fixture(scope="module")
def trained(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Version:
    source = tmp_path_factory.mktemp("source") / "visits.parquet"
    pq.write_table(visits(300), source)
    recipe = {
        "name": "visits",
        "data": {"source": str(source), "group_by": "customer", "order_by": "when"},
        "model": {"name": "autoregressive", "config": {"embedding_dim": 16, "hidden_dim": 16}},
        "training": {"max_steps": 60, "global_batch_rows": 200, "threads": 1},
    }
    return api.train(recipe, store=str(tmp_path_factory.mktemp("store")))


def store_of(version: Version) -> str:
    return version.uri.rsplit("/models/", 1)[0]


def publish(trained: Version, **options: object) -> Version:
    settings = {"sequences": SEQUENCES, "seed": 7, "shard_rows": 1024, "workers": 2, **options}
    return api.augment(trained.ref, dataset="visits", store=store_of(trained), **settings)  # type: ignore[arg-type]


def rows_of(version: Version) -> list[pa.Table]:
    folder = Path(version.uri.removeprefix("file://"))
    return [pq.read_table(folder / entry.path) for entry in version.manifest.files]


def test_any_number_of_workers_writes_the_same_whole_sequences(trained: Version) -> None:
    first, second = publish(trained, workers=1), publish(trained, workers=2)
    assert first.manifest.content_digest == second.manifest.content_digest
    parts = rows_of(first)
    keys = [set(part["customer"].to_pylist()) for part in parts]
    assert [len(one) for one in keys] == [1024, 1024, 100]
    assert len(set.union(*keys)) == SEQUENCES
    for part in parts:
        assert (runs_of(part, ("customer",), "when").rows == np.arange(part.num_rows)).all()
    assert first.manifest.rows == sum(part.num_rows for part in parts)
    sampled = api.load(trained.ref, store=store_of(trained)).sample(sequences=50, seed=7)
    assert sampled.equals(
        parts[0].slice(0, sampled.num_rows).replace_schema_metadata(sampled.schema.metadata)
    )


def test_sequences_that_are_appended_have_other_keys(trained: Version) -> None:
    options = {"dataset": "more", "store": store_of(trained), "workers": 1}
    before = api.augment(trained.ref, sequences=300, seed=1, **options)  # type: ignore[arg-type]
    both = api.augment(trained.ref, sequences=200, seed=2, append=True, **options)  # type: ignore[arg-type]
    assert both.manifest.details["plans"][1]["plan"]["first_id"] == 300
    new = Path(both.uri.removeprefix("file://")) / both.manifest.files[-1].path
    own = set(pq.read_table(new)["customer"].to_pylist())
    assert len(own) == 200
    assert not own & set(rows_of(before)[0]["customer"].to_pylist())


def test_conditions_and_classes_count_sequences(trained: Version) -> None:
    (part,) = rows_of(publish(trained, sequences=200, balance="plan"))
    firsts = part.take(pa.array(runs_of(part, ("customer",), None).starts))
    assert sorted(firsts["plan"].value_counts().field("counts").to_pylist()) == [100, 100]
    (part,) = rows_of(publish(trained, sequences=100, where=("plan=pro",)))
    assert set(part["plan"].to_pylist()) == {"pro"}
    assert pc.count_distinct(part["customer"]).as_py() == 100


def test_the_report_has_figures_of_sequences(trained: Version) -> None:
    version = publish(trained, sequences=400)
    found = api.evaluate_dataset(version.ref, store=store_of(trained)).report.metrics
    for name in ("lengths", "gaps", "autocorrelation", "transitions", "c2st_auc"):
        assert found[f"sequence.{name}"].status == "ok", name
        assert found[f"sequence.{name}"].reference is not None or name == "c2st_auc"


def test_forecasts_are_published_once_and_the_same_by_any_workers(trained: Version, tmp_path: Path) -> None:
    history = visits(1024 + 60, 21)
    pq.write_table(history, tmp_path / "history.parquet")
    words = ["forecast", trained.ref, "--given", str(tmp_path / "history.parquet"), "--steps", "3"]
    words += ["--rows-per", "2", "--dataset", "ahead", "--seed", "4", "--store", store_of(trained)]
    versions = []
    for workers in ("1", "2"):
        assert run([*words, "--workers", workers, "--shard-rows", "1024"]) == 0
        versions.append(Store(store_of(trained)).resolve("datasets", "ahead", field="dataset"))
    assert versions[0].manifest.content_digest == versions[1].manifest.content_digest
    parts = rows_of(versions[0])
    assert len(parts) == 2
    assert set(parts[0]["customer"].to_pylist()).isdisjoint(parts[1]["customer"].to_pylist())
    made = api.load(trained.ref, store=store_of(trained)).forecast(history, 3, rows_per=2, seed=4)
    whole = pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
    assert whole.equals(made.replace_schema_metadata(None))
    assert versions[0].manifest.details["plan"]["steps"] == 3
    assert run([*words, "--if-exists", "reuse", "--shard-rows", "1024"]) == 0
    again = Store(store_of(trained)).resolve("datasets", "ahead", field="dataset")
    assert again.ref == versions[1].ref


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sequences": None, "rows": 100}, "--rows"),
        ({"mix_real": True}, "--mix-real"),
        ({"partition_by": "stage"}, "--partition-by"),
        ({"balance": "stage"}, "--balance"),
        ({"where": ("stage=buy",)}, "--where"),
        ({"rows": 5}, "--sequences"),
    ],
)
def test_what_would_cut_sequences_is_refused(
    trained: Version, options: dict[str, object], field: str
) -> None:
    with pytest.raises(UserError) as caught:
        publish(trained, **options)
    assert caught.value.field == field


def test_sequences_are_not_served(trained: Version) -> None:
    with pytest.raises(UserError, match="not served"):
        _open(trained, "cpu")
