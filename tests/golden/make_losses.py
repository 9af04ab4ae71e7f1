"""Makes `tests/golden/losses/`: what every model of the registry loses in its first 50 steps.

    PYTHONPATH=platform:tests .venv/bin/python tests/golden/make_losses.py [MODEL ...]

Run for a model that is new, or whose loss was changed on purpose; what else differs then is a regression.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from contract_cases import case
from encoded import Records, settings
from made_on import maker
from synthmill import registry
from synthmill.training.loop import train
from synthmill.training.parallel import Single

FOLDER = Path(__file__).parent / "losses"
STEPS = 50
BATCH_ROWS = 40

CLOCK = ("seconds", "epoch", "rows_per_second", "worker_seconds")
"""What differs between two runs of the same training; the epoch is told by the step."""


def losses(name: str) -> list[dict[str, Any]]:
    """The loop's records of a run with the model's default configuration on 200 rows, one thread, fp32; none
    for a model in closed form."""
    model = case(name).fresh()
    if not model.stages():
        return []
    config = settings(max_steps=STEPS, max_epochs=STEPS, global_batch_rows=BATCH_ROWS, threads=1)
    outcome = train(model, case(name).data, config, parallel=Single(), reporter=Records())
    return [{key: value for key, value in record.items() if key not in CLOCK} for record in outcome.history]


def compute_class() -> dict[str, str]:
    """Where the figures are equal to the bit."""
    return {"torch": torch.__version__, "isa": torch.backends.cpu.get_cpu_capability(), "maker": maker()}


def main(names: list[str]) -> None:
    """Write a file for each of the models, or for all."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or registry.names("models"):
        found = {"compute_class": compute_class(), "steps": STEPS, "losses": losses(name)}
        lines = ",\n".join(json.dumps(record) for record in found["losses"])
        head = json.dumps({key: found[key] for key in ("compute_class", "steps")})[1:-1]
        (FOLDER / f"{name}.json").write_text(f'{{{head}, "losses": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(sys.argv[1:])
