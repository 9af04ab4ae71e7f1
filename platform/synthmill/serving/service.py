"""One replica's state, and the work behind each endpoint. Knows nothing of Ray: what is shared by all
replicas is behind `Desk`."""

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from synthmill.catalog.provenance import footer
from synthmill.catalog.store import Store, Version
from synthmill.config import fingerprint
from synthmill.errors import ConditionError, SynthmillError, UserError
from synthmill.generation.condition import Where
from synthmill.generation.sampler import BLOCK_ROWS
from synthmill.generation.shards import ShardPlan
from synthmill.generation.stream import PIECE_BLOCKS, fresh_pieces, seeded_pieces
from synthmill.serving.auth import LOCAL, Key, KeyFile
from synthmill.serving.batching import Lane, end
from synthmill.serving.config import ServeArgs
from synthmill.serving.formats import Drawn, Format, Label
from synthmill.serving.images import encode_images
from synthmill.serving.jobs import JobRecord, JobRequest
from synthmill.serving.metrics import Metrics, Values
from synthmill.serving.models import Conditioned, Models, Served
from synthmill.serving.quota import Meter, Quota, Refusal
from synthmill.serving.requests import RowsRequest
from synthmill.serving.streams import Stream

T = TypeVar("T")

KEYS_SECONDS = 10.0
REPORT_SECONDS = 1.0
SEED_BITS = 63
log = logging.getLogger("ray.serve")


class Desk(Protocol):
    """What all replicas share; `keeper.Keeper` behind a wire."""

    async def lease(
        self, key_id: str, quota: Quota, needs: dict[str, int], replica: str, unused: dict[str, int]
    ) -> dict[str, int] | Refusal: ...
    async def report(
        self, replica: str, grown: Values, gauges: dict[str, float], unused: dict[str, dict[str, int]]
    ) -> None: ...
    async def metrics(self) -> str: ...
    async def submit(self, record: JobRecord) -> dict[str, Any]: ...
    async def job(self, job_id: str) -> dict[str, Any]: ...
    async def cancel(self, job_id: str) -> dict[str, Any]: ...


