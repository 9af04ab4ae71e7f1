import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from served import publish_customers
from synthmill.catalog.several import KIND
from synthmill.catalog.store import Store
from synthmill.errors import DataError, NotFoundError, StorageError
from synthmill.serving.entries import check_models, parse_entries
from synthmill.serving.models import Models


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    publish_customers(store, "customers", seed=1)
    publish_customers(store, "customers", seed=2)
    publish_customers(store, "other", seed=3)
    return store


def story(
    store: Store, refs: tuple[str, ...], act: Callable[[Models], Awaitable[object]], *, max_loaded: int = 4
) -> object:
    async def run() -> object:
        models = Models(store, refs, max_loaded=max_loaded)
        await models.start()
        try:
            return await act(models)
        finally:
            models.close()

    return asyncio.run(run())


def test_refs_mean_the_newest_or_pins():
    wanted = {entry.name: entry.numbers for entry in parse_entries(("a", "b@2", "b@1", "c@1", "c"))}
    assert wanted == {"a": None, "b": (1, 2), "c": None}


def test_a_bare_name_is_the_newest_and_older_ones_can_be_asked_for(store: Store):
    async def act(models: Models) -> list[str]:
        return [(await models.get(ref)).ref for ref in ("customers", "customers@2", "customers@1")]

    assert story(store, ("customers",), act) == ["customers@2", "customers@2", "customers@1"]


def test_a_pin_stays_and_only_pins_are_served(store: Store):
    async def act(models: Models) -> str:
        publish_customers(store, "customers", seed=4)
        assert await models.refresh() == []
        with pytest.raises(NotFoundError, match="customers@3 is not served; there is: customers@1"):
            await models.get("customers@3")
        return (await models.get("customers")).ref

    assert story(store, ("customers@1",), act) == "customers@1"


def test_a_newer_version_answers_after_a_refresh_and_requests_keep_what_they_have(store: Store):
    async def act(models: Models) -> tuple[str, str, int]:
        before = await models.get("customers")
        publish_customers(store, "customers", seed=4)
        assert (await models.get("customers")).ref == "customers@2"
        assert await models.refresh() == ["customers@3"]
        after = await models.get("customers")
        assert before.generator.digest != after.generator.digest
        return before.ref, after.ref, before.draw(5).table.num_rows

    assert story(store, ("customers", "other"), act) == ("customers@2", "customers@3", 5)


def test_a_broken_newer_version_is_passed_over(store: Store):
    async def act(models: Models) -> str:
        version = publish_customers(store, "customers", seed=4)
        weights = Path(version.folder.uri.removeprefix("file://")) / "weights.safetensors"
        weights.write_bytes(b"x" + weights.read_bytes()[1:])
        assert await models.refresh() == []
        return (await models.get("customers")).ref

    assert story(store, ("customers",), act) == "customers@2"


def test_a_newer_version_that_copies_training_rows_is_passed_over(store: Store):
    async def act(models: Models) -> str:
        publish_customers(store, "customers", copies=True)
        assert await models.refresh() == []
        with pytest.raises(DataError, match="customers@3 copies training rows"):
            await models.get("customers@3")
        return (await models.get("customers")).ref

    assert story(store, ("customers",), act) == "customers@2"


def test_the_cache_is_bounded_and_drops_what_was_not_used_for_longest(store: Store):
    async def act(models: Models) -> list[str]:
        for ref in ("customers@1", "customers@2", "customers@1", "other"):
            await models.get(ref)
            assert models.num_loaded <= 2
        return sorted(models._loaded)

    assert story(store, ("customers", "other"), act, max_loaded=2) == ["customers@1", "other@1"]


def test_a_version_is_loaded_once_however_many_ask(store: Store, monkeypatch: pytest.MonkeyPatch):
    loads = []
    original = Store.resolve

    async def act(models: Models) -> int:
        import synthmill.serving.models as module

        opened = module._open
        monkeypatch.setattr(
            module, "_open", lambda version, device: loads.append(version.ref) or opened(version, device)
        )
        served = await asyncio.gather(*(models.get("customers@1") for _ in range(8)))
        return len({id(one) for one in served})

    assert story(store, ("customers",), act) == 1
    assert loads == ["customers@1"]
    assert Store.resolve is original


@pytest.mark.parametrize(
    "ref", ["..", "customers@0", "Customers", "customers@x", "a/b", "", "customers@1@2", "x" * 500]
)
def test_names_that_are_none_never_reach_the_store(store: Store, ref: str, monkeypatch: pytest.MonkeyPatch):
    async def act(models: Models) -> None:
        monkeypatch.setattr(Store, "resolve", lambda *_, **__: pytest.fail("asked the store"))
        with pytest.raises(NotFoundError, match="model: "):
            await models.get(ref)

    story(store, ("customers",), act)


def test_an_unknown_name_is_answered_with_the_closest(store: Store):
    async def act(models: Models) -> None:
        with pytest.raises(NotFoundError, match="model: no model named 'custmers'; did you mean 'customers'"):
            await models.get("custmers")

    story(store, ("customers",), act)


def test_a_newer_version_of_several_tables_is_passed_over(store: Store):
    async def act(models: Models) -> str:
        publish_tables(store, "customers")
        assert await models.refresh() == []
        with pytest.raises(DataError, match="customers@3 is a model of several tables"):
            await models.get("customers@3")
        return (await models.get("customers")).ref

    assert story(store, ("customers",), act) == "customers@2"


def publish_tables(store: Store, name: str) -> None:
    """A version as of a model of several tables; nobody reads its files."""
    details = {"kind": KIND, "tables": ["customers", "orders"]}
    with store.begin("models", name, run_key="0" * 64, run_id="1") as draft:
        draft.commit(draft.manifest(files=(), parents=(), details=details))


@pytest.mark.parametrize(
    ("refs", "error", "message"),
    [
        (("nobody",), NotFoundError, "models: no model named 'nobody'"),
        (("customers@9",), NotFoundError, "models: no model customers@9"),
        (("copy",), DataError, "models: copy@1 copies training rows"),
        (("shop",), DataError, "models: shop@1 is a model of several tables"),
    ],
)
def test_a_wrong_list_is_refused_before_anything_starts(
    store: Store, refs: tuple[str, ...], error: type[Exception], message: str
):
    publish_customers(store, "copy", copies=True)
    publish_tables(store, "shop")
    with pytest.raises(error, match=message):
        check_models(store, refs)


def test_a_store_that_is_gone_is_an_error_of_the_store(store: Store, tmp_path: Path):
    async def act(models: Models) -> None:
        for path in sorted(tmp_path.rglob("weights.safetensors")):
            path.unlink()
        with pytest.raises(StorageError):
            await models.get("customers@1")

    story(store, ("customers",), act)
