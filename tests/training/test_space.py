from synthmill.config import FrozenModel, tunable
from synthmill.models.base import model_class
from synthmill.training.space import Choice, Range, search_space


def test_every_tunable_field_of_ctgan_is_found() -> None:
    space = search_space(model_class("ctgan").Config)
    assert space["generator_lr"] == Range(5e-5, 2e-3, log=True, integer=False)
    assert space["pac"] == Choice((1, 5, 10))
    assert "tau" not in space


def test_nested_configurations_and_whole_numbers() -> None:
    class Inner(FrozenModel):
        depth: int = tunable(2, low=1, high=4)

    class Outer(FrozenModel):
        inner: Inner = Inner()
        widths: tuple[int, ...] = tunable((8, 8), choices=((8, 8), (16,)))

    assert search_space(Outer) == {
        "inner.depth": Range(1, 4, log=False, integer=True),
        "widths": Choice(((8, 8), (16,))),
    }
