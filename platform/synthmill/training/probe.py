"""A few real steps of a run, timed: what the whole would take."""

import time
from dataclasses import dataclass

import torch

from synthmill.config import Recipe
from synthmill.data.batch import Batch
from synthmill.data.shards import bytes_of
from synthmill.errors import ResourceError
from synthmill.models.base import GenerativeModel
from synthmill.training.fit import fresh_model
from synthmill.training.loop import Loop, check_steps
from synthmill.training.parallel import Single
from synthmill.training.plan import make_plan
from synthmill.training.prepare import Rows
from synthmill.training.quality.base import QualityCheck, quality_check
from synthmill.training.reporter import Silent
from synthmill.training.rows import InMemory
from synthmill.training.run_state import RunState

WARM_STEPS, LEAST_STEPS, MOST_STEPS = 2, 3, 50


@dataclass(frozen=True)
class Probed:
    """What a few steps say of all."""

    steps: int
    """Of the whole run; 0 for a model in closed form."""
    probed_steps: int
    step_seconds: float
    rows_per_second: float
    checks: int
    check_seconds: float
    state_bytes: int
    """A checkpoint."""
    weight_bytes: int
    """The published weights."""
    closed_seconds: float = 0.0
    shard_bytes: int = 0
    """Encoded rows on disk, of a source that is read in blocks."""

    @property
    def seconds(self) -> float:
        """Of the whole run, without start-up."""
        return self.steps * self.step_seconds + self.checks * self.check_seconds + self.closed_seconds


def probe(recipe: Recipe, rows: Rows, *, seconds: float) -> Probed:
    """Take steps of a resolved recipe for about so many seconds, on this machine's CPU or GPU, and keep
    nothing of them.

    Raises:
        UserError: what would stop the run at its start.
    """
    wanted = recipe.training.device
    gpu = torch.cuda.is_available() and wanted != "cpu"
    if wanted == "cuda" and not gpu:
        raise ResourceError("there is no GPU here to take steps on", field="training.device")
    device = torch.device("cuda" if gpu else "cpu")
    model = fresh_model(recipe, rows.codec.layout).to(device)
    data = rows.codec.encode(rows.tables.train).to(device)
    weights = _bytes_of(model.state_dict())
    check = quality_check(
        str(recipe.data.kind),
        rows.codec,
        rows.tables.train,
        rows.tables.validation,
        data,
        seed=recipe.training.seed,
    )
    if not model.stages():
        return _closed(model, data, check, weights, rows.train_rows)
    run = RunState(recipe.training, Single(device), Silent(), None, "")
    loop = Loop(
        model,
        InMemory(data, device),
        recipe.training,
        Single(device),
        run,
        check=check.cost if check is not None else None,
        most_threads=recipe.training.threads or 1,
    )
    threads = torch.get_num_threads()
    try:
        loop.start()
        taken, each = _timed_steps(loop, device, seconds)
        check_seconds = _timed_check(check, loop.averaged()) if check is not None else 0.0
    finally:
        torch.set_num_threads(threads)
    # Of a source that is read in blocks the loop here has a sample alone.
    plan = make_plan(
        recipe.training,
        model.stages(),
        rows.train_rows,
        model.row_group,
        check_steps(check.cost if check is not None else None, model, rows.train_rows),
    )
    return Probed(
        steps=plan.total_steps,
        probed_steps=taken,
        step_seconds=each,
        rows_per_second=plan.batch_rows / each,
        checks=-(-plan.total_steps // plan.check_every_steps) if check is not None else 0,
        check_seconds=check_seconds,
        state_bytes=_bytes_of(loop.state()[0]),
        weight_bytes=weights,
        shard_bytes=_shard_bytes(model, rows),
    )


def _shard_bytes(model: GenerativeModel, rows: Rows) -> int:
    if rows.divided is None:
        return 0
    by_code = any(phase.sampling == "category" for stage in model.stages() for phase in stage.phases)
    places = rows.codec.places(rows.tables.train)
    return bytes_of(rows.codec.record_layout(), rows.train_rows, by_code=by_code, places=places)


def _timed_steps(loop: Loop, device: torch.device, seconds: float) -> tuple[int, float]:
    """How many steps were timed, and the mean of one."""
    total = loop.plan.total_steps
    for _ in range(WARM_STEPS if total > WARM_STEPS else 0):
        loop.advance()
    _settle(device)
    started, taken = time.perf_counter(), 0
    while taken < MOST_STEPS and loop.step < total:
        loop.advance()
        taken += 1
        if taken >= LEAST_STEPS and time.perf_counter() - started >= seconds:
            break
    _settle(device)
    return taken, (time.perf_counter() - started) / taken


def _timed_check(check: QualityCheck, model: GenerativeModel) -> float:
    started = time.perf_counter()
    with torch.inference_mode():
        check(model)
    return time.perf_counter() - started


def _closed(
    model: GenerativeModel, data: Batch, check: QualityCheck | None, weights: int, rows: int
) -> Probed:
    # All there are here: such a model reads its rows once, and some want all of them.
    started = time.perf_counter()
    with torch.no_grad():
        model.fit_closed([data])
    most = model.most_fitted_rows or rows
    seconds = (time.perf_counter() - started) * max(1.0, min(rows, most) / data.num_rows)
    check_seconds = _timed_check(check, model.eval()) if check is not None else 0.0
    return Probed(
        steps=0,
        probed_steps=0,
        step_seconds=0.0,
        rows_per_second=0.0,
        checks=1 if check is not None else 0,
        check_seconds=check_seconds,
        state_bytes=0,
        weight_bytes=weights,
        closed_seconds=seconds,
    )


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _bytes_of(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
