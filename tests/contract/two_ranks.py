"""One of two workers that train every model of the registry for a few steps: `two_ranks.py FOLDER RANK`."""

import sys
from pathlib import Path

import safetensors.torch
import torch.distributed as dist

from contract_cases import case, plain
from encoded import Records, settings
from synthmill import registry
from synthmill.training.loop import train
from synthmill.training.parallel import AllReduce


def main(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name in registry.names("models"):
        model = plain(case(name).fresh())
        if model.stages():
            train(
                model,
                case(name).data,
                settings(max_steps=4, global_batch_rows=111),
                parallel=AllReduce(),
                reporter=Records(),
            )
            if rank == 0:
                weights = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
                (folder / f"{name}.safetensors").write_bytes(safetensors.torch.save(weights))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
