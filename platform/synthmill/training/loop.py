"""The one loop: stages of phases, each with its loss, optimizer and rows, and an average of the weights.

A step's result depends on the data, the recipe and the step's number only: rows and noise are drawn for the
global batch by (seed, step, phase, repeat, name), dropout by (seed, step, rank). Workers, restarts and the
clock change nothing but when it ends. What surrounds the steps is elsewhere: `checker.py` scores the averaged
weights, `run_state.py` saves, resumes and keeps the history.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from synthmill.config import TrainingConfig
from synthmill.data.batch import Batch
from synthmill.errors import DataError
from synthmill.models.base import GenerativeModel, Phase
from synthmill.training import precision
from synthmill.training.checker import Checker, copied
from synthmill.training.checkpoint import Checkpoints, State
from synthmill.training.compute import AsWritten, Compute, Settings, make_compute
from synthmill.training.ema import Ema
from synthmill.training.micro import Part, parts_of
from synthmill.training.optim import PhaseOptimizer, distinct, flatten, optimizers_of
from synthmill.training.pace import Pacing, choices_of
from synthmill.training.parallel import Parallel, local_rows
from synthmill.training.plan import Plan, make_plan
from synthmill.training.quality.base import Cost, Elsewhere, QualityCheck
from synthmill.training.reporter import Reporter
from synthmill.training.rng import StepRng, key
from synthmill.training.rows import InMemory, TrainingRows
from synthmill.training.run_state import Orders, RunState
from synthmill.training.schedule import factor


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: weights to publish (on the CPU; empty on ranks above 0) and how it went."""

    state_dict: dict[str, Tensor]
    history: list[dict[str, Any]]
    steps: int
    seconds: float
    best: dict[str, Any] | None
    """The check that chose the weights: `step`, `score`, `noise` and its details; None without checks."""
    threads: int = 1
    precision: str = "fp32"
    """How the last steps were computed."""
    ended: str = ""
    """Why, in words; empty for a model without steps, and for one that an earlier version finished."""
    patience_checks: int | None = None
    """As it was decided; None: never."""
    interrupted: bool = False
    """A person ended the run before its end, and took what there was."""


def train(
    model: GenerativeModel,
    data: Batch | TrainingRows,
    config: TrainingConfig,
    *,
    parallel: Parallel,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
    quality: QualityCheck | Elsewhere | None = None,
    should_stop: Callable[[], bool] | None = None,
    orders: Orders | None = None,
    run_key: str = "",
    keep_interrupted: bool = False,
    most_threads: int = 1,
) -> Outcome:
    """Train `model` (on `parallel.device`, same weights on every rank) on all rows of `data` (the same on
    every rank).

    `run_key` is what a checkpoint must have to be resumed. `should_stop` ends the run early, as a time limit
    does. With `keep_interrupted` so does KeyboardInterrupt, and the best weights so far are returned.
    `most_threads` may be taken where the recipe states no number.

    Raises:
        TrainingError: a loss that is not finite, or images that lost all variety; the newest checkpoint is
        from before it. RecipeError: more workers than row groups, or nothing to resume with `resume: always`.
        DataError: no rows. LeavingError: `orders` asked for it; a checkpoint of that step is there.
    """
    run = RunState(config, parallel, reporter, checkpoints, run_key)
    rows = InMemory(data, parallel.device) if isinstance(data, Batch) else data
    with torch.no_grad():
        model.begin(rows.batches())
    cost = quality.cost if quality is not None else None
    loop = Loop(model, rows, config, parallel, run, check=cost, most_threads=most_threads)
    checker = Checker(quality, loop.plan, parallel, run)
    run.resume((loop, checker), loop.plan.total_steps)
    threads_before = torch.get_num_threads()
    try:
        _advance(loop, checker, run, should_stop, orders)
    except KeyboardInterrupt:
        if not keep_interrupted:
            raise
        # The interrupt may have come between two phases of a step. Averaged weights are whole all the same,
        # but a checkpoint of this moment would not lead to the weights of an undisturbed run: none is made.
        return _outcome(loop, checker, run, interrupted=True)
    finally:
        # The number is the whole process's, and a notebook's is its user's.
        torch.set_num_threads(threads_before)
    return _outcome(loop, checker, run)


