"""The Ray Serve application: `serve run synthmill.serving.app:build store=... models=adult@1,digits`.

Postponed annotations must stay out of this file: Ray Serve reads the builder's as a type, to validate
arguments against it. What only a replica needs is imported there: torch alone would hold up the command that
starts the application by two seconds.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig, DeploymentActorConfig

import synthmill
from synthmill import threads
from synthmill.catalog.store import Store
from synthmill.errors import SynthmillError, UserError
from synthmill.runtime import cluster
from synthmill.serving.config import Scaling, ServeArgs
from synthmill.serving.entries import check_models
from synthmill.serving.state import NAME as STATE
from synthmill.serving.state import StateActor, plain

DRAIN_SECONDS = 60.0
"""Time that the requests of a stopping replica have to end."""
# A replica refuses for itself, with a message and counted (guard.py). Ray's limits only keep a flood from its
# memory: they leave room for what a full replica still answers, and for as many connections as HAProxy takes.
SPARE_REQUESTS = 64
RAYS_QUEUE = 4096
RETRY_SECONDS = 1.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class StateLostError(SynthmillError):
    """The state actor's process is gone; Ray Serve starts another within seconds."""


class SharedStateClient:
    """`service.SharedState` over the wire: the state actor, looked up again when it was replaced."""

    def __init__(self) -> None:
        self._actor: Any = None

    def __getattr__(self, name: str) -> Any:
        # Any method of the protocol: the actor's own methods are their definition.
        async def call(*args: Any) -> Any:
            try:
                self._actor = self._actor or serve.get_deployment_actor(STATE)
                return await getattr(self._actor, name).remote(*args)
            except RayTaskError as fault:
                # Ray wraps what an actor raised; the API answers to our own errors.
                if isinstance(fault.cause, SynthmillError):
                    raise fault.cause from None
                raise
            except (RayActorError, ValueError) as fault:
                self._actor = None
                raise StateLostError("the shared state of quotas and jobs is being restarted") from fault

        return call


class Replica:
    """One process that answers requests."""

    async def __init__(self, args: dict[str, Any], environment: dict[str, str]) -> None:  # type: ignore[misc]
        # Before torch loads, which reads it once. `synthmill serve` sets it for the processes of its own Ray;
        # those of an existing cluster have the node's environment.
        threads.bound_spin()
        import torch

        from synthmill.serving.service import Service

        cluster.adopt(environment)
        settings = ServeArgs.model_validate(args)
        # A generating thread is one CPU's: with more, torch would take those of other replicas.
        torch.set_num_threads(1)
        if settings.insecure_local:
            await _require_loopback()
        device = "cuda" if settings.num_gpus > 0 and torch.cuda.is_available() else "cpu"
        context = serve.get_replica_context()
        self.service = Service(
            settings, SharedStateClient(), replica=str(context.replica_id.unique_id), device=device
        )
        await self.service.start()

    def __serve_build_asgi_app__(self) -> Any:
        """Called by Ray Serve after the constructor; a FastAPI application."""
        from synthmill.serving.api import create_app

        return create_app(self.service)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve for the autoscaling policy."""
        return self.service.queue.load()

    async def __del__(self) -> None:
        """Called by Ray Serve once, when no request is left."""
        if hasattr(self, "service"):
            await self.service.close()


def build(args: ServeArgs) -> Application:
    """The application.

    Raises:
        UserError: an argument is wrong, or names a model that is not there; before any cluster work.
    """
    return application(args, runtime_env={"env_vars": worker_variables()})


def application(args: ServeArgs, *, runtime_env: dict[str, Any] | None) -> Application:
    """See `build`; without `runtime_env`, Ray's own processes must have `worker_variables` already. Ray then
    gives the application processes that are ready already, instead of starting new ones."""
    check_models(Store(args.store, args.storage), args.models)
    environment = cluster.environment()
    options = {"runtime_env": runtime_env} if runtime_env else {}
    state = DeploymentActorConfig(
        name=STATE,
        actor_class=ray.remote(StateActor),
        init_kwargs={"args": plain(args), "environment": environment},
        # It waits, mostly: a CPU of its own would be one replica fewer.
        actor_options={"num_cpus": 0, **options},
    )
    deployment = serve.deployment(
        name="Generator",
        ray_actor_options={"num_cpus": args.num_cpus, "num_gpus": args.num_gpus, **options},
        max_ongoing_requests=args.limits.max_ongoing_requests + SPARE_REQUESTS,
        max_queued_requests=RAYS_QUEUE,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_SECONDS),
        autoscaling_config=autoscaling(args.scaling),
        deployment_actors=[state],
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        health_check_period_s=5,
        # A line for each request costs a replica 5% of its time; /metrics counts them.
        logging_config={"enable_access_log": False},
    )
    return deployment(serve.ingress()(Replica)).bind(plain(args), environment)


def autoscaling(scaling: Scaling) -> AutoscalingConfig:
    """Ray Serve's settings for ours."""
    with warnings.catch_warnings():
        # Its replacement, an environment variable, is read by nobody in Ray 2.60.
        warnings.simplefilter("ignore", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
            target_ongoing_requests=scaling.target_ongoing_requests,
            upscale_delay_s=scaling.upscale_delay_s,
            downscale_delay_s=scaling.downscale_delay_s,
            look_back_period_s=scaling.look_back_s,
            metrics_interval_s=scaling.report_s,
            policy={
                "policy_function": "synthmill.serving.autoscale:QueuedRows",
                "policy_kwargs": {
                    "target_rows": scaling.target_queued_rows,
                    "target_requests": scaling.target_ongoing_requests,
                },
            },
        )


def worker_variables() -> dict[str, str]:
    """Environment variables of the processes that the application runs in."""
    root = str(Path(next(iter(synthmill.__path__))).parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        "PYTHONPATH": path,
        # Nothing a replica does blocks its event loop, so it needs no second one; sends then wait for slow
        # clients instead of piling up.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        # Set before torch loads: its threads would spin beside the generating ones.
        "OMP_NUM_THREADS": "1",
    }


async def _require_loopback() -> None:
    # Private: Ray Serve tells a replica nothing of the proxy's address.
    from ray.serve.context import _get_global_client

    options = await _get_global_client()._controller.get_http_config.remote()
    if options.host not in LOOPBACK:
        raise UserError(
            f"Ray Serve listens on {options.host}; without keys it must be 127.0.0.1", field="insecure_local"
        )
