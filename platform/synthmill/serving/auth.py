"""API keys: who may do what. Only salted hashes are stored, in one JSON document; the key itself is shown
once, when it is made.

A key is 256 random bits, so one SHA-256 of salt and secret is as hard to invert as any slower hash and can't
be used to keep the server busy. The id in a key says which hash to compare with; comparisons take the same
time right or wrong.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from synthmill.config import NAME_PATTERN, FrozenModel, StorageConfig, parse_model
from synthmill.errors import (
    ClaimLostError,
    MissingError,
    NotFoundError,
    StorageError,
    SynthmillError,
    UserError,
    did_you_mean,
)
from synthmill.serving.quota import Quota
from synthmill.storage import owner
from synthmill.storage.folder import Folder, json_bytes
from synthmill.storage.formats import check_format

Scope = Literal["generate", "jobs", "metrics"]
SCOPES: tuple[Scope, ...] = ("generate", "jobs", "metrics")
_TOKEN = re.compile(r"^smk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
LOCK_SECONDS = 30.0
POLL_SECONDS = 0.1
_SOMEBODY_ELSE = "0" * 64


class AuthError(SynthmillError):
    """The request may not be served: 401 without a valid key, 403 with one that lacks the scope or the
    model."""

    def __init__(self, message: str, *, status: Literal[401, 403], reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)


class Key(FrozenModel):
    """One key, without its secret."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the salt's bytes followed by the secret."""
    name: str = ""
    """Whose it is; for people."""
    scopes: tuple[Scope, ...] = ("generate",)
    """generate: models, rows, images and the page. jobs: publish datasets. metrics: read /metrics."""
    models: tuple[str, ...] | None = None
    """Names it may use; null: all that are served."""
    created: datetime
    expires: datetime | None = None
    """Refused from then on; null: never."""
    quota: Quota = Quota()

    def check(self, scope: Scope, *, model: str | None = None) -> None:
        """AuthError, 403, when the key lacks the scope or may not use the model of that name."""
        if scope not in self.scopes:
            raise AuthError(
                f"Authorization: this key has no scope {scope!r}; it has: {', '.join(self.scopes)}",
                status=403,
                reason="scope",
            )
        if model is not None and self.models is not None and model not in self.models:
            raise AuthError(
                f"model: this key may not use {model!r}; it may use: {', '.join(self.models)}",
                status=403,
                reason="scope",
            )


class KeyDocument(FrozenModel):
    """The file of keys."""

    format: Literal["synthmill.keys/1"] = "synthmill.keys/1"
    keys: tuple[Key, ...] = ()


LOCAL = Key(
    id="0" * 12,
    salt="0" * 32,
    hash=_SOMEBODY_ELSE,
    name="local",
    scopes=SCOPES,
    created=datetime.fromtimestamp(0, UTC),
)
"""Who everybody is with `insecure_local`; no secret has this hash."""


