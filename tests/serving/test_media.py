"""The door of each kind of data: a new kind is a file, found by its name, with no edit elsewhere."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from http_app import running
from served import publish_customers
from synthmill import registry
from synthmill.catalog.store import Store
from synthmill.data.readers.base import FOLDER as READERS
from synthmill.errors import NotFoundError
from synthmill.serving.media.base import FOLDER, all_media, media_of

NOTES = """
from fastapi import Request

from synthmill.serving.access import MayGenerate, ModelName, find_served, label_headers
from synthmill.serving.formats import Csv, Json
from synthmill.serving.media.base import Media
from synthmill.serving.requests import RowsRequest


class NotesMedia(Media):
    modality = "note"
    noun = "notes"
    forms = (Csv, Json)

    @classmethod
    def details(cls, served):
        return {"longest": 280}

    @classmethod
    def row_cost(cls, served):
        return 7

    @classmethod
    def add_routes(cls, app, service):
        @app.get("/v1/notes/{name}", tags=["generate"])
        async def notes(name: ModelName, request: Request, key: MayGenerate):
            served = await find_served(service, request, key, name)
            lines = await service.encoded(served, RowsRequest(num_rows=3, seed=1), str)
            return {"notes": lines}
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with a kind `notes` that has nothing but its media door."""
    media = tmp_path / "packages" / "notes_kind" / "serving" / "media"
    media.mkdir(parents=True)
    for folder in (media, media.parent, media.parent.parent):
        (folder / "__init__.py").touch()
    (media / "notes.py").write_text(NOTES)
    info = tmp_path / "packages" / "notes_kind-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: notes-kind\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[synthmill.components]\nnotes = notes_kind\n")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    registry.forget()
    yield
    registry.forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "notes_kind"]:
        del sys.modules[name]


def test_every_kind_that_can_be_read_can_be_served():
    assert set(registry.names(READERS)) <= set(registry.names(FOLDER))
    assert {media.modality for media in all_media()} >= {"table", "image"}


def test_a_kind_that_nobody_knows_is_named():
    with pytest.raises(NotFoundError, match=r"data\.kind: .*'tabel'.*table"):
        media_of("tabel")


def test_a_kind_with_its_own_file_is_served(notes: None, tmp_path: Path):
    store = Store(tmp_path / "store")
    publish_customers(store, "diary", kind="notes")
    publish_customers(store, "customers")
    with (
        running(store=str(tmp_path / "store"), models="diary,customers", insecure_local=True) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["customers", "diary"]
        about = client.get("/v1/models/diary").json()
        assert (about["modality"], about["size"], about["longest"]) == ("note", None, 280)

        rows = client.post("/v1/models/diary/rows", json={"num_rows": 5})
        assert rows.headers["content-type"].startswith("text/csv")  # The first of its forms.
        assert len(rows.text.splitlines()) == 6
        refused = client.post(
            "/v1/models/diary/rows", json={"num_rows": 5}, headers={"Accept": "application/x-ndjson"}
        )
        assert refused.status_code == 406
        assert "text/csv, application/json" in refused.json()["error"]["message"]

        own = client.get("/v1/notes/diary")
        assert own.status_code == 200
        assert len(own.json()["notes"]) == 3
        assert own.json() == client.get("/v1/notes/diary").json()
        assert "/v1/notes/{name}" in client.get("/openapi.json").json()["paths"]
        image = client.post("/v1/images/generations", json={"model": "diary"})
        assert image.status_code == 422
        assert "generates notes; ask POST /v1/models/diary/rows" in image.json()["error"]["message"]
        assert server.service.models._loaded["diary@1"].row_cost == 7
