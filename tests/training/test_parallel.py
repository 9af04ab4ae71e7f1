import pytest
import torch

from synthmill.errors import RecipeError
from synthmill.training.parallel import Single, local_rows
from synthmill.training.rng import StepRng, key

CPU = torch.device("cpu")


@pytest.mark.parametrize(("rows", "group", "world"), [(500, 10, 3), (500, 1, 7), (110, 10, 2), (6, 2, 3)])
def test_ranks_share_a_batch_in_whole_groups(rows: int, group: int, world: int) -> None:
    shares = [local_rows(rows, group, rank, world) for rank in range(world)]
    assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
    assert all(share.start % group == 0 for share in shares)
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= group


def test_more_workers_than_groups_is_refused() -> None:
    with pytest.raises(
        RecipeError,
        match=r"training\.workers: 6 workers can't share a batch of 5 groups of 10 rows; use at most 5",
    ):
        local_rows(50, 10, 0, 6)


def test_ranks_draw_their_rows_of_the_same_numbers() -> None:
    whole = StepRng(CPU, 7, 100, slice(0, 100)).at(3, "phase", 0)
    parts = [StepRng(CPU, 7, 100, share).at(3, "phase", 0) for share in (slice(0, 30), slice(30, 100))]
    assert torch.equal(whole.normal("z", 4), torch.cat([part.normal("z", 4) for part in parts]))
    assert torch.equal(whole.uniform("u"), torch.cat([part.uniform("u") for part in parts]))
    assert torch.equal(whole.integers("i", 9, 2), torch.cat([part.integers("i", 9, 2) for part in parts]))
    assert int(whole.integers("i", 9, 2).max()) <= 8


def test_draws_are_keyed_by_place_and_name_not_by_order() -> None:
    rng = StepRng(CPU, 7, 10, slice(0, 10))
    first = rng.at(3, "phase", 0).normal("z")
    assert torch.equal(first, rng.at(3, "phase", 0).normal("z"))
    for other in (
        rng.at(4, "phase", 0).normal("z"),
        rng.at(3, "phase", 1).normal("z"),
        rng.at(3, "phase", 0).normal("y"),
    ):
        assert not torch.equal(first, other)
    assert key(1, "a") != key("1/a", "")


def test_one_process_changes_nothing() -> None:
    tensor = torch.ones(3)
    Single().all_reduce_(tensor)
    Single().broadcast_(tensor)
    assert torch.equal(tensor, torch.ones(3))
