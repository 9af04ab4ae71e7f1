"""All settings of the application: arguments of `serve run serve.app:build`, of `args:` in a Serve
config, of `synthmill serve`."""

import os
import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from synthmill.config import NAME_PATTERN, FrozenModel, StorageConfig

MODEL_REF = re.compile(NAME_PATTERN.rstrip("$") + r"(?:@[1-9][0-9]{0,8})?\Z")
KEYS_FILE = "serve-keys.json"


class Limits(FrozenModel):
    """What one request, and what all waiting requests of a replica, may have."""

    max_rows: int = Field(10_000_000, ge=1)
    """Rows in one request; larger ones are for `POST /v1/jobs`."""
    max_images: int = Field(64, ge=1)
    """Images in one request."""
    max_pixels: int = Field(2**26, ge=1)
    """Pixels of all images of one request that states a size: n x width x height."""
    max_body_bytes: int = Field(65_536, ge=1024)
    """Size of a request's body."""
    max_queued_rows: int = Field(65_536, ge=1)
    """Rows of small requests that may wait in one replica; above it: 429."""
    max_streams: int = Field(8, ge=1)
    """Large requests that one replica answers at a time; above it: 429."""
    max_ongoing_requests: int = Field(768, ge=1)
    """Requests for rows, images and jobs that one replica has taken and not yet answered; above it: 429."""
    max_jobs: int = Field(2, ge=1)
    """Jobs that run at a time; others wait."""
    max_waiting_jobs: int = Field(100, ge=1)
    """Jobs that may wait; above it: 429."""


class Scaling(FrozenModel):
    """How many replicas there are, and when that changes."""

    min_replicas: int = Field(1, ge=1)
    """Replicas without load."""
    max_replicas: int = Field(4, ge=1)
    """Replicas at most."""
    target_queued_rows: int = Field(4096, ge=1)
    """Unanswered rows that one replica should have; more of them call for more replicas."""
    target_ongoing_requests: float = Field(32.0, gt=0)
    """Unanswered requests that one replica should have."""
    upscale_delay_s: float = Field(1.0, ge=0)
    """How long there must be too few replicas before more are started."""
    downscale_delay_s: float = Field(60.0, ge=0)
    """How long there must be too many replicas before some are stopped."""
    look_back_s: float = Field(3.0, gt=0)
    """Time over which load is averaged."""
    report_s: float = Field(1.0, gt=0)
    """Time between two reports of a replica's load."""

    @model_validator(mode="after")
    def _ordered(self) -> "Scaling":
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas ({self.max_replicas}) is below min_replicas ({self.min_replicas})"
            )
        # An average over less than one report would be of nothing.
        if self.look_back_s <= self.report_s:
            raise ValueError(f"look_back_s ({self.look_back_s:g}) must be above report_s ({self.report_s:g})")
        return self


class ServeArgs(FrozenModel):
    """Arguments of the application builder."""

    store: str = "store"
    """Root URI of the store: a folder or s3://bucket/prefix. Relative folders are taken from where the
    application is built."""
    models: tuple[str, ...] = Field(min_length=1)
    """`adult@1` serves that version for ever; `digits` serves its newest version, and a newer one as soon as
    it is there."""
    keys: str | None = None
    """URI of the JSON document with the API keys; null: `serve-keys.json` in the store. Reread every 10 s."""
    insecure_local: bool = False
    """Serve without keys, on the loopback interface only."""
    max_loaded_models: int = Field(4, ge=1)
    """Model versions in a replica's memory; the least recently used one goes."""
    refresh_seconds: float = Field(10.0, gt=0)
    """Time between two looks at the store for newer versions."""
    batch_rows: int = Field(4096, ge=1)
    """Rows that the model generates in one call, for one request or for many."""
    num_cpus: float = Field(1.0, gt=0)
    """CPUs of a replica; each whole one is a generating thread."""
    num_gpus: float = Field(0.0, ge=0)
    """GPUs of a replica. Seeded requests are computed on the CPU all the same, where datasets are."""
    limits: Limits = Limits()
    scaling: Scaling = Scaling()
    storage: StorageConfig = StorageConfig()

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        return (
            [part.strip() if isinstance(part, str) else part for part in parts]
            if isinstance(parts, list | tuple)
            else parts
        )

    @field_validator("models")
    @classmethod
    def _refs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for ref in value:
            if not MODEL_REF.match(ref):
                raise ValueError(f"{ref!r} is not NAME or NAME@N")
        # One name, one default version: two of them would leave open what the bare name means.
        names = [ref.partition("@")[0] for ref in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"{twice!r} is listed twice; clients choose a version with NAME@N")
        return value

    @field_validator("store", "keys")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        # Replicas may start in another folder than the builder.
        return value if value is None or "://" in value else os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111

    @property
    def keys_location(self) -> tuple[str, str]:
        """(folder URI, file name) of the keys document."""
        folder, _, name = (self.keys or f"{self.store.rstrip('/')}/{KEYS_FILE}").rpartition("/")
        return folder, name
