"""Makes `tests/golden/report/pictures.json`: the report of a small evaluation of images as this version
writes it.

Run once for each new format, into a file of its own; what earlier versions saved is never made again. The
synthetic images are digits that were kept aside, so the report shows no training image and every gate has
something to judge.

    PYTHONPATH=platform:tests .venv/bin/python tests/golden/make_image_report.py
    tests/golden/report/pictures.json
"""

import sys
from pathlib import Path

from synthmill.config import DataConfig, parse_model
from synthmill.data.codecs.pixels import PixelCodec
from synthmill.data.readers.base import read_source
from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.tables import Tables

TRAIN_ROWS, HOLDOUT_ROWS, SYNTHETIC_ROWS = 800, 400, 400


def main(target: Path) -> None:
    data = parse_model(DataConfig, {"source": "sklearn://digits", "kind": "image", "target": "label"})
    table = read_source(data).table
    train, rest = table.slice(0, TRAIN_ROWS), table.slice(TRAIN_ROWS)
    holdout, synthetic = rest.slice(0, HOLDOUT_ROWS), rest.slice(HOLDOUT_ROWS, SYNTHETIC_ROWS)
    provenance = {
        "dataset": "digits@1",
        "model": "digits@1",
        "model_digest": "0" * 64,
        "contains_training_rows": False,
    }
    report = evaluate(
        Tables(train, None, holdout, synthetic, codec=PixelCodec.fit(train, data)),
        kind="image",
        profile="quick",
        sample_rows="all",
        provenance=provenance,
    )
    fixed = {"created": "2026-01-01T00:00:00+00:00", "timings": {"total": 1.0}}
    target.write_bytes(report.model_copy(update=fixed).to_json())
    sys.stdout.write(f"{report.verdict}: {report.summary}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
