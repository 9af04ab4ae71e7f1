import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synthmill.config import StorageConfig
from synthmill.errors import NotFoundError, StorageError, UserError
from synthmill.serving.auth import SCOPES, AuthError, KeyFile, create_key, parse_names, parse_scopes, revoke_key
from synthmill.serving.quota import Quota

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
    "token", [None, "", "abc", "smk_000000000000_" + "x" * 43, "smk_zz_x", "smk_" + "0" * 12 + "_" + "x" * 500, "\xff"]
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


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": "synthmill.keys/9"}', '{"format": "synthmill.keys/1", "keys": [{"id": "x"}]}'])
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


def test_models_are_named_by_the_user():
    assert parse_names("adult, digits,adult") == ("adult", "digits")
    with pytest.raises(UserError, match="--models: 'adult@1' is no name of a model; a key is for all versions"):
        parse_names("digits,adult@1")


def test_revoking_what_is_not_there_names_what_is(tmp_path: Path):
    file = key_file(tmp_path)
    _, key = make(file)
    with pytest.raises(NotFoundError, match=key.id):
        revoke_key(file, "0" * 12)
