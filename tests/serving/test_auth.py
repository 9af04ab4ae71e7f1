import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synthmill.config import StorageConfig
from synthmill.errors import ClaimLostError, NotFoundError, StorageError, UserError
from synthmill.serving import auth as module
from synthmill.serving.auth import (
    SCOPES,
    AuthError,
    KeyDocument,
    KeyFile,
    create_key,
    parse_names,
    parse_scopes,
    revoke_key,
)
from synthmill.serving.quota import Quota
from synthmill.storage.owner import this_process

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key_file(store: str | Path) -> KeyFile:
    return KeyFile(str(store), "keys.json", StorageConfig())


def make(file: KeyFile, name: str = "ada", **changed):
    options = {"scopes": ("generate",), "models": None, "days": None, "quota": Quota(), "now": NOW}
    token, key = create_key(file, name=name, **{**options, **changed})
    file.load()
    return token, key


def test_a_key_is_found_by_what_the_client_sends(every_store: str):
    file = key_file(every_store)
    token, key = make(file)
    make(file, "grace")
    assert file.find(token, now=NOW) == key
    assert key.name == "ada"


def test_the_document_holds_no_secret(tmp_path: Path):
    file = key_file(tmp_path)
    first, _ = make(file)
    second, _ = make(file)
    text = (tmp_path / "keys.json").read_text()
    keys = json.loads(text)["keys"]
    for token in (first, second):
        assert token.split("_", 2)[2] not in text
    assert keys[0]["salt"] != keys[1]["salt"]
    assert len(keys[0]["hash"]) == 64


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "abc",
        "smk_000000000000_" + "x" * 43,
        "smk_zz_x",
        "smk_" + "0" * 12 + "_" + "x" * 500,
        "\xff",
    ],
)
def test_anything_else_is_refused(tmp_path: Path, token: str | None):
    file = key_file(tmp_path)
    make(file)
    with pytest.raises(AuthError) as fault:
        file.find(token, now=NOW)
    assert fault.value.status == 401
    assert str(fault.value).startswith("Authorization: ")


def test_a_right_id_with_a_wrong_secret_is_refused(tmp_path: Path):
    file = key_file(tmp_path)
    token, _ = make(file)
    other, _ = make(file)
    mixed = "_".join([*token.split("_", 2)[:2], other.split("_", 2)[2]])
    with pytest.raises(AuthError, match="no such key"):
        file.find(mixed, now=NOW)


def test_an_expired_key_says_so(tmp_path: Path):
    file = key_file(tmp_path)
    token, _ = make(file, days=1)
    assert file.find(token, now=NOW + timedelta(hours=23))
    with pytest.raises(AuthError, match="expired at 2026-01-02"):
        file.find(token, now=NOW + timedelta(hours=24))


def test_reading_again_takes_up_new_and_drops_revoked_keys(tmp_path: Path):
    server, admin = key_file(tmp_path), key_file(tmp_path)
    server.load()
    with pytest.raises(AuthError, match="synthmill keys create"):
        server.find(None, now=NOW)
    token, key = make(admin)
    server.load()
    assert server.find(token, now=NOW).id == key.id
    revoke_key(admin, key.id)
    server.load()
    with pytest.raises(AuthError, match="no such key"):
        server.find(token, now=NOW)


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"format": "synthmill.keys/9"}', '{"format": "synthmill.keys/1", "keys": [{"id": "x"}]}'],
)
def test_a_damaged_document_leaves_the_keys_as_they_were(tmp_path: Path, damage: str):
    file = key_file(tmp_path)
    token, key = make(file)
    (tmp_path / "keys.json").write_text(damage)
    with pytest.raises((StorageError, UserError)):
        file.load()
    assert file.find(token, now=NOW).id == key.id


def test_scopes_and_models_bound_a_key(tmp_path: Path):
    file = key_file(tmp_path)
    _, key = make(file, models=("adult",))
    key.check("generate", model="adult")
    with pytest.raises(AuthError, match="no scope 'jobs'; it has: generate") as fault:
        key.check("jobs")
    assert fault.value.status == 403
    with pytest.raises(AuthError, match="may not use 'digits'; it may use: adult"):
        key.check("generate", model="digits")


def test_scopes_are_named_by_the_user():
    assert parse_scopes("jobs, generate") == ("generate", "jobs")
    assert set(parse_scopes(",".join(SCOPES))) == set(SCOPES)
    with pytest.raises(UserError, match="--scopes: no scope 'generat'; did you mean 'generate'"):
        parse_scopes("generat")


def test_a_revoked_key_does_not_come_back_with_one_that_is_made_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _, leaked = make(key_file(tmp_path))
    writing, revoked = threading.Event(), threading.Event()
    write = KeyFile.write

    def slow(file: KeyFile, document: KeyDocument) -> None:
        if len(document.keys) == 2:
            writing.set()
            assert revoked.wait(20)
        write(file, document)

    def revoke() -> None:
        revoke_key(key_file(tmp_path), leaked.id)
        revoked.set()

    monkeypatch.setattr(KeyFile, "write", slow)
    monkeypatch.setattr(module.time, "sleep", lambda _: revoked.set())  # It waits: the other may go on.
    with ThreadPoolExecutor(2) as pool:
        made = pool.submit(make, key_file(tmp_path), "new")
        assert writing.wait(20)
        pool.submit(revoke).result(20)
        _, key = made.result(20)
    assert [found.id for found in key_file(tmp_path).read().keys] == [key.id]


def test_keys_that_are_made_at_once_are_all_there(every_store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    with ThreadPoolExecutor(5) as pool:
        made = {key.id for _, key in pool.map(lambda i: make(key_file(every_store), f"key-{i}"), range(10))}
    file = key_file(every_store)
    assert {key.id for key in file.read().keys} == made
    assert len(made) == 10


def left_lock(folder: Path, process: object) -> Path:
    lock = folder / "keys.json.lock"
    lock.write_text(json.dumps({"token": "of another", "process": process}))
    return lock


def test_a_change_that_died_holds_up_no_other(tmp_path: Path):
    process = this_process()
    if process is None:
        pytest.skip("this system does not tell when a process started")
    lock = left_lock(tmp_path, process | {"started": 0})
    make(key_file(tmp_path))
    assert not lock.exists()


def test_a_change_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.0)
    lock = left_lock(tmp_path, this_process())
    with pytest.raises(
        StorageError,
        match=r"keys\.json\.lock: another change of keys is under way; if none is, delete this file",
    ):
        make(key_file(tmp_path))
    assert lock.exists()


def test_a_change_that_lost_its_lock_writes_nothing(tmp_path: Path):
    file = key_file(tmp_path)
    with file.changing() as document:
        lock = left_lock(tmp_path, None)
        with pytest.raises(ClaimLostError, match="nothing was written, try again"):
            file.write(document)
    assert lock.exists()
    assert not (tmp_path / "keys.json").exists()


def test_models_are_named_by_the_user():
    assert parse_names("adult, digits,adult") == ("adult", "digits")
    with pytest.raises(
        UserError, match="--models: 'adult@1' is no name of a model; a key is for all versions"
    ):
        parse_names("digits,adult@1")


def test_revoking_what_is_not_there_names_what_is(tmp_path: Path):
    file = key_file(tmp_path)
    _, key = make(file)
    with pytest.raises(NotFoundError, match=key.id):
        revoke_key(file, "0" * 12)
