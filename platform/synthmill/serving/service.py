"""One replica's work behind each endpoint. Knows nothing of Ray: what all replicas share is behind
`SharedState`."""

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
from synthmill.errors import SynthmillError, UserError
from synthmill.generation.condition import Where
from synthmill.generation.sampler import BLOCK_ROWS
from synthmill.generation.shards import ShardPlan
from synthmill.generation.stream import PIECE_BLOCKS, fresh_pieces, seeded_pieces
from synthmill.serving.auth import LOCAL, Key, KeyFile
from synthmill.serving.batching import WorkQueue, end
from synthmill.serving.config import ServeArgs
from synthmill.serving.formats import Format, Label
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


class SharedState(Protocol):
    """Quotas, sums of counters and jobs: what all replicas share. `state.StateActor` behind a wire."""

    async def lease(
        self, key_id: str, quota: Quota, needs: dict[str, int], replica: str, unused: dict[str, int]
    ) -> dict[str, int] | Refusal: ...
    async def report(
        self, replica: str, counts: Values, gauges: dict[str, float], unused: dict[str, dict[str, int]]
    ) -> None: ...
    async def metrics(self) -> str: ...
    async def submit(self, record: JobRecord) -> dict[str, Any]: ...
    async def job(self, job_id: str) -> dict[str, Any]: ...
    async def cancel(self, job_id: str) -> dict[str, Any]: ...


