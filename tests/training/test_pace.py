"""Threads and precision: timed where a step is large, fixed where it is small."""

import pytest
import torch

from encoded import MemoryFolder, Records, layout, settings, table
from synthmill.config import TrainingConfig
from synthmill.models.base import GenerativeModel, build
from synthmill.training import pace
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.loop import Outcome, train
from synthmill.training.pace import Choices, Operations, Pace, Pacing, choices_of, choose
from synthmill.training.parallel import Single

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads_as_before() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("two_threads", "bf16", "expected"),
    [
        (0.8, 1.0, Pace(1, False)),
        (0.76, 1.0, Pace(2, False)),
        (1.0, 0.78, Pace(1, False)),
        (1.0, 0.5, Pace(1, True)),
        (0.6, 0.5, Pace(2, True)),
    ],
)
def test_more_is_taken_where_it_is_1_3_times_as_fast(two_threads: float, bf16: float, expected: Pace) -> None:
    def seconds(pace: Pace) -> float:
        return (two_threads if pace.threads == 2 else 1.0) * (bf16 if pace.bf16 else 1.0)

    chosen, timed = choose(Choices((1, 2), (False, True)), seconds)
    assert chosen == expected
    assert timed["fp32-1"] == 1.0
    assert set(timed) == {"fp32-1", "bf16-1", f"{chosen.precision}-2"}


def test_what_a_recipe_states_is_not_chosen() -> None:
    stated = choices_of(settings(threads=3, precision="fp32"), CPU, most_threads=8)
    assert stated == Choices((3,), (False,))
    assert not stated.open
    assert choices_of(settings(threads=None), CPU, most_threads=4).threads == (1, 4)
    assert choices_of(settings(threads=None), CPU, most_threads=1).threads == (1,)


def test_operations_are_those_of_the_products() -> None:
    x_BF, w_GF = torch.zeros(5, 7), torch.zeros(11, 7)
    image_BCHW, kernel = torch.zeros(2, 3, 8, 8), torch.zeros(4, 3, 3, 3)
    for call, expected in (
        (lambda: torch.nn.functional.linear(x_BF, w_GF), 5 * 7 * 11),
        (lambda: x_BF @ w_GF.T, 5 * 7 * 11),
        (lambda: torch.addmm(torch.zeros(11), x_BF, w_GF.T), 5 * 7 * 11),
        (lambda: torch.nn.functional.conv2d(image_BCHW, kernel, padding=1), 2 * 64 * 4 * 27),
        (
            lambda: torch.nn.functional.conv_transpose2d(torch.zeros(2, 4, 8, 8), kernel, stride=2),
            2 * 4 * 64 * 27,
        ),
        (lambda: x_BF + 1, 0),
    ):
        with Operations() as operations:
            call()
        assert operations.count == 2 * expected


class Clock:
    """Steps that take what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
        self.seconds, self.now, self.tried = seconds, 0.0, 0
        monkeypatch.setattr(pace.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(pace, "SMALL_STEP", 1.0)

    def try_step(self, bf16: bool) -> None:
        torch.zeros(4, 4) @ torch.zeros(4, 4)
        self.tried += 1
        self.now += self.seconds[f"{'bf16' if bf16 else 'fp32'}_{torch.get_num_threads()}"]


def pacing(clock: Clock) -> Pacing:
    return Pacing(Choices((1, 2), (False,)), Single(), clock.try_step)


def test_a_step_that_takes_twice_as_long_is_a_reason_to_look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, fp32_1=1.0, fp32_2=0.6)
    steps = pacing(clock)
    assert steps.find()
    assert (steps.pace.threads, torch.get_num_threads()) == (2, 2)
    for seconds, looks in ((0.6, False), (1.1, False), (1.3, True)):
        clock.seconds["fp32_2"] = seconds
        steps.took(seconds)
        assert steps.review() is looks
    assert (steps.pace.threads, torch.get_num_threads()) == (1, 1), "others need the second processor now"
    steps.took(1.0)
    assert not steps.review(), "what is usual now is what the new choice takes"


def test_small_steps_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, fp32_1=1.0, fp32_2=0.1)
    monkeypatch.setattr(pace, "SMALL_STEP", 1e9)
    steps = pacing(clock)
    assert not steps.find()
    assert steps.pace == Pace(1, False)
    assert clock.tried == 1, "only counted"


def test_a_stated_pace_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    steps = Pacing(Choices((1,), (False,)), Single(), clock.try_step)
    assert not steps.find()
    steps.took(1.0)
    assert not steps.review()
    assert clock.tried == 0


def model() -> GenerativeModel:
    torch.manual_seed(0)
    return build("ctgan", {"embedding_dim": 4, "generator_dim": [8], "discriminator_dim": [8]}, layout())


def run(config: TrainingConfig, **others: object) -> Outcome:
    return train(model(), table(), config, parallel=Single(), reporter=Records(), **others)  # type: ignore[arg-type]


def test_timing_changes_no_weight_and_is_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(max_steps=6, threads=None)
    plain = run(config)
    monkeypatch.setattr(pace, "SMALL_STEP", 1.0)
    monkeypatch.setattr(pace, "GAIN", 1e9)
    timed = run(config, most_threads=2)
    for name, value in plain.state_dict.items():
        assert torch.equal(value, timed.state_dict[name]), name
    assert timed.history[0]["threads"] == timed.threads == 1
    assert timed.history[0]["precision"] == timed.precision == "fp32"
    assert set(timed.history[0]["step_seconds"]) == {"fp32-1", "fp32-2"}
    assert "threads" not in plain.history[0]


def test_the_process_has_its_threads_back() -> None:
    torch.set_num_threads(2)
    assert run(settings(max_steps=2, threads=1)).threads == 1
    assert torch.get_num_threads() == 2


def test_a_resumed_run_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(pace, "SMALL_STEP", 1.0)
    monkeypatch.setattr(pace, "GAIN", 0.0)
    folder = MemoryFolder()

    class StoppedError(Exception):
        pass

    steps = iter([False] * 3)

    def stop() -> bool:
        if next(steps, True):
            raise StoppedError
        return False

    config = settings(max_steps=6, precision="auto", checkpoint_seconds=1e-9)
    with pytest.raises(StoppedError):
        run(config, checkpoints=Checkpoints(folder), should_stop=stop)
    monkeypatch.setattr(pace, "GAIN", 1e9)
    assert run(config, checkpoints=Checkpoints(folder)).precision == "bf16"
    assert run(config).precision == "fp32"
