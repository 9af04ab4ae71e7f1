"""With how many threads, and in which precision, steps are computed on a CPU: as timed before the first one.

More threads are taken only where they are at least 1.3 times as fast as one, as other processes need the
processor too, and bf16 likewise. Both change what is computed (threads the last bits, bf16 more), so that a
choice which came out differently in two runs would make two models of one recipe. Small steps, which gain
nothing, are therefore not timed: they take one thread and fp32, always. A resumed run keeps
its precision, and whoever needs equal bits from large steps sets `training.threads` and `training.precision`.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from synthmill.config import TrainingConfig
from synthmill.training import precision
from synthmill.training.parallel import Parallel

GAIN = 1.3
SLOWER = 2.0
"""A step that takes so many times as long as it did is a reason to look again."""
SMALL_STEP = 2e9
"""Floating-point operations, forward and backward, of a step that is not worth timing: some 20 ms of one
thread. Steps of 1e9 took 12.8 ms with one thread and 9.4 with two, steps of 4e9 38 and 24."""
TRIALS = 4
TRIAL_SECONDS = 2.0


@dataclass(frozen=True)
class Pace:
    """How steps are computed."""

    threads: int
    bf16: bool

    @property
    def precision(self) -> str:
        """As recipes name it."""
        return "bf16" if self.bf16 else "fp32"


@dataclass(frozen=True)
class Choices:
    """What a run may take; a recipe that states a value leaves one."""

    threads: tuple[int, ...]
    """1 first, or the stated number alone."""
    bf16: tuple[bool, ...]
    """False first, or the stated precision alone."""

    @property
    def plain(self) -> Pace:
        """What small steps take."""
        return Pace(self.threads[0], self.bf16[0])

    @property
    def open(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.threads) > 1 or len(self.bf16) > 1


def choose(choices: Choices, seconds_at: Callable[[Pace], float]) -> tuple[Pace, dict[str, float]]:
    """The pace to take, and the seconds of a step at each pace that was timed."""
    seconds: dict[Pace, float] = {}

    def of(pace: Pace) -> float:
        if pace not in seconds:
            seconds[pace] = seconds_at(pace)
        return seconds[pace]

    best = choices.plain
    # Precision first: it needs no processor more, so it may make another thread superfluous.
    for bf16 in choices.bf16[1:]:
        other = Pace(best.threads, bf16)
        best = other if of(best) >= GAIN * of(other) else best
    for threads in choices.threads[1:]:
        other = Pace(threads, best.bf16)
        best = other if of(best) >= GAIN * of(other) else best
    return best, {f"{pace.precision}-{pace.threads}": round(each, 5) for pace, each in seconds.items()}


class Pacing:
    """The pace of one process of a run. `try_step(bf16)` computes a step of no consequence."""

    def __init__(self, choices: Choices, parallel: Parallel, try_step: Callable[[bool], None]) -> None:
        self._choices, self._parallel, self._try_step = choices, parallel, try_step
        self.pace = choices.plain
        self.timed: dict[str, float] = {}
        """Seconds of a step at each pace that was timed last, as '<precision>-<threads>'."""
        self._spent, self._steps = 0.0, 0
        self._usual: float | None = None
        """Seconds of a step soon after the pace was chosen."""

    def find(self) -> bool:
        """Choose before the first step; whether anything was timed."""
        timed = self._choices.open and self._operations() >= SMALL_STEP
        if timed:
            self._choose(self._choices)
        torch.set_num_threads(self.pace.threads)
        return timed

    def took(self, seconds: float) -> None:
        """A step took so long."""
        self._spent, self._steps = self._spent + seconds, self._steps + 1

    def review(self) -> bool:
        """Choose the number of threads again when steps have come to take twice as long: other processes came
        or went, or the model has grown. Precision stays, or the weights would be of two kinds. Whether
        anything was timed."""
        if self._steps == 0 or len(self._choices.threads) == 1:
            return False
        mean, self._spent, self._steps = self._spent / self._steps, 0.0, 0
        if self._usual is None:
            self._usual = mean
        # Only rank 0's clock counts: ranks that disagreed would wait for each other.
        slower = torch.tensor([mean >= SLOWER * self._usual], dtype=torch.int64, device=self._parallel.device)
        if self._parallel.world > 1:
            self._parallel.broadcast_(slower)
        if not bool(slower) or self._operations() < SMALL_STEP:
            return False
        self._choose(Choices(self._choices.threads, (self.pace.bf16,)))
        self._usual = None
        return True

    def keep_precision(self, bf16: bool | None) -> None:
        """Go on as a checkpoint did. Those of earlier versions don't say, and used bf16 where it exists."""
        bf16 = self._choices.bf16[-1] if bf16 is None else bf16
        self._choices = Choices(self._choices.threads, (bf16,))
        self.pace = self._choices.plain

    def _choose(self, choices: Choices) -> None:
        self.pace, self.timed = choose(choices, self._seconds_at)
        if self._parallel.world > 1:
            flags = torch.tensor([self.pace.threads, self.pace.bf16], device=self._parallel.device)
            self._parallel.broadcast_(flags)
            self.pace = Pace(int(flags[0]), bool(flags[1]))
        torch.set_num_threads(self.pace.threads)

    def _seconds_at(self, pace: Pace) -> float:
        """The best of a few, as other processes interfere, and the first pays for memory and kernels."""
        torch.set_num_threads(pace.threads)
        best, spent = math.inf, 0.0
        for trial in range(TRIALS):
            started = time.perf_counter()
            self._try_step(pace.bf16)
            seconds = time.perf_counter() - started
            best, spent = min(best, seconds), spent + seconds
            # Two long steps are enough: four at each pace could take half a minute.
            if trial and spent > TRIAL_SECONDS:
                break
        return best

    def _operations(self) -> float:
        """Floating-point operations of a step; a backward pass costs about two forward ones."""
        torch.set_num_threads(self.pace.threads)
        with Operations() as operations:
            self._try_step(False)
        return 3.0 * float(operations.count)


