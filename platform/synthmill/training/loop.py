"""The one loop: stages of phases, each with its loss, optimizer and rows; averages, checks, checkpoints and
the end of a run.

A step's result depends on the data, the recipe and the step's number only: rows and noise are drawn for the
global batch by (seed, step, phase, repeat, name), dropout by (seed, step, rank). Workers, restarts and the
clock change nothing but when it ends.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from synthmill.config import TrainingConfig
from synthmill.data.batch import Batch
from synthmill.errors import DataError, RecipeError, TrainingError
from synthmill.models.base import GenerativeModel, Phase
from synthmill.training import precision
from synthmill.training.checkpoint import Checkpoints, State
from synthmill.training.collapse import CollapseWatch
from synthmill.training.compute import Settings, make_compute
from synthmill.training.ema import Ema
from synthmill.training.optim import PhaseOptimizer, distinct, flatten, optimizers_of
from synthmill.training.parallel import Parallel, local_rows
from synthmill.training.plan import Plan, make_plan
from synthmill.training.reporter import Reporter
from synthmill.training.rng import StepRng, key
from synthmill.training.rows import ByCategory, Shuffled, category_spans, chunks
from synthmill.training.schedule import factor
from synthmill.training.selection import Candidate, Selection


class Quality(Protocol):
    """A quality check: the score (higher is better), its standard error `noise`, and what else is worth
    recording."""

    @property
    def rows(self) -> int:
        """Rows it samples."""

    @property
    def sheet(self) -> bytes | None:
        """A PNG of what the last check sampled, where that can be seen."""

    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        """At least `score` and `noise`."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: weights to publish (on the CPU; empty on ranks above 0) and how it went."""

    state_dict: dict[str, Tensor]
    history: list[dict[str, Any]]
    steps: int
    seconds: float
    best: dict[str, Any] | None
    """The check that chose the weights: `step`, `score`, `noise` and its details; None without checks."""


def train(
    model: GenerativeModel,
    data: Batch,
    config: TrainingConfig,
    *,
    parallel: Parallel,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
    quality: Quality | None = None,
    should_stop: Callable[[], bool] | None = None,
    run_key: str = "",
) -> Outcome:
    """Train `model` (on `parallel.device`, same weights on every rank) on all rows of `data` (the same on
    every rank).

    `run_key` is what a checkpoint must have to be resumed. `should_stop` ends the run early, as a time limit
    does.

    Raises:
        TrainingError: a loss that is not finite, or images that lost all variety; the newest checkpoint is
        from before it. RecipeError: more workers than row groups, or nothing to resume with `resume: always`.
        DataError: no rows.
    """
    return _Run(model, data, config, parallel, reporter, checkpoints, quality, should_stop, run_key).outcome()


