"""Runs `synthmill` as a submitted Ray job: `python -m synthmill.serving.job_entry ACTOR NAMESPACE ARG...`.

The environment that reaches the store holds keys, and Ray shows a job's runtime environment on its dashboard.
So the command fetches it from the state actor, whose name it is given, and then becomes `synthmill`.
"""

import os
import sys

import ray


def main(actor: str, namespace: str, arguments: list[str]) -> None:
    """Fetch the environment and replace this process by the command."""
    ray.init(log_to_driver=False, logging_level="ERROR")
    environment: dict[str, str] = ray.get(ray.get_actor(actor, namespace).environment.remote())
    ray.shutdown()
    os.environ.update(environment)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "synthmill.cli", *arguments])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
