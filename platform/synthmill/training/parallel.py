"""How workers cooperate: the only file that knows ranks. A model, the loop and the optimizers see local rows
and global sums."""

import time
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from synthmill.errors import RecipeError


class Parallel(Protocol):
    """What the loop needs of the other workers."""

    @property
    def rank(self) -> int:
        """0 writes checkpoints, checks quality and decides when to stop."""

    @property
    def world(self) -> int:
        """Number of workers."""

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""

    @property
    def waited_seconds(self) -> float:
        """How long this process has been inside sums over workers: the slowest one waits least."""

    def all_reduce_(self, flat: Tensor) -> None:
        """Replace a tensor by its sum over workers."""

    def broadcast_(self, tensor: Tensor) -> None:
        """Replace a tensor by rank 0's."""

    def barrier(self) -> None:
        """Wait until every worker is here."""


class Single:
    """One process."""

    rank = 0
    world = 1
    waited_seconds = 0.0

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def all_reduce_(self, flat: Tensor) -> None:
        return

    def broadcast_(self, tensor: Tensor) -> None:
        return

    def barrier(self) -> None:
        return


class AllReduce:
    """The processes of `torch.distributed`, which must be initialised (gloo on CPUs, NCCL on GPUs)."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.rank = dist.get_rank()
        self.world = dist.get_world_size()
        self.waited_seconds = 0.0

    def all_reduce_(self, flat: Tensor) -> None:
        started = time.perf_counter()
        dist.all_reduce(flat)
        self.waited_seconds += time.perf_counter() - started

    def broadcast_(self, tensor: Tensor) -> None:
        dist.broadcast(tensor, src=0)

    def barrier(self) -> None:
        dist.barrier()


def local_rows(global_rows: int, row_group: int, rank: int, world: int) -> slice:
    """The rows of a global batch that one rank computes: whole groups, as even as they go.

    Raises:
        RecipeError: more workers than groups.
    """
    groups = global_rows // row_group
    if groups < world:
        raise RecipeError(
            f"{world} workers can't share a batch of {groups} groups of {row_group} rows; use at most"
            f" {groups}",
            field="training.workers",
        )
    return slice(rank * groups // world * row_group, (rank + 1) * groups // world * row_group)
