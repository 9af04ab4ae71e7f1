"""Labels: what they say, and that they say nothing that does not determine the bytes."""

import json

import pyarrow.parquet as pq
import pytest

from synthmill.catalog.provenance import aigc, footer, labels, produce_id, read_provenance
from synthmill.catalog.store import Store
from synthmill.errors import RecipeError, StorageError
from synthmill.storage.parquet import read_footer
from versions import publish_dataset

MADE_BY = {"run_key": "k", "model_ref": "adult@3", "model_digest": "abc", "seed": 7}


def test_footer_of_a_published_part(every_store: str) -> None:
    store = Store(every_store)
    version = publish_dataset(store, "secret-name", run_key="k")
    found = read_footer(version.folder, "part-00001.parquet")
    label = json.loads(found["AIGC"])
    assert label == {"Label": "1", "ContentProducer": "synthmill", "ProduceID": produce_id("k", 1)}
    assert (
        found["iptc.digitalSourceType"]
        == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert read_provenance(found, uri="x") == {
        "format": "synthmill.provenance/1",
        "model": "m@1",
        "model_digest": "d",
        "produce_id": produce_id("k", 1),
        "run_key": "k",
        "seed": 7,
        "shard": 1,
    }
    data = version.folder.read_bytes("part-00001.parquet")
    assert not any(
        text.encode() in data
        for text in ("secret-name", version.manifest.created[:10], version.manifest.run_id)
    )


def test_equal_runs_under_other_names_have_equal_parts(every_store: str) -> None:
    store = Store(every_store)
    one, other = publish_dataset(store, "one"), publish_dataset(store, "other")
    assert one.manifest.files == other.manifest.files
    assert one.manifest.content_digest == other.manifest.content_digest


def test_codes_are_printable_ascii_without_spaces() -> None:
    text = footer(shard=0, **MADE_BY)["AIGC"]
    assert all("\x21" <= character <= "\x7e" for character in text)
    for producer in ("", "two words", "\u4eba"):
        with pytest.raises(RecipeError, match="content producer"):
            aigc("x", producer=producer)


def test_ids_are_unique_per_shard_and_run() -> None:
    ids = [produce_id("a"), produce_id("a", 0), produce_id("a", 1), produce_id("b", 0)]
    assert len(set(ids)) == 4
    assert produce_id("a", 1) == produce_id("a", 1)


def test_mixed_data_says_so() -> None:
    assert footer(shard=0, mixed=True, **MADE_BY)["iptc.digitalSourceType"].endswith(
        "/compositeWithTrainedAlgorithmicMedia"
    )
    assert labels(run_key="k", mixed=True)["digitalSourceType"].endswith(
        "/compositeWithTrainedAlgorithmicMedia"
    )
    assert labels(run_key="k")["digitalSourceType"].endswith("/trainedAlgorithmicMedia")


def test_foreign_and_newer_footers() -> None:
    assert read_provenance({"other": "x"}, uri="x") is None
    with pytest.raises(StorageError, match=r"newer than 'synthmill\.provenance/1'"):
        read_provenance({"synthmill.provenance": '{"format": "synthmill.provenance/2"}'}, uri="x")


def test_readers_find_the_keys(tmp_path) -> None:
    publish_dataset(Store(tmp_path), "d")
    metadata = pq.read_schema(tmp_path / "datasets" / "d" / "1" / "part-00000.parquet").metadata
    assert {b"AIGC", b"iptc.digitalSourceType", b"synthmill.provenance"} == set(metadata)