class _Run:
    def __init__(
        self,
        model: GenerativeModel,
        data: Batch,
        config: TrainingConfig,
        parallel: Parallel,
        reporter: Reporter,
        checkpoints: Checkpoints | None,
        quality: Quality | None,
        should_stop: Callable[[], bool] | None,
        run_key: str,
    ) -> None:
        self.model, self.data, self.config, self.parallel, self.reporter = (
            model,
            data,
            config,
            parallel,
            reporter,
        )
        self.checkpoints, self.quality, self.should_stop, self.run_key = (
            checkpoints,
            quality,
            should_stop,
            run_key,
        )
        if data.num_rows < model.row_group:
            raise DataError(
                f"{data.num_rows} training rows; at least {model.row_group} are needed", field="data.source"
            )
        self.plan: Plan = make_plan(
            config, model.stages(), data.num_rows, model.row_group, quality.rows if quality else 0
        )
        self.local = local_rows(self.plan.batch_rows, model.row_group, parallel.rank, parallel.world)
        self.share = (self.local.stop - self.local.start) / self.plan.batch_rows
        self.rng = StepRng(parallel.device, config.seed, self.plan.batch_rows, self.local)
        self.finish_rng = StepRng(
            parallel.device, config.seed, self.plan.batch_rows, slice(0, self.plan.batch_rows)
        )
        precision.lay_out(model, config.channels_last, parallel.device)
        settings = Settings(
            parallel.device, self.share, precision.use_bf16(config.precision, parallel.device)
        )
        self.compute = make_compute(model, config, settings, self._say)
        self.ema = Ema(model)
        self.weights = flatten(model)
        self.parameters = list(model.parameters())
        self.optimizers = optimizers_of(model, [span.stage for span in self.plan.stages])
        self.shuffled = Shuffled(data, self.plan.batch_rows, config.seed, parallel.device)
        sampled = any(
            phase.sampling == "category" for span in self.plan.stages for phase in span.stage.phases
        )
        self.by_category = (
            ByCategory(data, model.layout) if sampled and category_spans(model.layout) else None
        )
        self.selection = Selection()
        self.watch = CollapseWatch()
        self.out_of_patience = self.suspicious = False
        """As rank 0 saw them at the last check."""
        self.history: list[dict[str, Any]] = []
        self.step = 0
        self.sums: dict[tuple[str, tuple[str, ...]], tuple[Tensor, int]] = {}
        """(phase, terms) -> sums of their local shares since the last record, and of how many updates."""
        self.seconds_before = 0.0
        self.started = self.saved = time.monotonic()
        self.finished = False
        self.checked_step = -1

    def outcome(self) -> Outcome:
        self._announce()
        self._resume()
        self.model.train()
        stop = self.finished
        while not stop and self.step < self.plan.total_steps:
            self._step()
            self.step += 1
            self.ema.update(self.weights, self.step)
            last = self.step == self.plan.total_steps
            if last or self.step % self.plan.log_every_steps == 0:
                self._log_losses()
            stop, save, check = self._control(last)
            if check:
                self._check()
                stop = stop or self.out_of_patience
            if save and not (stop or last or self.suspicious):
                self._save()
        if not self.finished:
            self._finish()
        return self._publish()

    def _step(self) -> None:
        span = self.plan.at(self.step)
        torch.manual_seed(key(self.config.seed, "dropout", self.step, self.parallel.rank))
        progress = (self.step - span.first) / (span.last - span.first)
        for phase in span.stage.phases:
            if self.step % phase.every_steps:
                continue
            optimizer = self.optimizers[span.stage.name, phase.name]
            self._move_only(optimizer)
            rate = factor(
                phase.optimizer.schedule,
                phase.optimizer.warmup_steps,
                self.step - span.first,
                span.last - span.first,
            )
            for repeat in range(phase.repeats):
                self._update(phase, optimizer, repeat, progress, rate)

    def _move_only(self, optimizer: PhaseOptimizer) -> None:
        """Gradients for this phase's parameters alone."""
        for parameter in self.parameters:
            parameter.requires_grad = False
        for parameter in optimizer.parameters:
            parameter.requires_grad = True

    def _update(
        self, phase: Phase, optimizer: PhaseOptimizer, repeat: int, progress: float, rate: float
    ) -> None:
        rng = self.rng.at(self.step, phase.name, repeat)
        if phase.sampling == "category" and self.by_category is not None:
            batch = self.by_category.batch(rng, with_rows=phase.reads_real_data)
        else:
            batch = self.shuffled.batch(self.step * phase.repeats + repeat, self.local)
        optimizer.forget_gradients()
        terms, means = self.compute(phase, optimizer.parameters, batch, rng=rng, progress=progress)
        optimizer.step(rate, self.parallel)
        label = (phase.name, terms)
        total, updates = self.sums.get(label, (torch.zeros_like(means), 0))
        self.sums[label] = (total + means, updates + 1)

    def _control(self, last: bool) -> tuple[bool, bool, bool]:
        """(stop, save, check) as rank 0 sees it. Checks depend on the step alone."""
        check = self.quality is not None and (last or self.step % self.plan.check_every_steps == 0)
        if self.parallel.rank == 0:
            now = time.monotonic()
            out_of_time = self.config.max_seconds is not None and self._seconds() >= self.config.max_seconds
            stop = out_of_time or (self.should_stop is not None and self.should_stop())
            save = self.checkpoints is not None and now - self.saved >= self.config.checkpoint_seconds
        else:
            stop = save = False
        if self.parallel.world > 1:
            flags = torch.tensor([stop, save], dtype=torch.int64, device=self.parallel.device)
            self.parallel.broadcast_(flags)
            stop, save = (bool(flag) for flag in flags.tolist())
        return stop, save, check

    def _log_losses(self) -> None:
        """Means since the last record, over all ranks; the place where a loss that is not finite is
        noticed."""
        if not self.sums:
            return
        names = [f"{phase}/{term.removeprefix('log_')}" for phase, terms in self.sums for term in terms]
        totals = torch.cat([total.float() / updates for total, updates in self.sums.values()])
        self.parallel.all_reduce_(totals)
        values = totals.tolist()
        self.sums = {}
        for name, value in zip(names, values, strict=True):
            if not math.isfinite(value):
                raise self._gone_wrong(f"the loss {name} became {value} before step {self.step}")
        epoch = self.step / self.plan.steps_per_epoch
        record: dict[str, Any] = {
            "step": self.step,
            "epoch": round(epoch, 3),
            "seconds": round(self._seconds(), 3),
        }
        self._record({**record, **dict(zip(names, values, strict=True))})

    def _check(self) -> None:
        """Rank 0 scores the averaged weights; all learn whether patience has run out or the model has
        collapsed."""
        self._log_losses()
        self.checked_step = self.step
        wrong = self._score() if self.parallel.rank == 0 and self.quality is not None else ""
        patience = self.config.patience_checks
        late = patience is not None and self.selection.checks_without_improvement >= patience
        flags = torch.tensor(
            [late, self.watch.suspicious, bool(wrong)], dtype=torch.int64, device=self.parallel.device
        )
        self.parallel.broadcast_(flags)
        self.out_of_patience, self.suspicious, stopped = (bool(flag) for flag in flags.tolist())
        if stopped:
            if self.checkpoints is not None and self.watch.good_step is not None:
                self.checkpoints.forget_after(self.watch.good_step)
            raise self._gone_wrong(wrong or "worker 0 saw the generator fail")

    def _score(self) -> str:
        """What is wrong with the averaged weights, or nothing; candidates and history take in what is
        measured."""
        assert self.quality is not None
        started = time.monotonic()
        self._refit()
        try:
            with torch.inference_mode():
                found = {name: float(value) for name, value in self.quality(self.ema.model).items()}
        except TrainingError as fault:
            return str(fault)
        found["check_seconds"] = round(time.monotonic() - started, 4)
        state = {
            name: tensor.detach().to("cpu", copy=True) for name, tensor in self.ema.model.state_dict().items()
        }
        self.selection.add(Candidate(self.step, found["score"], found["noise"], found, state))
        self._record({"step": self.step, "quality": found})
        if self.quality.sheet is not None:
            self.reporter.log({"step": self.step, "sheet": self.quality.sheet})
        return self.watch.see(self.step, found)

    def _gone_wrong(self, what: str) -> TrainingError:
        kept = (
            "the last good checkpoint was kept"
            if self.checkpoints is not None
            else "no checkpoints were written"
        )
        return TrainingError(f"{what}; {kept}; try a lower learning rate")

    def _refit(self) -> None:
        self.ema.copy_buffers(self.model)
        with torch.no_grad():
            self.ema.model.finish(chunks(self.data, self.plan.batch_rows), rng=self.finish_rng.at("finish"))
        self.ema.model.eval()

    def _finish(self) -> None:
        self._log_losses()
        if self.quality is not None and self.checked_step != self.step:
            self._check()
        if self.quality is None and self.parallel.rank == 0:
            self._refit()
        self.finished = True
        self._save()

    def _publish(self) -> Outcome:
        chosen = self.selection.chosen
        if self.parallel.rank != 0:
            state: dict[str, Tensor] = {}
        elif chosen is not None:
            state = dict(chosen.state)
        else:
            state = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in self.ema.model.state_dict().items()
            }
        best = None if chosen is None else {"step": chosen.step, **chosen.details}
        return Outcome(state, list(self.history), self.step, self._seconds(), best)

    def _save(self) -> None:
        """Every rank takes part (BatchNorm buffers are averaged); rank 0 writes."""
        if self.checkpoints is None:
            return
        self._log_losses()
        if not bool(self.weights.isfinite().all()):
            raise self._gone_wrong(f"weights became infinite before step {self.step}")
        _average_norms(self.model, self.parallel)
        if self.parallel.rank == 0:
            self.checkpoints.save(self.step, self._state(), good_step=self.watch.good_step)
        self.saved = time.monotonic()

    def _state(self) -> State:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.ema.model.state_dict().items()}
        for (stage, phase), optimizer in distinct(self.optimizers).items():
            tensors |= {
                f"optimizer.{stage}.{phase}.{name}": value for name, value in optimizer.state().items()
            }
        kept = []
        for index, candidate in enumerate(self.selection.candidates):
            tensors |= {f"candidate{index}.{name}": value for name, value in candidate.state.items()}
            kept.append(
                {
                    "step": candidate.step,
                    "score": candidate.score,
                    "noise": candidate.noise,
                    "details": dict(candidate.details),
                }
            )
        data = {
            "run_key": self.run_key,
            "step": self.step,
            "seconds": self._seconds(),
            "finished": self.finished,
            "checked_step": self.checked_step,
            "history": self.history,
            "candidates": kept,
            "checks_without_improvement": self.selection.checks_without_improvement,
        }
        return State(tensors, data)

    def _resume(self) -> None:
        state = None
        if self.checkpoints is not None and self.config.resume != "never":
            state = self.checkpoints.latest()
            if state is not None and state.data["run_key"] != self.run_key:
                state = None
        self.parallel.barrier()
        if (
            state is not None
            and self.checkpoints is not None
            and self.checkpoints.damage
            and self.parallel.rank == 0
        ):
            self.reporter.log(
                {"message": f"{'; '.join(self.checkpoints.damage)}: an older checkpoint is taken"}
            )
            self.checkpoints.forget_after(state.data["step"])
        if state is None:
            if self.config.resume == "always":
                raise RecipeError(
                    "there is no checkpoint of this recipe to go on from; use if-possible",
                    field="training.resume",
                )
            return
        self.model.load_state_dict(state.under("model"))
        self.ema.model.load_state_dict(state.under("average"))
        for (stage, phase), optimizer in distinct(self.optimizers).items():
            optimizer.load(state.under(f"optimizer.{stage}.{phase}"))
        data = state.data
        self.step, self.seconds_before, self.finished, self.history = (
            data["step"],
            data["seconds"],
            data["finished"],
            data["history"],
        )
        self.checked_step = data["checked_step"]
        kept = [
            Candidate(**fields, state=state.under(f"candidate{index}"))
            for index, fields in enumerate(data["candidates"])
        ]
        self.selection = Selection(kept, data["checks_without_improvement"])
        for record in self.history:
            self.watch.see(record["step"], record.get("quality", {}))
        self.reporter.log({"message": f"resumed at step {self.step} of {self.plan.total_steps}"})

    def _announce(self) -> None:
        if self.plan.batch_rows < self.config.global_batch_rows and self.parallel.rank == 0:
            asked = self.config.global_batch_rows
            self.reporter.log(
                {
                    "message": (
                        f"batch of {asked} rows reduced to {self.plan.batch_rows}: {self.data.num_rows}"
                        " training rows"
                    )
                }
            )

    def _say(self, message: str) -> None:
        if self.parallel.rank == 0:
            self.reporter.log({"message": message})

    def _record(self, record: dict[str, Any]) -> None:
        if self.parallel.rank == 0:
            self.history.append(record)
            self.reporter.log(record)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started


def _average_norms(model: nn.Module, parallel: Parallel) -> None:
    """Running statistics of every BatchNorm become their mean over ranks."""
    if parallel.world == 1:
        return
    norms = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    buffers = [buffer for norm in norms for buffer in norm.buffers() if buffer.is_floating_point()]
    for buffer in buffers:
        parallel.all_reduce_(buffer)
        buffer /= parallel.world
