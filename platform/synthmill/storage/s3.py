"""`s3://`: conditional puts, encryption and checksums by boto3; scans by PyArrow.

Every object is written by one PUT: a connection cut in the middle leaves nothing behind, and a condition
(`If-None-Match`) holds for the whole object.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from synthmill.errors import StorageError
from synthmill.storage import s3_client
from synthmill.storage.backend import CHUNK_BYTES, Backend, Entry
from synthmill.storage.retry import retrying

T = TypeVar("T")
MAX_PUT_BYTES = 5 << 30  # S3's own limit for one PUT.
_NOT_FOUND = 404
_PRECONDITION_FAILED = 412
# What servers without multipart uploads answer to a request about them.
_NO_SUCH_REQUEST = (405, 501)


class S3Backend(Backend):
    """A prefix of a bucket."""

    def filesystem(self) -> tuple[Any, str]:
        path = "/".join(filter(None, (self.location.bucket, self.location.root)))
        return s3_client.filesystem(self.settings, self.location.bucket), path

    def write(self, path: str, data: bytes | memoryview) -> None:
        # The client takes no other type.
        body = bytes(data)
        self._call(path, lambda s3, _: s3.put_object(**self._target(path), **self._checksum(body), Body=body))

    def upload(self, local: Path, path: str, sha256: str | None) -> None:
        size = local.stat().st_size
        if size > MAX_PUT_BYTES:
            raise StorageError(f"{self.uri_of(path)}: a file may have at most 5 GiB, not {size} bytes")
        checksum = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}

        def put(s3: Any, _: int) -> None:
            # Opened for each try: a failed one leaves the position somewhere in the middle.
            with local.open("rb") as body:
                s3.put_object(**self._target(path), **checksum, Body=body)

        self._call(path, put)

    def create(self, path: str, data: bytes) -> bool:
        def put(s3: Any, tries: int) -> bool:
            try:
                s3.put_object(**self._target(path), **self._checksum(data), Body=data, IfNoneMatch="*")
            except Exception as raised:
                if s3_client.status_of(raised) != _PRECONDITION_FAILED:
                    raise
                # Refused at a later try, the object may be our own: an earlier try's answer was lost.
                return tries > 0 and b"".join(self.chunks(path)) == data
            return True

        return self._call(path, put)

    def move(self, path: str, target: Backend, target_path: str) -> None:
        assert isinstance(target, S3Backend), "moves stay within one scheme"
        source = self._where(path)
        self._call(path, lambda s3, _: s3.copy_object(**target._target(target_path), CopySource=source))
        self.delete(path)

    def delete(self, path: str) -> None:
        self._call(path, lambda s3, _: s3.delete_object(**self._where(path)))

    def prune(self, path: str) -> None:
        """S3 has no folders to remove."""

    def now(self) -> datetime:
        arguments = {"Bucket": self.location.bucket, "Prefix": self._key(""), "MaxKeys": 1}
        return _server_time(self._call("", lambda s3, _: s3.list_objects_v2(**arguments)))

    def age_seconds(self, path: str) -> float | None:
        # One answer states both the object's time and the server's clock.
        answer = self._head(path)
        return None if answer is None else (_server_time(answer) - answer["LastModified"]).total_seconds()

    def remove_strays(self, before: datetime) -> list[str]:
        # Ours never leave any behind; other programs that write below the same prefix may.
        root = self._key("")
        removed = []
        for upload in self._uploads(root):
            if upload["Initiated"] <= before and self._abort(upload["Key"], upload["UploadId"]):
                removed.append(upload["Key"][len(root) :])
        return sorted(removed)

    def chunks(self, path: str) -> Iterator[bytes]:
        """One GET; when the connection breaks, another one for the rest of the same object."""
        reader = _Reader(self._where(path))
        try:
            while chunk := self._call(path, lambda s3, _: reader.next(s3)):
                yield chunk
        finally:
            reader.close()

    def open_input(self, path: str) -> Any:
        # By boto3 first: PyArrow bounds its retries by number, and its errors say less about the cause.
        if self._head(path) is None:
            raise self.missing(path)
        return super().open_input(path)

    def stat(self, path: str) -> Entry | None:
        answer = self._head(path)
        return None if answer is None else Entry(path, answer["ContentLength"], answer["LastModified"])

    def entries(self, prefix: str, recursive: bool) -> list[Entry]:
        root = self._key("")
        # Keys that end in "/" are empty objects by which consoles show folders; they are no files.
        return [
            Entry(item["Key"][len(root) :], item["Size"], item["LastModified"])
            for page in self._pages(root + prefix, {} if recursive else {"Delimiter": "/"})
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/")
        ]

    def children(self) -> list[str]:
        root = self._key("")
        pages = self._pages(root, {"Delimiter": "/"})
        prefixes = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(prefix[len(root) :].rstrip("/") for prefix in prefixes)

    def markers(self, depth: int) -> list[str]:
        root = self._key("")
        arguments: dict[str, Any] = {"Bucket": self.location.bucket, "Prefix": root}
        found: list[str] = []
        while True:
            page = self._call("", lambda s3, _: s3.list_objects_v2(**arguments))
            paths = [item["Key"][len(root) :] for item in page.get("Contents", ())]
            found += [path for path in paths if _is_marker(path, depth)]
            if not page.get("IsTruncated"):
                return sorted(found)
            arguments.pop("ContinuationToken", None)
            # Parts and receipts would fill pages by the thousand: the listing goes on behind them.
            onward = _beyond(paths[-1], depth)
            if onward is None:
                arguments["ContinuationToken"] = page["NextContinuationToken"]
            else:
                arguments["StartAfter"] = root + onward

    def reason(self, fault: OSError) -> str:
        return str(fault)

    def _uploads(self, prefix: str) -> Iterator[Any]:
        """Multipart uploads that were never completed; none on servers without multipart uploads."""
        arguments: dict[str, Any] = {"Bucket": self.location.bucket, "Prefix": prefix}

        def list_page(s3: Any, _: int) -> Any:
            try:
                return s3.list_multipart_uploads(**arguments)
            except Exception as raised:
                if s3_client.status_of(raised) in _NO_SUCH_REQUEST:
                    return {}
                raise

        while True:
            page = self._call("", list_page)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            arguments |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _abort(self, key: str, upload: str) -> bool:
        """End a multipart upload; False: its writer completed or aborted it since it was listed."""

        def abort(s3: Any, _: int) -> bool:
            try:
                s3.abort_multipart_upload(Bucket=self.location.bucket, Key=key, UploadId=upload)
            except Exception as raised:
                if s3_client.status_of(raised) != _NOT_FOUND:
                    raise
                return False
            return True

        return self._call("", abort)

    def _head(self, path: str) -> Any:
        """Size, time and the server's clock for one object; None: no such object."""

        def head(s3: Any, _: int) -> Any:
            try:
                return s3.head_object(**self._where(path))
            except Exception as raised:
                if s3_client.status_of(raised) == _NOT_FOUND:
                    return None
                raise

        return self._call(path, head)

    def _pages(self, prefix: str, extra: dict[str, str]) -> Iterator[Any]:
        arguments = {"Bucket": self.location.bucket, "Prefix": prefix, **extra}
        while True:
            page = self._call("", lambda s3, _: s3.list_objects_v2(**arguments))
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _call(self, path: str, request: Callable[[Any, int], T]) -> T:
        # A client for each try: new credentials in the environment take effect at the next one.
        return retrying(
            lambda tries: request(s3_client.client(self.settings), tries),
            uri=self.uri_of(path),
            seconds=self.settings.retry_seconds,
            explain=s3_client.explain,
        )

    def _key(self, path: str) -> str:
        return f"{self.location.root}/{path}" if self.location.root else path

    def _where(self, path: str) -> dict[str, str]:
        return {"Bucket": self.location.bucket, "Key": self._key(path)}

    def _target(self, path: str) -> dict[str, str]:
        """Bucket and key for a write, with encryption as the settings state."""
        if self.settings.encryption == "none":
            return self._where(path)
        if self.settings.encryption == "sse-s3":
            return {**self._where(path), "ServerSideEncryption": "AES256"}
        key = {"SSEKMSKeyId": self.settings.kms_key_id} if self.settings.kms_key_id else {}
        return {**self._where(path), "ServerSideEncryption": "aws:kms", **key}

    @staticmethod
    def _checksum(data: bytes) -> dict[str, str]:
        # The server refuses the object if other bytes arrive.
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode()}


