"""What the gates decide: a dataset appears only if they pass, else its parts lie in quarantine with the
report; reports repeat."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from synthmill import api
from synthmill.catalog.store import Store, Version
from synthmill.errors import GateFailedError, NotFoundError

ROWS = 3000
GATES = {
    "pass": "{metric: schema.valid_share, aggregate: beyond_chance, must_be_at_least: 0.5, minimum_n: 1}",
    "fail": "{metric: tabular.marginal_gap, must_be_at_most: -0.9}",
    "inconclusive": "{metric: tabular.marginal_gap, must_be_at_most: 0.9, minimum_n: 1000000}",
}


@pytest.fixture
def gates(tmp_path: Path) -> dict[str, str]:
    """A gates file for each outcome."""
    for name, gate in GATES.items():
        (tmp_path / f"{name}.yaml").write_text(f"version: 1\ngates:\n  - {gate}\n")
    return {name: str(tmp_path / f"{name}.yaml") for name in GATES}


def publish(trained: Version, dataset: str, gates: str, **options: Any) -> Version:
    return api.augment(
        trained.ref,
        rows=ROWS,
        dataset=dataset,
        store=store_of(trained),
        workers=2,
        shard_rows=1024,
        gates=gates,
        **options,
    )


def store_of(trained: Version) -> str:
    return trained.uri.rsplit("/models/", 1)[0]


def test_what_fails_is_quarantined_with_its_report_and_no_version_appears(
    trained: Version, gates: dict[str, str]
) -> None:
    with pytest.raises(GateFailedError, match="was not published: fail") as refused:
        publish(trained, "refused", gates["fail"], require="pass")
    assert refused.value.exit_code == 1
    with pytest.raises(NotFoundError):
        Store(store_of(trained)).resolve("datasets", "refused", field="--dataset")
    (kept,) = Path(store_of(trained).removeprefix("file://"), "quarantine", "datasets", "refused").iterdir()
    assert len(list(kept.glob("*.parquet"))) == 3
    assert json.loads((kept / "_report.json").read_text())["verdict"] == "fail"
    assert (kept / "_report.html").is_file()
    assert not (kept / "_manifest.json").exists()


def test_verdict_and_report_digest_stand_in_the_manifest(trained: Version, gates: dict[str, str]) -> None:
    version = publish(trained, "gated", gates["pass"], require="pass")
    gate = version.manifest.gate
    assert gate is not None
    assert gate["verdict"] == "pass"
    assert (
        gate["report_sha256"]
        == hashlib.sha256(Path(version.uri.removeprefix("file://"), "_report.json").read_bytes()).hexdigest()
    )


def test_a_failed_gate_is_told_but_publishes_where_nothing_is_required(
    trained: Version, gates: dict[str, str]
) -> None:
    gate = publish(trained, "told", gates["fail"]).manifest.gate
    assert gate is not None
    assert gate["verdict"] == "fail"


def test_inconclusive_is_not_passed_unless_it_is_allowed(trained: Version, gates: dict[str, str]) -> None:
    with pytest.raises(GateFailedError, match="was not published: inconclusive"):
        publish(trained, "open", gates["inconclusive"], require="pass")
    gate = publish(
        trained, "open", gates["inconclusive"], require="pass", allow_inconclusive=True
    ).manifest.gate
    assert gate is not None
    assert gate["verdict"] == "inconclusive"


def test_a_report_is_the_same_at_any_number_of_workers(trained: Version, gates: dict[str, str]) -> None:
    version = publish(trained, "repeated", gates["pass"])
    reports = [
        api.evaluate_dataset(version.ref, store=store_of(trained), profile="quick", workers=count).report
        for count in (1, 3)
    ]
    assert reports[0].metrics == reports[1].metrics
    assert reports[0].gates == reports[1].gates
