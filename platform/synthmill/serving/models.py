"""The model versions a replica serves: looked up in the store, loaded in the background, in a bounded cache.

`adult@1` stays what it is. `adult` is the newest version: the store is looked at every few seconds, a newer
version is loaded and warmed first and only then answers; requests that began with the old one finish with it.
"""

import asyncio
import copy
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from synthmill.catalog.dataset import read_verified
from synthmill.catalog.store import Store, Version
from synthmill.data.batch import Condition
from synthmill.errors import DataError, NotFoundError, SynthmillError, did_you_mean
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import Sampler
from synthmill.serving.config import MODEL_REF
from synthmill.serving.entries import parse_entries, refuse_unserved
from synthmill.serving.formats import Drawn
from synthmill.serving.media.base import Media, media_of

WARM_ROWS = 64
log = logging.getLogger("ray.serve")


@dataclass(frozen=True, eq=False)
class Served:
    """A loaded version. `generator` computes seeded rows, on the CPU; `fresh` unseeded ones, on the GPU if
    there is one."""

    version: Version
    generator: Generator
    fresh: Sampler
    card: str
    """Markdown."""

    @property
    def ref(self) -> str:
        return self.generator.ref

    @property
    def name(self) -> str:
        return self.version.name

    @cached_property
    def media(self) -> type[Media]:
        """What its kind of data answers over HTTP."""
        return media_of(self.generator.kind)

    @cached_property
    def row_cost(self) -> int:
        """See `Media.row_cost`."""
        return self.media.row_cost(self)

    def draw(self, rows: int) -> Drawn:
        """Unseeded rows; called on a thread."""
        batch = self.fresh.draw_fresh(rows)
        return Drawn(self.generator.codec.decode(batch, first_row=0))


@dataclass(frozen=True)
class Conditioned:
    """Unseeded rows of a version whose model takes the condition as an input."""

    served: Served
    clauses: tuple[str, ...]
    condition: Condition = field(compare=False)

    @property
    def ref(self) -> str:
        return self.served.ref

    @property
    def row_cost(self) -> int:
        return self.served.row_cost

    def draw(self, rows: int) -> Drawn:
        """Rows generated for the condition; called on a thread."""
        batch = self.served.fresh.draw_fresh(rows, condition=self.condition)
        return Drawn(self.served.generator.codec.decode(batch, first_row=0))


class Models:
    """The cache. `get` is called for every request; everything slow happens on threads of its own."""

    def __init__(self, store: Store, refs: tuple[str, ...], *, max_loaded: int, device: str = "cpu") -> None:
        self._store = store
        self._entries = {entry.name: entry for entry in parse_entries(refs)}
        self._max_loaded = max_loaded
        self._device = device
        self._newest: dict[str, Version] = {}
        self._loaded: OrderedDict[str, Served] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Served]] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="load")

    @property
    def names(self) -> list[str]:
        """Names that clients can use, sorted."""
        return sorted(self._entries)

    @property
    def num_loaded(self) -> int:
        return len(self._loaded)

    async def start(self) -> None:
        """Find the version of every name, and load and warm as many as fit the cache."""
        for name in self._entries:
            self._newest[name] = await self._thread(self._find, name)
        for version in list(self._newest.values())[: self._max_loaded]:
            await self._load(version)

    def close(self) -> None:
        """Stop the loading threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def newest(self, name: str, *, among: list[str] | None = None) -> Version:
        """What the bare name means now; `among` are the names that an error may list, None: all.

        Raises:
            NotFoundError: names the closest name.
        """
        if name not in self._newest:
            raise NotFoundError(
                f"no model named {name!r}{did_you_mean(name, self.names if among is None else among)}",
                field="model",
            )
        return self._newest[name]

    async def version(self, ref: str, *, among: list[str] | None = None) -> Version:
        """The version that a client's `name` or `name@number` means; `among`: see `newest`."""
        if not MODEL_REF.match(ref):
            raise NotFoundError(f"{ref[:80]!r} is not NAME or NAME@N", field="model")
        name, _, number = ref.partition("@")
        # Also for a pinned number, so that an unknown name gets the hint at the closest one.
        newest = self.newest(name, among=among)
        if not number or int(number) == newest.number:
            return newest
        pins = self._entries[name].numbers
        if pins is not None and int(number) not in pins:
            raise NotFoundError(
                f"{ref} is not served; there is: {', '.join(f'{name}@{pin}' for pin in pins)}", field="model"
            )
        loaded = self._loaded.get(ref)
        return loaded.version if loaded else await self._thread(self._resolve, ref)

    async def get(self, ref: str, *, among: list[str] | None = None) -> Served:
        """The version that a client's `name` or `name@number` means, loaded; `among`: see `newest`.

        Raises:
            NotFoundError: no such model or version is served.
            StorageError: the store can't be read, or the artifact is damaged.
        """
        version = await self.version(ref, among=among)
        loaded = self._loaded.get(version.ref)
        if loaded is None:
            return await self._load(version)
        self._loaded.move_to_end(version.ref)
        return loaded

    async def refresh(self) -> list[str]:
        """Look for newer versions of names that are not pinned; returns the refs that answer from now on.

        A version that can't be loaded, or must not be served, is skipped: the one before it stays in use.
        """
        switched = []
        for name, entry in self._entries.items():
            if entry.numbers is not None:
                continue
            try:
                newest = await self._thread(self._find, name)
                if newest.number == self._newest[name].number:
                    continue
                await self._load(newest)
            except SynthmillError as fault:
                # A damaged new version must not end what works.
                log.warning("%s is not served: %s", name, fault)
                continue
            self._newest[name] = newest
            switched.append(newest.ref)
        return switched

    async def _load(self, version: Version) -> Served:
        """Load once, however many requests need it; make room by dropping the least recently used one."""

        async def load() -> Served:
            served: Served = await self._thread(_open, version, self._device)
            self._loaded[version.ref] = served
            while len(self._loaded) > self._max_loaded:
                self._loaded.popitem(last=False)
            return served

        task = self._loading.get(version.ref)
        if task is None:
            task = self._loading[version.ref] = asyncio.create_task(load())
            task.add_done_callback(lambda _: self._loading.pop(version.ref, None))
        # A client that leaves must not end the loading that others wait for.
        return await asyncio.shield(task)

    def _find(self, name: str) -> Version:
        pins = self._entries[name].numbers
        return self._resolve(f"{name}@{pins[-1]}" if pins else name)

    def _resolve(self, ref: str) -> Version:
        version = self._store.resolve("models", ref, field="model")
        refuse_unserved(version)
        return version

    async def _thread(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)


def _open(version: Version, device: str) -> Served:
    generator = Generator.load(version)
    if generator.model.copies_training_rows:
        raise DataError(f"{version.ref} copies training rows; it is not served", field="models")
    if generator.codec.steps is not None:
        # A request is for rows, and answers are cut where it ends.
        raise DataError(
            f"{version.ref} generates whole sequences, which are not served; use augment --sequences",
            field="models",
        )
    # Seeded rows need the CPU's bits, so a GPU gets a copy.
    free = generator.model if device == "cpu" else copy.deepcopy(generator.model).to(torch.device(device))
    card = next(
        (
            read_verified(version.folder, entry).decode()
            for entry in version.manifest.files
            if entry.path == "card.md"
        ),
        "",
    )
    served = Served(version, generator, Sampler(free, generator.codec), card)
    # The first call of a model allocates and chooses kernels; no client should wait for that.
    served.draw(WARM_ROWS).text(0, WARM_ROWS, "\n")
    return served
