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
from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from synthmill.errors import SynthmillError
from synthmill.runtime import cluster
from synthmill.runtime.together import together
from synthmill.runtime.trial import Shared, look_folder, reset_process, train_share
from synthmill.runtime.worker import OUTCOME
from synthmill.training.artifact import Fitted
from synthmill.training.parallel import Parallel
from synthmill.training.run_state import Orders
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
    roster: Any

    def run(self, parallel: Parallel, orders: Orders | None = None) -> dict[str, Any]:
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
    number = proposal.number
    rows, environment = ray.put(shared), ray.put(dict(shared.environment))
    # What an earlier process of this trial left behind.
    release(number)
    try:
        result = together(
            lambda roster: Share(proposal, share, deadline, rows, environment, roster),
            workers=shared.recipe["training"]["workers"],
            resources={**shared.resources, "memory": _mark(number)},
            max_failures=shared.recipe["training"]["max_failures"],
        )
    finally:
        # Ray Train's own process may have been lost.
        release(number)
    if isinstance(result, SynthmillError):
        raise result
    weights = safetensors.torch.load(look_folder(shared.folder, number, share).read_bytes(OUTCOME))
    return Fitted(weights, json.loads(result["history"]), result["summary"]), result["cut"]


def release(number: int) -> None:
    """End the workers of a trial that lost the process which led them, and give back their places.

    Ray keeps a group of places until its whole job ends, and Ray Train's cleaner asks a dashboard that need
    not be there: the search would wait for ever for CPUs that nobody uses.
    """
    # Groups of other jobs of the cluster may look the same; an id ends with its job's.
    job = ray.get_runtime_context().get_job_id()
    for key, group in placement_group_table().items():
        memory = {bundle.get("memory") for bundle in group["bundles"].values()}
        if memory == {_mark(number)} and key.endswith(job) and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(key))))


def _mark(number: int) -> float:
    """Bytes of memory that workers of a trial ask for: groups that Ray Train makes have no name."""
    return float(2 + number)
