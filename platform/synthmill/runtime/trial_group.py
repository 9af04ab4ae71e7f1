"""A trial of several processes: each look is a run of Ray Train inside the trial.

The trial's own process takes no CPU of Ray's: it waits while its workers train, and scores when they are
gone. So a trial asks for its workers alone, and as many trials run at once as there are whole groups of
workers in the cluster: nobody waits for what another one holds.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import ray
import safetensors.torch

from synthmill.errors import SynthmillError
from synthmill.runtime import cluster
from synthmill.runtime.fit import together
from synthmill.runtime.trial import Shared, look_folder, reset_process, train_share
from synthmill.runtime.worker import OUTCOME
from synthmill.training.artifact import Fitted
from synthmill.training.parallel import Parallel
from synthmill.tuning.search import Proposal


@dataclass(frozen=True)
class Share:
    """What the workers of a look need; see `worker.Together`."""

    proposal: Proposal
    share: float
    deadline: float | None
    shared: Any
    """Reference to the search's `Shared`: it holds the rows."""
    environment: Any
    ending: Any

    def run(self, parallel: Parallel) -> dict[str, Any]:
        """Train, and leave the weights in the trial's folder; the rest comes back."""
        reset_process()
        shared: Shared = ray.get(self.shared)
        model, cut = train_share(shared, self.proposal, self.share, parallel, self.deadline)
        if parallel.rank == 0:
            # Not through Ray's object store: weights may be larger than it.
            folder = look_folder(shared.folder, self.proposal.number, self.share)
            folder.write_bytes(OUTCOME, safetensors.torch.save(dict(model.weights)))
        # As text: Ray Train hands over what a worker returned as it is, but a NaN in it need not survive.
        return {"history": json.dumps(model.history), "summary": model.summary, "cut": cut}


def train_in_group(
    shared: Shared, proposal: Proposal, share: float, deadline: float | None
) -> tuple[Fitted, bool]:
    """What `train_share` returns, computed by `training.workers` processes.

    Raises:
        SynthmillError: what a worker raised on purpose, or TrainingError for workers that were lost.
    """
    # On a cluster that was there before, this process does not inherit what its driver set.
    for key, value in cluster.ANYWHERE.items():
        os.environ.setdefault(key, value)
    rows, environment = ray.put(shared), ray.put(dict(shared.environment))
    result = together(
        lambda ending: Share(proposal, share, deadline, rows, environment, ending),
        workers=shared.recipe["training"]["workers"],
        resources=shared.resources,
        max_failures=shared.recipe["training"]["max_failures"],
    )
    if isinstance(result, SynthmillError):
        raise result
    weights = safetensors.torch.load(look_folder(shared.folder, proposal.number, share).read_bytes(OUTCOME))
    return Fitted(weights, json.loads(result["history"]), result["summary"]), result["cut"]