def choices_of(config: TrainingConfig, device: torch.device, most_threads: int) -> Choices:
    """What a recipe leaves open on this device, with so many CPUs."""
    if config.threads is not None:
        threads: tuple[int, ...] = (config.threads,)
    elif device.type == "cuda":
        # The processor only feeds the device; threads that wait beside it cost little.
        threads = (most_threads,)
    else:
        threads = (1, most_threads) if most_threads > 1 else (1,)
    return Choices(threads, precision.choices(config.precision, device))


class Operations(TorchFunctionMode):
    """Counts floating-point operations of matrix products and convolutions, forward only. The same for every
    run of a recipe, as no clock is."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in PRODUCTS and isinstance(result, torch.Tensor):
            left, right = PRODUCTS[name]
            if left < len(args) and right < len(args):
                self.count += 2 * _products(name, args[left], args[right], result)
        return result


PRODUCTS = {
    "linear": (0, 1),
    "matmul": (0, 1),
    "__matmul__": (0, 1),
    "mm": (0, 1),
    "bmm": (0, 1),
    "addmm": (1, 2),
    "baddbmm": (1, 2),
    "conv1d": (0, 1),
    "conv2d": (0, 1),
    "conv_transpose1d": (0, 1),
    "conv_transpose2d": (0, 1),
}
"""Functions with the places of their factors among the arguments."""


def _products(name: str, left: torch.Tensor, right: torch.Tensor, result: torch.Tensor) -> int:
    """Multiplications of one call."""
    if name.startswith("conv_transpose"):
        # Every input value is multiplied by the kernel of each output channel of its group.
        return left.numel() * math.prod(right.shape[1:])
    if name.startswith("conv"):
        return result.numel() * math.prod(right.shape[1:])
    return result.numel() * left.shape[-1]
