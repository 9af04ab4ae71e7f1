"""Publishing: the same bytes at any number of workers, exact counts under conditions, labels on every
part."""

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from synthmill import api
from synthmill.catalog.manifest import decode_schema
from synthmill.catalog.store import Store, Version
from synthmill.errors import ConditionError, NotFoundError, ResourceError, UserError

ROWS = 8 * 2048 + 300
"""Eight whole shards and a short one."""


def store_of(version: Version) -> str:
    return version.uri.rsplit("/models/", 1)[0]


def publish(trained: Version, name: str, **options: object) -> Version:
    settings: dict[str, object] = {"rows": ROWS, "seed": 7, "shard_rows": 2048, "workers": 2, **options}
    return api.augment(trained.ref, dataset=name, store=store_of(trained), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "conditions", [{}, {"where": ("plan!=basic",)}, {"balance": "churned"}], ids=["plain", "where", "balance"]
)
def test_any_number_of_workers_writes_the_same_bytes(trained: Version, conditions: dict[str, object]) -> None:
    digests = {
        publish(trained, "same", workers=workers, **conditions).manifest.content_digest
        for workers in (1, 2, 3)
    }
    again = publish(trained, "again", workers=2, **conditions)
    assert digests == {again.manifest.content_digest}
    assert again.manifest.rows == ROWS
    assert len(again.manifest.files) == 9


def test_sample_equals_the_first_rows_of_the_job(trained: Version) -> None:
    version = publish(trained, "prefix", shard_rows=65_536)
    written = pq.read_table(version.uri.removeprefix("file://"))
    sampled = api.load(trained.ref, store=store_of(trained)).sample(1500, seed=7)
    assert sampled.equals(written.slice(0, 1500).replace_schema_metadata(sampled.schema.metadata))


def test_another_seed_writes_other_rows(trained: Version) -> None:
    assert (
        publish(trained, "seed", seed=1).manifest.content_digest
        != publish(trained, "seed", seed=2).manifest.content_digest
    )


def test_where_holds_in_every_row_and_the_count_is_exact(trained: Version) -> None:
    version = publish(trained, "where", rows=5000, where=("plan=pro", "age>=30"))
    rows = pq.read_table(version.uri.removeprefix("file://"))
    assert rows.num_rows == 5000
    assert pc.all(pc.equal(rows["plan"], "pro")).as_py()
    assert pc.min(rows["age"]).as_py() >= 30


def test_balance_equalises_the_classes(trained: Version) -> None:
    version = publish(trained, "balanced", rows=5001, balance="plan")
    counts = (
        pq.read_table(version.uri.removeprefix("file://"))["plan"].value_counts().field("counts").to_pylist()
    )
    assert sum(counts) == 5001
    assert max(counts) - min(counts) <= 1


def test_mix_real_adds_train_rows_and_says_which(trained: Version) -> None:
    version = publish(trained, "mixed", rows=3000, mix_real=True)
    rows = pq.read_table(version.uri.removeprefix("file://"))
    train_rows = json.loads((Path(trained.uri.removeprefix("file://")) / "config.json").read_text())["split"][
        "counts"
    ]["train"]
    assert pc.sum(rows["is_synthetic"]).as_py() == 3000
    assert rows.num_rows == 3000 + train_rows
    assert version.manifest.contains_training_rows
    assert [parent.kind for parent in version.manifest.parents] == ["model", "source"]
    assert pc.count_distinct(rows["customer"]).as_py() == rows.num_rows


def test_mix_real_publishes_no_column_of_real_rows_that_was_not_asked_for(trained: Version) -> None:
    version = publish(trained, "narrow", rows=3000, mix_real=True, columns=("plan", "age"))
    folder = Path(version.uri.removeprefix("file://"))
    schemas = [
        pq.read_schema(folder / entry.path)
        for entry in version.manifest.files
        if entry.path.endswith(".parquet")
    ]
    assert len(schemas) == 3
    assert {tuple(schema.names) for schema in schemas} == {("plan", "age", "is_synthetic")}
    assert version.manifest.arrow_schema is not None
    assert decode_schema(version.manifest.arrow_schema).equals(schemas[-1])


def test_real_rows_are_not_mixed_into_a_source_with_a_column_of_that_name(
    local_ray: None, tmp_path: Path
) -> None:
    source = tmp_path / "source.csv"
    source.write_text(
        "x,is_synthetic\n" + "".join(f"{i % 7},{'true' if i % 2 else 'false'}\n" for i in range(60))
    )
    recipe = {"name": "mixed", "data": {"source": str(source)}, "model": {"name": "marginals"}}
    version = api.train(recipe, store=str(tmp_path / "store"))
    with pytest.raises(UserError, match=r"--mix-real: the source has a column 'is_synthetic' of its own"):
        publish(version, "again", rows=100, mix_real=True)
    plain = publish(version, "plain", rows=100)
    report = api.evaluate_dataset(plain.ref, store=store_of(version), profile="quick").report
    assert report.metrics["schema.valid_share"].n["synthetic"] == 100


def test_every_part_is_labelled(trained: Version) -> None:
    version = publish(trained, "labels", rows=3000)
    for number, entry in enumerate(version.manifest.files):
        keys = {
            key.decode(): value.decode()
            for key, value in pq.read_metadata(
                f"{version.uri.removeprefix('file://')}/{entry.path}"
            ).metadata.items()
        }
        assert json.loads(keys["AIGC"])["Label"] == "1"
        assert keys["iptc.digitalSourceType"].endswith("/trainedAlgorithmicMedia")
        assert trained.manifest.content_digest in json.dumps(keys)
        assert number == int(json.loads(keys["synthmill.provenance"])["shard"])


def test_a_finished_job_is_reused_only_on_request(trained: Version) -> None:
    first = publish(trained, "reuse", rows=3000)
    assert publish(trained, "reuse", rows=3000, if_exists="reuse").ref == first.ref
    second = publish(trained, "reuse", rows=3000)
    assert second.number == first.number + 1
    assert second.manifest.content_digest == first.manifest.content_digest


def test_an_impossible_condition_stops_with_the_rate(trained: Version) -> None:
    with pytest.raises(ConditionError, match=r"only 0 of [\d,]+ generated rows satisfied it \(0\.0000%\)"):
        publish(trained, "never", rows=100, where=("age>=30", "age<30"))
    assert Store(store_of(trained)).versions("datasets", "never") == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rows": 0}, UserError, r"--rows: must be at least 1, got 0"),
        ({"rows": -5}, UserError, r"--rows: must be at least 1, got -5"),
        ({"workers": 64}, ResourceError, r"--workers: 64 workers need 64 CPUs but the cluster has 4"),
        ({"where": ("plam=pro",)}, ConditionError, r"did you mean 'plan'"),
        ({"where": ("plan=gold",)}, ConditionError, r"--where.*gold"),
        ({"balance": "plann"}, ConditionError, r"--balance: no column 'plann'; did you mean 'plan'"),
        ({"columns": ("agee",)}, ConditionError, r"--columns: no column 'agee'"),
        ({"shard_rows": 0}, UserError, r"--shard-rows: must be at least 1, got 0"),
        ({"gates": "strict.yaml"}, NotFoundError, r"gates: no gates file 'strict\.yaml'"),
    ],
)
def test_mistakes_are_one_line(
    trained: Version, options: dict[str, object], error: type[UserError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        publish(trained, "mistake", **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_is_named(trained: Version) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'customers'"):
        api.augment("customer", rows=10, dataset="x", store=store_of(trained))
