"""One of two workers, with a share of the weights each or with all of them: `two_sharing.py FOLDER RANK`."""

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed as dist

from contract_cases import case
from encoded import MemoryFolder, Records, layout, settings, table
from synthmill.errors import RecipeError
from synthmill.models.base import GenerativeModel, Phase, build
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.compute import AsWritten, Settings
from synthmill.training.loop import Loop, train
from synthmill.training.optim import PhaseOptimizer
from synthmill.training.parallel import AllReduce, Parallel, SharedWeights, Single, local, local_rows
from synthmill.training.rng import StepRng

ROWS, STEPS = 111, 4
CPU = torch.device("cpu")


def fresh() -> GenerativeModel:
    torch.manual_seed(0)
    sizes = {"embedding_dim": 4, "compress_dims": [33], "decompress_dims": [17]}
    return build("tvae", sizes, layout())


def steps(model: GenerativeModel, phase: Phase, parallel: Parallel) -> None:
    """Some steps of one phase, as the loop takes them."""
    optimizer, data = PhaseOptimizer(model, phase), table(ROWS)
    rows = local_rows(ROWS, 1, parallel.rank, parallel.world)
    compute = AsWritten(model, Settings(CPU, (rows.stop - rows.start) / ROWS, bf16=False))
    rng = StepRng(CPU, 0, ROWS, rows)
    model.train()
    for step in range(STEPS):
        optimizer.forget_gradients()
        compute(phase, optimizer.parameters, data.take(rows), rng=rng.at(step, phase.name, 0), progress=0.0)
        optimizer.step(1.0, parallel)


def otherwise_rounding(rank: int) -> None:
    """Rank 1 rounds otherwise, as a processor of another kind does; a checkpoint sets it right."""
    advance, apart = Loop.advance, []

    def rounded(loop: Loop) -> None:
        advance(loop)
        loop._weights += 1e-4 * rank

    def weights_apart(model: GenerativeModel) -> float:
        own = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        both = own.clone()
        dist.all_reduce(both)
        return float((both - 2 * own).abs().max())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "advance", rounded)
        for folder in (None, MemoryFolder()):
            model, checkpoints = fresh(), None if folder is None else Checkpoints(folder)
            config = settings(max_steps=3)
            train(
                model, table(ROWS), config, parallel=AllReduce(), reporter=Records(), checkpoints=checkpoints
            )
            apart.append(weights_apart(model))
    assert apart[0] > 1e-4, apart
    assert apart[1] == 0.0, apart


def main(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    parallel, model = SharedWeights(), fresh()
    size = sum(parameter.numel() for parameter in model.parameters())
    (phase,) = model.stages()[0].phases
    parallel.shard_(model, blocks=(model.encoder,))
    own = sum(local(parameter).numel() for parameter in model.parameters())
    assert 0.4 * size < own < 0.6 * size, f"{own} of {size} numbers are here"
    steps(model, phase, parallel)
    # Every process must call it; one writes.
    weights = {name: tensor.contiguous() for name, tensor in parallel.gather(model).items()}
    if rank == 0:
        (folder / "weights.safetensors").write_bytes(safetensors.torch.save(weights))
    for name, word in (("wgan_gp", "gradients of gradients"), ("dcgan", "in turn")):
        with pytest.raises(RecipeError, match=word):
            parallel.shard_(case(name).fresh())
    otherwise_rounding(rank)
    dist.destroy_process_group()


def alone() -> dict[str, torch.Tensor]:
    """The same steps by one process."""
    model = fresh()
    (phase,) = model.stages()[0].phases
    steps(model, phase, Single())
    return model.state_dict()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