def _advance(
    loop: "Loop",
    checker: Checker,
    run: RunState,
    should_stop: Callable[[], bool] | None,
    orders: Orders | None,
) -> None:
    """Steps until the plan, the clock, patience or `should_stop` ends them, then the last check and save."""
    if run.finished:
        return
    loop.start()
    plan, stop = loop.plan, False
    # Every decision inside follows from the step or from rank 0's word, or ranks would wait for each other.
    while not stop and loop.step < plan.total_steps:
        loop.advance()
        last = loop.step == plan.total_steps
        if last or loop.step % plan.log_every_steps == 0:
            loop.log_losses()
            loop.review()
        stop, save, leave = run.control(should_stop, orders)
        if checker.due(loop.step, last=last):
            loop.log_losses()
            checker.check(loop.step, loop.averaged)
            stop = stop or checker.out_of_patience
        # Checkpoints of a model that may have collapsed are of no use; the last one is made below.
        if save and not (stop or last or checker.suspicious):
            _save(loop, checker, run)
            if leave:
                run.leave(loop.step)
    loop.log_losses()
    if checker.owes(loop.step):
        checker.check(loop.step, loop.averaged)
    elif checker.chosen is None and run.leads:
        # Nothing was checked: the averages are published, and what follows from them must be refitted.
        loop.averaged()
    run.finished, run.ended = True, _why(loop, checker, run)
    if loop.step < plan.total_steps:
        run.say(f"training {run.ended}")
    _save(loop, checker, run)


def _why(loop: "Loop", checker: Checker, run: RunState) -> str:
    """Why a run has ended, in words that follow "training"."""
    plan, step = loop.plan, loop.step
    if checker.out_of_patience and step < plan.total_steps:
        what = "were worse than the best" if plan.falls else "brought no gain beyond noise"
        return (
            f"ended at step {step:,} of {plan.total_steps:,}: the last {plan.patience_checks} checks {what}"
            " (training.patience_checks)"
        )
    if step == plan.total_steps:
        return f"ended at step {step:,}, as planned"
    reason = "training.max_seconds" if run.is_late else "it was told to stop"
    return f"ended at step {step:,} of {plan.total_steps:,}: {reason}"


def _save(loop: "Loop", checker: Checker, run: RunState) -> None:
    if run.saves:
        loop.settle()
        run.save(loop.step, (loop, checker), good_step=checker.watch.good_step)


def _outcome(loop: "Loop", checker: Checker, run: RunState, *, interrupted: bool = False) -> Outcome:
    state: dict[str, Tensor] = {}
    best = None
    if run.leads:
        if checker.chosen is not None:
            state, best = checker.chosen
        else:
            # A run that ended by itself has refitted the averages; their statistics are older otherwise.
            state = copied(loop.averaged() if interrupted else loop.ema.model)
    return Outcome(
        state_dict=state,
        history=list(run.history),
        steps=loop.step,
        seconds=run.seconds,
        best=best,
        threads=loop.pacing.pace.threads,
        precision=loop.pacing.pace.precision,
        ended=run.ended,
        patience_checks=loop.plan.patience_checks,
        interrupted=interrupted,
    )


def check_steps(cost: Cost | None, model: GenerativeModel, rows: int) -> Callable[[int], float]:
    """What a check of a model of `rows` training rows costs, in steps of so many rows."""
    return lambda batch_rows: (
        0.0 if cost is None else cost.in_steps(batch_rows) + model.finish_steps(rows, batch_rows)
    )


