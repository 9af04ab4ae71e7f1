"""Labels that say, machine-readably, that data is synthetic and what made it.

IPTC `digitalSourceType` (cv.iptc.org) and the AIGC label (GB 45438-2025, appendix E) have no standard carrier
in Parquet: here they are in the footer's key-value metadata and in the manifest. Footers carry only what
determines the bytes: no dataset name, version, time or host.
"""

import hashlib
import json
import re
from typing import Any

from synthmill.errors import RecipeError
from synthmill.storage.formats import check_format, format_name

PROVENANCE_FORMAT = 1
TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
AIGC_KEY = "AIGC"
SOURCE_TYPE_KEY = "iptc.digitalSourceType"
PROVENANCE_KEY = "synthmill.provenance"
PRODUCER = "synthmill"
SYNTHETIC_COLUMN = "is_synthetic"
"""The column of a dataset that has real rows too."""
_CODE = re.compile(r"^[\x21-\x7e]+$")


def produce_id(run_key: str, shard: int | None = None, folder: str = "") -> str:
    """The unique id of a whole run, of one shard's rows, or of those in one Hive folder: 32 hex digits that
    follow from the run key."""
    # Derived, not random: the id is in the footer, and a repeated run must give the same bytes.
    text = run_key if shard is None else f"{run_key}/{shard}" + (f"/{folder}" if folder else "")
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def aigc(unique_id: str, *, producer: str = PRODUCER) -> dict[str, str]:
    """The AIGC label: Label 1 means "is AI-generated". Codes are printable ASCII without spaces."""
    if not _CODE.fullmatch(producer):
        raise RecipeError(f"{producer!r} must be printable ASCII without spaces", field="content producer")
    return {"Label": "1", "ContentProducer": producer, "ProduceID": unique_id}


def footer(
    *,
    run_key: str,
    shard: int,
    model_ref: str,
    model_digest: str,
    seed: int,
    mixed: bool = False,
    folder: str = "",
    producer: str = PRODUCER,
) -> dict[str, str]:
    """Parquet footer keys of one part; `mixed` when real rows are among the synthetic ones; `folder` is the
    file's Hive folder, as a shard has a file in each."""
    unique_id = produce_id(run_key, shard, folder)
    provenance = {
        "format": format_name("provenance", PROVENANCE_FORMAT),
        "model": model_ref,
        "model_digest": model_digest,
        "produce_id": unique_id,
        "run_key": run_key,
        "seed": seed,
        "shard": shard,
    }
    return {
        AIGC_KEY: _compact(aigc(unique_id, producer=producer)),
        SOURCE_TYPE_KEY: source_type(mixed=mixed),
        PROVENANCE_KEY: _compact(provenance),
    }


def labels(*, run_key: str, mixed: bool = False, producer: str = PRODUCER) -> dict[str, Any]:
    """`Manifest.labels` of a dataset."""
    return {
        "digitalSourceType": source_type(mixed=mixed),
        "AIGC": aigc(produce_id(run_key), producer=producer),
    }


def source_type(*, mixed: bool) -> str:
    """The IPTC digital source type: wholly generated, or real rows among generated ones."""
    return COMPOSITE_MEDIA if mixed else TRAINED_ALGORITHMIC_MEDIA


def read_provenance(metadata: dict[str, str], *, uri: str) -> dict[str, Any] | None:
    """What made a part, from its footer; None: the file carries no label of ours."""
    if PROVENANCE_KEY not in metadata:
        return None
    provenance: dict[str, Any] = json.loads(metadata[PROVENANCE_KEY])
    check_format(provenance, "provenance", newest=PROVENANCE_FORMAT, uri=uri)
    return provenance


def _compact(data: dict[str, Any]) -> str:
    # In one form only: footers are among the bytes that must repeat.
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=True)