class _Reader:
    """Chunks of one object; after a fault it is opened again at the same place, for the same bytes."""

    def __init__(self, where: dict[str, str]) -> None:
        self.where = where
        self.body: Any = None
        self.offset = 0
        self.total = -1  # Unknown before the first answer.
        self.same_object: dict[str, str] = {}

    def next(self, s3: Any) -> bytes:
        if self.offset == self.total:
            return b""
        try:
            if self.body is None:
                rest = {"Range": f"bytes={self.offset}-"} if self.offset else {}
                answer = s3.get_object(**self.where, **rest, **self.same_object)
                self.body = answer["Body"]
                if self.total < 0:
                    self.total = answer["ContentLength"]
                    # Replaced meanwhile, the rest would be of another object: the server then refuses.
                    self.same_object = {"IfMatch": answer["ETag"]}
            chunk: bytes = self.body.read(CHUNK_BYTES)
            if not chunk and self.offset < self.total:
                # A cut connection can look like the end of the body.
                raise ConnectionError(f"the answer ended after {self.offset} of {self.total} bytes")
        except Exception:
            self.close()
            raise
        self.offset += len(chunk)
        return chunk

    def close(self) -> None:
        """Free the connection, which a body that was not read to its end would keep busy."""
        if self.body is not None:
            self.body.close()
            self.body = None


def _is_marker(path: str, depth: int) -> bool:
    return path.count("/") == depth and path.rpartition("/")[2].startswith("_")


def _beyond(path: str, depth: int) -> str | None:
    """The key after which a listing that has come to `path` may meet a marker; None: anywhere."""
    parts = path.split("/", depth)
    if len(parts) <= depth or (parts[depth].startswith("_") and "/" not in parts[depth]):
        return None
    folder, rest = "/".join(parts[:depth]), parts[depth]
    if rest < "_":
        return f"{folder}/_"
    # "0" is what follows "/": the end of a folder inside, or of the whole one.
    inner = rest.partition("/")[0]
    return f"{folder}/{inner}0" if rest.startswith("_") else f"{folder}0"


def _server_time(answer: Any) -> datetime:
    """The server's clock, which stamps objects, from its answer; this machine's if the server states none."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date).astimezone(UTC) if date else datetime.now(UTC)