class Loop:
    """Steps of one run: which rows and noise each phase reads, its gradients and its optimizer."""

    def __init__(
        self,
        model: GenerativeModel,
        data: TrainingRows,
        config: TrainingConfig,
        parallel: Parallel,
        run: RunState,
        *,
        check: Cost | None,
        most_threads: int,
    ) -> None:
        if data.num_rows < model.row_group:
            raise DataError(
                f"{data.num_rows} training rows; at least {model.row_group} are needed", field="data.source"
            )
        stages = model.stages()
        self.plan: Plan = make_plan(
            config, stages, data.num_rows, model.row_group, check_steps(check, model, data.num_rows)
        )
        if self.plan.batch_rows < config.global_batch_rows:
            run.say(
                f"batch of {config.global_batch_rows} rows reduced to {self.plan.batch_rows}:"
                f" {data.num_rows} training rows"
            )
        self._model, self._data, self._seed = model, data, config.seed
        self._parallel, self._run = parallel, run
        batch_rows, device = self.plan.batch_rows, parallel.device
        self._local = local_rows(batch_rows, model.row_group, parallel.rank, parallel.world)
        self._parts = parts_of(model, config, device, batch_rows, self._local)
        # Rank 0 alone refits the averaged model, on whole batches.
        self._finish_rng = StepRng(device, config.seed, batch_rows, slice(0, batch_rows))
        self._shuffled = data.shuffled(batch_rows, config.seed)
        by_category = any(phase.sampling == "category" for stage in stages for phase in stage.phases)
        self._by_category = (
            data.by_category(model.layout) if by_category and model.layout.category_spans else None
        )
        # The order matters: layout in memory, then the copy for the average, then one flat tensor that
        # optimizers and average move.
        precision.lay_out(model, config.channels_last, device)
        self._config = config
        self.pacing = Pacing(choices_of(config, device, most_threads), parallel, self.try_step)
        self._computes: dict[float, Compute] = {}
        """By the share of the batch; parts have one or two sizes."""
        self.ema = Ema(model, config.ema_half_life_steps)
        counts = data.counts()
        if counts is not None:
            self.ema.model.know_counts(counts)
        self._weights = flatten(model)
        self._parameters = list(model.parameters())
        self._optimizers = optimizers_of(model, stages)
        model.train()
        self.step = 0
        """Steps that are done."""
        self._stepped = (0, 0.0)
        """Steps since the last record, and their seconds."""
        self._waited = parallel.waited_seconds
        self._sums: dict[tuple[str, tuple[str, ...]], tuple[Tensor, int]] = {}
        """(phase, terms) -> sums of their local shares since the last record, and of how many updates."""

    def start(self) -> None:
        """Decide how to compute, before the first step of this process."""
        if self.pacing.find():
            self._record_pace()
        for share in {part.share for part in self._parts}:
            settings = Settings(self._parallel.device, share, self.pacing.pace.bf16)
            self._computes[share] = make_compute(self._model, self._config, settings, self._run.say)

    def review(self) -> None:
        """Look again at how steps are computed when they have come to take twice as long."""
        if self.pacing.review():
            self._record_pace()

    def _record_pace(self) -> None:
        pace = self.pacing.pace
        record = {"step": self.step, "threads": pace.threads, "precision": pace.precision}
        self._run.record({**record, "step_seconds": self.pacing.timed})

    def try_step(self, bf16: bool) -> None:
        """Gradients of the next step, which are thrown away: weights, running statistics and the numbers that
        are drawn later stay as they are."""
        stage = self.plan.at(min(self.step, self.plan.total_steps - 1)).stage
        # BatchNorm takes in the rows that it sees, in a step of no consequence too.
        buffers = [buffer.clone() for buffer in self._model.buffers()]
        for phase in stage.phases:
            optimizer = self._optimizers[stage.name, phase.name]
            self._move_only(optimizer)
            optimizer.forget_gradients()
            for part in self._parts:
                compute = AsWritten(self._model, Settings(self._parallel.device, part.share, bf16))
                rng = part.rng.at(self.step, phase.name, 0)
                batch = self._rows_of(phase, part, 0)
                compute(phase, optimizer.parameters, batch, rng=rng, progress=0.0)
            optimizer.forget_gradients()
        with torch.no_grad():
            for buffer, before in zip(self._model.buffers(), buffers, strict=True):
                buffer.copy_(before)

    def advance(self) -> None:
        """One step: every phase that is due, then the average."""
        started = time.perf_counter()
        span = self.plan.at(self.step)
        # Dropout draws from torch's own generator; keyed by step, a resumed run drops the same units.
        torch.manual_seed(key(self._seed, "dropout", self.step, self._parallel.rank))
        first, length = span.first, span.last - span.first
        progress = (self.step - first) / length
        for phase in span.stage.phases:
            if self.step % phase.every_steps:
                continue
            optimizer = self._optimizers[span.stage.name, phase.name]
            self._move_only(optimizer)
            adam = phase.optimizer
            rate = factor(adam.schedule, adam.warmup_steps, self.step - first, length)
            for repeat in range(phase.repeats):
                self._update(phase, optimizer, repeat, progress, rate)
        self.step += 1
        self.ema.update(self._weights, self.step)
        took = time.perf_counter() - started
        self.pacing.took(took)
        self._stepped = (self._stepped[0] + 1, self._stepped[1] + took)

    def _move_only(self, optimizer: PhaseOptimizer) -> None:
        # Gradients of the other parameters would be computed for nothing.
        for parameter in self._parameters:
            parameter.requires_grad = False
        for parameter in optimizer.parameters:
            parameter.requires_grad = True

    def _update(
        self, phase: Phase, optimizer: PhaseOptimizer, repeat: int, progress: float, rate: float
    ) -> None:
        optimizer.forget_gradients()
        assert self._computes, "start comes before the first step"
        for index, part in enumerate(self._parts):
            rng = part.rng.at(self.step, phase.name, repeat)
            batch = self._rows_of(phase, part, repeat)
            compute = self._computes[part.share]
            terms, means = compute(phase, optimizer.parameters, batch, rng=rng, progress=progress)
            # Summed on the device and read at the next record: reading now would make a GPU wait each time.
            label = (phase.name, terms)
            total, updates = self._sums.get(label, (torch.zeros_like(means), 0))
            self._sums[label] = (total + means, updates + (index == 0))
        optimizer.step(rate, self._parallel)

    def _rows_of(self, phase: Phase, part: Part, repeat: int) -> Batch:
        if phase.sampling == "category" and self._by_category is not None:
            return self._by_category.batch(part.rng, with_rows=phase.reads_real_data)
        return self._shuffled.batch(self.step * phase.repeats + repeat, part.rows)

    def log_losses(self) -> None:
        """Record the means since the last record, over all ranks.

        Raises:
            TrainingError: one of them is not finite.
        """
        if not self._sums:
            return
        names = [f"{phase}/{term.removeprefix('log_')}" for phase, terms in self._sums for term in terms]
        # One transfer from the device and one sum over ranks, whatever the number of terms.
        totals = torch.cat([total.float() / updates for total, updates in self._sums.values()])
        steps, seconds = self._stepped
        own = torch.zeros(self._parallel.world, device=totals.device)
        own[self._parallel.rank] = (seconds - self._parallel.waited_seconds + self._waited) / max(steps, 1)
        totals = torch.cat([totals, own])
        self._parallel.all_reduce_(totals)
        self._waited = self._parallel.waited_seconds
        values, each = totals.tolist()[: len(names)], totals.tolist()[len(names) :]
        self._sums, self._stepped = {}, (0, 0.0)
        for name, value in zip(names, values, strict=True):
            if not math.isfinite(value):
                raise self._run.failure(f"the loss {name} became {value} before step {self.step}")
        record: dict[str, Any] = {
            "step": self.step,
            "epoch": round(self.step / self.plan.steps_per_epoch, 3),
            "seconds": round(self._run.seconds, 3),
        }
        if seconds > 0:
            record["rows_per_second"] = round(steps * self.plan.batch_rows / seconds, 1)
        if len(each) > 1:
            # Without the time in sums over workers, which is the time that the fast ones wait for the slow.
            record["worker_seconds"] = [round(value, 6) for value in each]
        self._run.record({**record, **dict(zip(names, values, strict=True))})

    def averaged(self) -> GenerativeModel:
        """The averaged model with everything refitted that depends on its weights, in eval mode."""
        self.ema.copy_buffers(self._model)
        rows = self._data.for_finish(self.plan.batch_rows, self._seed)
        with torch.no_grad():
            self.ema.model.finish(rows, rng=self._finish_rng.at("finish"))
        return self.ema.model.eval()

    def settle(self) -> None:
        """Before a checkpoint: refuse weights that are not finite, make weights and running statistics equal
        on all ranks, every one of which must call it."""
        self.log_losses()
        if not bool(self._weights.isfinite().all()):
            raise self._run.failure(f"weights became infinite before step {self.step}")
        if self._parallel.world > 1:
            # The same steps leave the same weights, but processors of another kind round otherwise, and would
            # drift away from rank 0 bit by bit.
            self._parallel.broadcast_(self._weights)
        _average_norms(self._model, self._parallel)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, their averages and the optimizers' moments; random numbers need none, being keyed."""
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.ema.model.state_dict().items()}
        for (stage, phase), optimizer in distinct(self._optimizers).items():
            moments = optimizer.state()
            tensors |= {f"optimizer.{stage}.{phase}.{name}": value for name, value in moments.items()}
        return tensors, {"bf16": self.pacing.pace.bf16}

    def load(self, state: State) -> None:
        """Take over what `state` returned, and the step."""
        self._model.load_state_dict(state.under("model"))
        self.ema.model.load_state_dict(state.under("average"))
        for (stage, phase), optimizer in distinct(self._optimizers).items():
            optimizer.load(state.under(f"optimizer.{stage}.{phase}"))
        self.step = state.data["step"]
        self.pacing.keep_precision(state.data.get("bf16"))


def _average_norms(model: nn.Module, parallel: Parallel) -> None:
    """Running statistics of every BatchNorm become their mean over ranks."""
    if parallel.world == 1:
        return
    # Each rank's have seen other rows; the published model needs one answer.
    norms = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    buffers = [buffer for norm in norms for buffer in norm.buffers() if buffer.is_floating_point()]
    for buffer in buffers:
        parallel.all_reduce_(buffer)
        buffer /= parallel.world