class KeyFile:
    """The document at its URI, and its keys as last read."""

    def __init__(self, folder_uri: str, name: str, storage: StorageConfig) -> None:
        self._folder = Folder(folder_uri, storage)
        self._name = name
        self._keys: dict[str, Key] = {}
        self._token = ""

    @property
    def uri(self) -> str:
        return self._folder.uri_of(self._name)

    def load(self) -> None:
        """Read the keys again; no document means no keys. Keys stay as they were when the document can't be
        read.

        Raises:
            StorageError: the store can't be reached, or the document is damaged.
            RecipeError: a field of the document is wrong; names it.
        """
        self._keys = {key.id: key for key in self.read().keys}

    def read(self) -> KeyDocument:
        """The document, empty when there is none."""
        try:
            raw = self._folder.read_json(self._name)
        except MissingError:
            return KeyDocument()
        check_format(raw, "keys", newest=1, uri=self.uri)
        return parse_model(KeyDocument, raw, prefix=self._name)

    @contextmanager
    def changing(self) -> Iterator[KeyDocument]:
        """The document, for one that will `write` another: changes wait for each other, or a revoked key
        could come back.

        Raises:
            StorageError: another change does not end; names the lock file.
        """
        self._token = secrets.token_hex(16)
        self._lock()
        try:
            yield self.read()
        finally:
            # Somebody may have removed it, and another change made its own.
            if self._holds_lock():
                self._folder.delete(self._lock_name)

    def write(self, document: KeyDocument) -> None:
        """Replace the document, inside `changing`.

        Raises:
            ClaimLostError: somebody removed the lock.
        """
        if not self._holds_lock():
            raise ClaimLostError(
                f"{self.uri}: another change began during this one; nothing was written, try again"
            )
        self._folder.write_json(self._name, document.model_dump(mode="json"))

    @property
    def _lock_name(self) -> str:
        return f"{self._name}.lock"

    def _lock(self) -> None:
        last = time.monotonic() + LOCK_SECONDS
        while not self._folder.create(
            self._lock_name, json_bytes({"token": self._token, "process": owner.this_process()})
        ):
            # A process of this machine that was killed left its lock behind.
            if owner.has_ended(self._read_lock().get("process")):
                self._folder.delete(self._lock_name)
            elif time.monotonic() > last:
                raise StorageError(
                    f"{self._folder.uri_of(self._lock_name)}: another change of keys is under way; if none"
                    " is, delete this file"
                )
            else:
                time.sleep(POLL_SECONDS)

    def _holds_lock(self) -> bool:
        return self._read_lock().get("token") == self._token

    def _read_lock(self) -> dict[str, Any]:
        try:
            lock = self._folder.read_json(self._lock_name)
        except MissingError:
            return {}
        return lock if isinstance(lock, dict) else {}

    def find(self, token: str | None, *, now: datetime) -> Key:
        """The key that a client sent.

        Raises:
            AuthError: 401; says whether it is missing, wrong or expired.
        """
        if not token:
            how = (
                "send 'Authorization: Bearer KEY'"
                if self._keys
                else "there are none yet: make one with `synthmill keys create`"
            )
            raise AuthError(f"Authorization: a key is needed; {how}", status=401, reason="auth")
        # An unknown id is compared as well: the time of the answer must not tell ids that exist.
        match = _TOKEN.match(token)
        key_id, secret = match.groups() if match else ("", "")
        key = self._keys.get(key_id)
        expected = key.hash if key else _SOMEBODY_ELSE
        right = hmac.compare_digest(_hash(key.salt if key else "00", secret), expected)
        if key is None or not right:
            raise AuthError("Authorization: no such key", status=401, reason="auth")
        if key.expires is not None and key.expires <= now:
            raise AuthError(
                f"Authorization: this key expired at {key.expires.isoformat()}", status=401, reason="auth"
            )
        return key


def create_key(
    file: KeyFile,
    *,
    name: str,
    scopes: tuple[Scope, ...],
    models: tuple[str, ...] | None,
    days: float | None,
    quota: Quota,
    now: datetime,
) -> tuple[str, Key]:
    """Add a key to the document; returns what the client must send, which is stored nowhere, and the key."""
    # A long random secret needs no slow hash: nobody can try 2^256 of them.
    key_id, salt, secret = secrets.token_hex(6), secrets.token_hex(16), secrets.token_urlsafe(32)
    key = Key(
        id=key_id,
        salt=salt,
        hash=_hash(salt, secret),
        name=name,
        scopes=scopes,
        models=models,
        created=now,
        expires=now + timedelta(days=days) if days is not None else None,
        quota=quota,
    )
    with file.changing() as document:
        file.write(KeyDocument(keys=(*document.keys, key)))
    return f"smk_{key_id}_{secret}", key


def revoke_key(file: KeyFile, key_id: str) -> Key:
    """Take a key out of the document; servers refuse it within 10 s."""
    with file.changing() as document:
        revoked = next((key for key in document.keys if key.id == key_id), None)
        if revoked is None:
            raise NotFoundError(
                f"no key {key_id!r}{did_you_mean(key_id, [key.id for key in document.keys])}", field="key"
            )
        file.write(KeyDocument(keys=tuple(key for key in document.keys if key.id != key_id)))
    return revoked


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Comma-separated scopes; UserError names an unknown one."""
    parts = tuple(part.strip() for part in text.split(","))
    for part in parts:
        if part not in SCOPES:
            raise UserError(f"no scope {part!r}{did_you_mean(part, SCOPES)}", field="--scopes")
    # In one order and once each, however they were written.
    return tuple(scope for scope in SCOPES if scope in parts)


def parse_names(text: str) -> tuple[str, ...]:
    """Comma-separated names of models; UserError names what is none."""
    parts = tuple(part.strip() for part in text.split(","))
    for part in parts:
        if not re.fullmatch(NAME_PATTERN, part):
            why = (
                "a key is for all versions of a model: leave out @ and what follows"
                if "@" in part
                else "expected NAME or NAME,NAME"
            )
            raise UserError(f"{part!r} is no name of a model; {why}", field="--models")
    return tuple(dict.fromkeys(parts))


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()