class Service:
    """Made, started and closed on one event loop."""

    def __init__(self, args: ServeArgs, desk: Desk, *, replica: str, device: str = "cpu") -> None:
        self.args = args
        self.desk = desk
        self.replica = replica
        self.metrics = Metrics()
        self.models = Models(
            Store(args.store, args.storage), args.models, max_loaded=args.max_loaded_models, device=device
        )
        self.keys = KeyFile(*args.keys_location, args.storage)
        self.meter = Meter(
            lambda key_id, quota, needs, unused: desk.lease(key_id, quota, needs, replica, unused)
        )
        self.lane: Lane
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load and warm the models, read the keys, begin the background work."""
        self.lane = Lane(
            threads=max(1, int(self.args.num_cpus)),
            batch_rows=self.args.batch_rows,
            max_queued_rows=self.args.limits.max_queued_rows,
            max_streams=self.args.limits.max_streams,
            metrics=self.metrics,
        )
        await self.models.start()
        await self._reread_keys()
        self._tasks = [
            asyncio.create_task(_every(KEYS_SECONDS, self._reread_keys)),
            asyncio.create_task(_every(self.args.refresh_seconds, self.models.refresh)),
            asyncio.create_task(_every(REPORT_SECONDS, self.report)),
        ]

    async def close(self) -> None:
        """Stop background work and threads; tell the last counts."""
        await end(self._tasks)
        with contextlib.suppress(Exception):
            await self.report()
        await self.lane.close()
        self.models.close()

    def find_key(self, token: str | None) -> Key:
        """Who is asking; AuthError without a valid key."""
        return LOCAL if self.args.insecure_local else self.keys.find(token, now=datetime.now(UTC))

    async def report(self) -> None:
        """Send counters, load and idle leases to the desk."""
        grown = self.metrics.drain()
        gauges = {
            "synthmill_queued_rows": float(self.lane.queued_rows),
            "synthmill_streams": float(self.lane.streams),
            "synthmill_loaded_models": float(self.models.num_loaded),
        }
        try:
            await self.desk.report(self.replica, grown, gauges, self.meter.expired())
        except Exception:
            self.metrics.put_back(grown)
            raise

    async def rows(self, served: Served, asked: RowsRequest, form: type[Format]) -> bytes | Stream:
        """The answer: whole when it is small, else a stream whose first bytes are computed already.

        Raises:
            UserError: columns or conditions that this model does not have.
            ConditionError: too few rows met the condition; of a stream, within the first piece's effort.
            BusyError: too much waits already.
        """
        columns = list(asked.columns) if asked.columns is not None else None
        encoder = self._encoder(served, form, asked.seed, columns)
        source = self._source(served, asked)
        if source is not None:
            with contextlib.suppress(ConditionError):
                body = await self.lane.draw(source, asked.num_rows, _finish(encoder, asked.num_rows, columns))
                self.metrics.add("synthmill_rows_total", asked.num_rows, model=served.ref)
                return body
        if asked.num_rows <= self.args.batch_rows:
            return await self._whole(served, asked, encoder)
        stream = self._stream(served, self._pieces(served, asked), encoder)
        return Stream(await anext(stream), stream)

    async def _whole(self, served: Served, asked: RowsRequest, encoder: Format) -> bytes:
        """A small answer of its own: its blocks depend on its seed, or rows are rejected."""
        pieces = self._pieces(served, asked)
        with self.lane.waiting(whole_blocks(asked.num_rows)):
            parts = [encoder.begin()]
            while (data := await self.lane.run(served.ref, lambda: _step(pieces, encoder))) is not None:
                parts.append(data)
        self.metrics.add("synthmill_rows_total", encoder.rows, model=served.ref)
        return b"".join([*parts, encoder.end()])

    def _source(self, served: Served, asked: RowsRequest) -> Served | Conditioned | None:
        """What answers a small unseeded request in a shared batch; None: it is large, seeded, or rows must be
        rejected."""
        if asked.columns is not None or asked.where:
            served.generator.check(
                ShardPlan(rows=asked.num_rows, seed=0, columns=asked.columns, where=asked.where)
            )
        if asked.seed is not None or asked.num_rows > self.args.batch_rows:
            return None
        if not asked.where:
            return served
        generator = served.generator
        condition, residual = Where.parse(asked.where).split(generator.codec, generator.model)
        return None if condition is None or residual.clauses else Conditioned(served, asked.where, condition)

    async def images(
        self,
        served: Served,
        count: int,
        *,
        where: tuple[str, ...],
        seed: int | None,
        size: tuple[int, int] | None,
    ) -> list[dict[str, Any]]:
        """Labelled images in base64."""
        encode = functools.partial(encode_images, size=size)
        asked = RowsRequest(num_rows=count, seed=seed, where=where)
        source = self._source(served, asked)
        done: list[dict[str, Any]] = []
        if source is not None:
            done = await self.lane.draw(
                source, count, lambda drawn, start: encode(drawn.table.slice(start, count))
            )
        else:
            pieces = self._pieces(served, asked)
            with self.lane.waiting(whole_blocks(count)):
                while (table := await self.lane.run(served.ref, lambda: next(pieces, None))) is not None:
                    done += await self.lane.run(served.ref, functools.partial(encode, table))
        self.metrics.add("synthmill_rows_total", count, model=served.ref)
        return done

    async def check_job(self, asked: JobRequest, version: Version) -> None:
        """Refuse at once a job that names columns or conditions that the model does not have."""
        served = await self.models.get(version.ref)
        plan = ShardPlan(
            rows=asked.rows, seed=asked.seed, where=asked.where, columns=asked.columns, balance=asked.balance
        )
        served.generator.check(plan)

    def note_fault(self, fault: SynthmillError, reason: str) -> None:
        """Count a refusal; log what is not the client's doing."""
        self.metrics.add("synthmill_rejections_total", 1, reason=reason)
        if reason == "store":
            log.error("%s: %s", type(fault).__name__, fault)

    def _pieces(self, served: Served, asked: RowsRequest) -> Iterator[pa.Table]:
        if asked.seed is None and not asked.where:
            piece_rows = self.args.batch_rows
            return fresh_pieces(
                served.generator, served.fresh, asked.num_rows, columns=asked.columns, piece_rows=piece_rows
            )
        seed = secrets.randbits(SEED_BITS) if asked.seed is None else asked.seed
        plan = ShardPlan(rows=asked.num_rows, seed=seed, where=asked.where, columns=asked.columns)
        return seeded_pieces(served.generator, plan, blocks=PIECE_BLOCKS)

    async def _stream(
        self, served: Served, pieces: Iterator[pa.Table], encoder: Format
    ) -> AsyncGenerator[bytes, None]:
        """Bytes of each piece. The next one is computed while one is sent, so at most two are in memory."""
        with self.lane.stream():
            step = functools.partial(_step, pieces, encoder)
            ahead = asyncio.ensure_future(self.lane.run(served.ref, step))
            sent = 0
            head = encoder.begin()
            try:
                while True:
                    data = await ahead
                    self.metrics.add("synthmill_rows_total", encoder.rows - sent, model=served.ref)
                    sent = encoder.rows
                    if data is None:
                        break
                    ahead = asyncio.ensure_future(self.lane.run(served.ref, step))
                    if data:
                        yield head + data
                        head = b""
                yield head + encoder.end()
            finally:
                ahead.cancel()

    def _encoder(
        self, served: Served, form: type[Format], seed: int | None, columns: list[str] | None
    ) -> Format:
        schema = served.generator.schema
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns if name in schema.names])
        return form(schema, label_of(served, seed))

    async def _reread_keys(self) -> None:
        if not self.args.insecure_local:
            await asyncio.to_thread(self.keys.load)


def label_of(served: Served, seed: int | None) -> Label:
    """The labels of what this model version generates; unseeded answers each have an id of their own."""

    def metadata() -> dict[str, str]:
        run_key = fingerprint(
            {"model": served.generator.digest, "seed": seed if seed is not None else secrets.token_hex(16)}
        )
        return footer(
            run_key=run_key,
            shard=0,
            model_ref=served.ref,
            model_digest=served.generator.digest,
            seed=seed or 0,
        )

    return Label(served.ref, served.generator.digest, seed, metadata)


def check_limits(asked: RowsRequest, args: ServeArgs) -> None:
    """UserError for more rows than one request may have; says what to do instead."""
    if asked.num_rows > args.limits.max_rows:
        raise UserError(
            f"at most {args.limits.max_rows:,} rows in one request, got {asked.num_rows:,}; publish more with"
            " POST /v1/jobs",
            field="num_rows",
        )


def whole_blocks(rows: int) -> int:
    """Rows that are generated for so many seeded ones."""
    return -(-rows // BLOCK_ROWS) * BLOCK_ROWS


def _finish(encoder: Format, rows: int, columns: list[str] | None) -> Callable[[Drawn, int], bytes]:
    return lambda drawn, start: encoder.whole(drawn, start, rows, columns)


def _step(pieces: Iterator[pa.Table], encoder: Format) -> bytes | None:
    """The next piece, encoded; None after the last."""
    table = next(pieces, None)
    return None if table is None else encoder.piece(table)


async def _every(seconds: float, work: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except SynthmillError as fault:
            log.warning("%s", fault)
        except Exception:
            log.exception("background work failed; it goes on")