class Service:
    """Made, started and closed on one event loop."""

    def __init__(self, args: ServeArgs, state: SharedState, *, replica: str, device: str = "cpu") -> None:
        self.args = args
        self.state = state
        self.replica = replica
        self.metrics = Metrics()
        self.models = Models(
            Store(args.store, args.storage), args.models, max_loaded=args.max_loaded_models, device=device
        )
        self.keys = KeyFile(*args.keys_location, args.storage)
        self.meter = Meter(
            lambda key_id, quota, needs, unused: state.lease(key_id, quota, needs, replica, unused)
        )
        self.queue: WorkQueue
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load and warm the models, read the keys, begin the background work."""
        self.queue = WorkQueue(
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
        """Stop background work and threads; report the last counts."""
        await end(self._tasks)
        # The shared state may be gone already.
        with contextlib.suppress(Exception):
            await self.report()
        await self.queue.close()
        self.models.close()

    def find_key(self, token: str | None) -> Key:
        """The key of a token; AuthError without a valid one."""
        return LOCAL if self.args.insecure_local else self.keys.find(token, now=datetime.now(UTC))

    async def report(self) -> None:
        """Send counters, load and idle leases to the shared state."""
        gauges = {
            "synthmill_queued_rows": float(self.queue.queued_rows),
            "synthmill_streams": float(self.queue.streams),
            "synthmill_loaded_models": float(self.models.num_loaded),
        }
        await self.state.report(self.replica, self.metrics.values(), gauges, self.meter.expired())

    async def rows(self, served: Served, request: RowsRequest, form: type[Format]) -> bytes | Stream:
        """The answer: whole when it is small, else a stream whose first bytes are computed already.

        Raises:
            UserError: columns or conditions that this model does not have.
            ConditionError: too few rows met the condition; of a stream, within the first piece's effort.
            BusyError: too much waits already.
        """
        columns = list(request.columns) if request.columns is not None else None
        source = self._source(served, request)
        schema = served.generator.schema
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        # Arrow and Parquet say what a published dataset says: categories, classes, types of data frames.
        published = served.generator.codec.form.select(schema.names)
        encoder = form(schema, label_of(served, request.seed), published)
        if source is not None:
            finish = functools.partial(encoder.whole, rows=request.num_rows, columns=columns)
            body = await self.queue.draw(source, request.num_rows, finish)
            self.metrics.add("synthmill_rows_total", request.num_rows, model=served.ref)
            return body
        pieces = self._pieces(served, request)
        if request.num_rows <= self.args.batch_rows:
            parts = [encoder.begin()]
            async for data in self._each(served, request, lambda: _step(pieces, encoder)):
                parts.append(data)
            self.metrics.add("synthmill_rows_total", encoder.rows, model=served.ref)
            return b"".join([*parts, encoder.end()])
        stream = self._stream(served, pieces, encoder)
        return Stream(await anext(stream), stream)

    async def encoded(
        self,
        served: Served,
        request: RowsRequest,
        encode: Callable[[pa.Table], T],
        *,
        cost: int | None = None,
    ) -> list[T]:
        """Each row of a small request as `encode` makes it, on a thread, from a table of one row: for kinds
        of data with forms of their own. `cost` is the encoding's, in rows of a table."""
        with self.queue.encoding(cost if cost is not None else request.num_rows):
            encoded = []
            for table in await self._tables(served, request):
                for row in range(table.num_rows):
                    # One by one: a client that leaves ends the work at the next.
                    work = functools.partial(encode, table.slice(row, 1))
                    encoded.append(await self.queue.encode(served.ref, work))
        self.metrics.add("synthmill_rows_total", len(encoded), model=served.ref)
        return encoded

    async def _tables(self, served: Served, request: RowsRequest) -> list[pa.Table]:
        """The rows of a small request."""
        source = self._source(served, request)
        if source is None:
            pieces = self._pieces(served, request)
            return [table async for table in self._each(served, request, lambda: next(pieces, None))]
        count = request.num_rows
        return [await self.queue.draw(source, count, lambda drawn, start: drawn.table.slice(start, count))]

    def _source(self, served: Served, request: RowsRequest) -> Served | Conditioned | None:
        """What answers a small unseeded request in a shared batch; None: it is large, seeded, or rows must be
        rejected."""
        # Before anything is queued: a mistake costs neither the client a wait nor others their turn.
        if request.columns is not None or request.where:
            served.generator.check(
                ShardPlan(rows=request.num_rows, seed=0, columns=request.columns, where=request.where)
            )
        if request.seed is not None or request.num_rows > self.args.batch_rows:
            return None
        if not request.where:
            return served
        generator = served.generator
        # Rejection takes an unknown number of forward passes, so such a request can't share one.
        condition, residual = Where.parse(request.where).split(generator.codec, generator.model)
        if condition is None or residual.clauses:
            return None
        return Conditioned(served, request.where, condition)

    async def _each(
        self, served: Served, request: RowsRequest, step: Callable[[], T | None]
    ) -> AsyncGenerator[T, None]:
        """What `step` gives until it gives None, a turn of the queue for each: a small request whose blocks
        depend on its seed, or whose rows are rejected."""
        with self.queue.waiting(whole_blocks(request.num_rows) * served.row_cost):
            while (result := await self.queue.run(served.ref, step)) is not None:
                yield result

    async def check_job(self, request: JobRequest, version: Version) -> None:
        """Refuse at once a job that names columns or conditions that the model does not have."""
        # A job that fails after minutes in the queue would say the same, later.
        served = await self.models.get(version.ref)
        plan = ShardPlan(
            rows=request.rows,
            seed=request.seed,
            where=request.where,
            columns=request.columns,
            balance=request.balance,
        )
        served.generator.check(plan)

    def note_fault(self, fault: SynthmillError, reason: str) -> None:
        """Count a refusal; log what is not the client's doing."""
        self.metrics.add("synthmill_rejections_total", 1, reason=reason)
        if reason == "store":
            log.error("%s: %s", type(fault).__name__, fault)

    def _pieces(self, served: Served, request: RowsRequest) -> Iterator[pa.Table]:
        """The rows, a table at a time, computed as they are taken."""
        if request.seed is None and not request.where:
            return fresh_pieces(
                served.generator,
                served.fresh,
                request.num_rows,
                columns=request.columns,
                piece_rows=self.args.batch_rows,
            )
        # Rows are rejected block by block, and blocks are keyed by a seed: without one, by any.
        seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
        plan = ShardPlan(rows=request.num_rows, seed=seed, where=request.where, columns=request.columns)
        return seeded_pieces(served.generator, plan, blocks=PIECE_BLOCKS)

    async def _stream(
        self, served: Served, pieces: Iterator[pa.Table], encoder: Format
    ) -> AsyncGenerator[bytes, None]:
        """Bytes of each piece. The next one is computed while one is sent, so at most two are in memory."""
        with self.queue.stream():
            step = functools.partial(_step, pieces, encoder)
            # Begun before anything is sent: a condition that no row satisfies is then answered with 422.
            ahead = asyncio.ensure_future(self.queue.run(served.ref, step))
            sent = 0
            head = encoder.begin()
            try:
                while True:
                    data = await ahead
                    self.metrics.add("synthmill_rows_total", encoder.rows - sent, model=served.ref)
                    sent = encoder.rows
                    if data is None:
                        break
                    ahead = asyncio.ensure_future(self.queue.run(served.ref, step))
                    if data:
                        yield head + data
                        head = b""
                yield head + encoder.end()
            finally:
                # The client may have gone while the next piece is computed.
                ahead.cancel()

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


def check_limits(request: RowsRequest, args: ServeArgs) -> None:
    """UserError for more rows than one request may have; says what to do instead."""
    if request.num_rows > args.limits.max_rows:
        raise UserError(
            f"at most {args.limits.max_rows:,} rows in one request, got {request.num_rows:,}; publish more"
            " with POST /v1/jobs",
            field="num_rows",
        )


def whole_blocks(rows: int) -> int:
    """Rows that are generated for so many seeded ones."""
    return -(-rows // BLOCK_ROWS) * BLOCK_ROWS


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
            log.exception("background work failed; the next round follows")
