"""How workers cooperate: the only file that knows ranks. A model, the loop and the optimizers see local rows
and global sums."""

import time
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from synthmill.errors import RecipeError
from synthmill.models.base import GenerativeModel


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

    @property
    def shares_weights(self) -> bool:
        """Whether each worker has a share of every weight, whose gradient is a sum over workers already."""

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
    shares_weights = False
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

    shares_weights = False

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


class SharedWeights(AllReduce):
    """Processes that share a model's weights, gradients and moments (FSDP2, `fully_shard`; ZeRO, arXiv
    1910.02054): each keeps its part, and has the whole of a block only while it computes it.

    The optimizer moves local parts. What reads weights outside a loss (averages, checks, checkpoints) needs
    `gather`, which every process must call.
    """

    shares_weights = True

    def shard_(self, model: GenerativeModel, *, blocks: Sequence[nn.Module] = ()) -> None:
        """Keep this process's part of each weight. `blocks` are modules that the loss calls, inner ones
        first, each gathered alone; all other weights are gathered together.

        Raises:
            RecipeError: a model that can't be trained so; names `model.name`.
        """
        # Only here: it takes a second to import, and few runs shard.
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

        if any(phase.second_order for stage in model.stages() for phase in stage.phases):
            raise RecipeError(
                "takes gradients of gradients, which sharded weights do not have", field="model.name"
            )
        if any(len(stage.phases) > 1 for stage in model.stages()):
            raise RecipeError(
                "moves its networks in turn, which sharded weights can't yet", field="model.name"
            )
        mesh = init_device_mesh(self.device.type, (self.world,))
        for module in (*blocks, model):
            fully_shard(module, mesh=mesh)
        for module in (*blocks, model):
            assert isinstance(module, FSDPModule)
            # A sum, not a mean: losses are weighed by their share of the global batch already.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
        # The loop calls `loss`, not `forward`.
        register_fsdp_forward_method(model, "loss")

    def gather(self, model: nn.Module) -> dict[str, Tensor]:
        """The whole weights, under their plain names, on every process."""
        return {name: whole(tensor) for name, tensor in model.state_dict().items()}


def local(tensor: Tensor) -> Tensor:
    """This process's part of a weight or a gradient, in the same memory; a tensor that is whole, itself."""
    part = getattr(tensor, "_local_tensor", tensor)
    assert isinstance(part, Tensor)
    return part


def whole(tensor: Tensor) -> Tensor:
    """The weight that the processes' parts make up; each must call it."""
    gathered = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    assert isinstance(gathered, Tensor)
    return gathered.detach().clone()


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
