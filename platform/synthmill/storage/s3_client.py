"""Connections to S3 and what its errors mean.

Clients are cached per process and per set of AWS_* environment variables, never pickled. Retries are ours
(`retry.py`), because the SDKs bound theirs by number, not by time.
"""

import os
import threading
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pyarrow.fs
from urllib3.exceptions import HTTPError as Urllib3Error

from synthmill.config import StorageConfig
from synthmill.errors import MissingError, RecipeError
from synthmill.storage.retry import Fault
from synthmill.storage.uri import redact

CHECKSUM_VARIABLES = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
CONNECTIONS = 32  # More than the threads of `Folder`; with fewer, boto3 opens and drops one for each request.
_TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
_TRANSIENT_CODES = (
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "Throttling",
    "ThrottlingException",
    "ConditionalRequestConflict",
)
_NETWORK = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
    Urllib3Error,
    ConnectionError,
    TimeoutError,
)
_REASONS = {
    "NoSuchBucket": "the bucket does not exist; create it first",
    "AccessDenied": "access denied; check the credentials and the bucket's policy",
    "InvalidAccessKeyId": "the access key is not known to the server; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the signature is wrong; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session token has expired; log in again",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the server's",
    "NotImplemented": "this server lacks what publishing needs (create-if-absent by If-None-Match)",
    "401": "not authorised; check the credentials",
    "403": "access denied; check the credentials and the bucket's policy",
    "404": "not found",
}

_clients: dict[Any, Any] = {}
_filesystems: dict[Any, Any] = {}
_lock = threading.Lock()


def client(settings: StorageConfig) -> Any:
    """The boto3 client of this process for the environment as it is now."""
    with _lock:
        # Under the lock, as `filesystem` changes the environment for a moment.
        key = _key(settings)
        if key not in _clients:
            try:
                _clients[key] = _connect(settings)
            except ValueError as fault:
                raise RecipeError(redact(str(fault)), field="AWS_ENDPOINT_URL") from None
        return _clients[key]


def filesystem(settings: StorageConfig, bucket: str) -> Any:
    """The PyArrow filesystem that reads what `client` writes: same endpoint, same region."""
    boto = client(settings)
    with _lock:
        key = (_key(settings), bucket)
        if key not in _filesystems:
            _filesystems[key] = _new_filesystem(settings, boto, bucket)
        return _filesystems[key]


def explain(raised: Exception) -> Fault | None:
    """What an exception of the SDK means; None: not one of the SDK's."""
    if isinstance(raised, botocore.exceptions.ClientError):
        return _explain_answer(raised)
    text = redact(str(raised) or type(raised).__name__)
    short = text if len(text) <= 200 else text[:200] + "..."
    # Before the network's errors, of which it is one to botocore: a wrong certificate stays wrong.
    if isinstance(raised, botocore.exceptions.SSLError):
        fix = "check the endpoint and AWS_CA_BUNDLE"
        return Fault(f"no safe connection; {fix} ({short})", transient=False)
    if isinstance(raised, _NETWORK):
        return Fault(f"no answer from S3 ({short})", transient=True)
    if isinstance(
        raised, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError
    ):
        fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or use an instance profile"
        return Fault(f"no AWS credentials; {fix}", transient=False)
    if isinstance(raised, botocore.exceptions.BotoCoreError):
        return Fault(redact(str(raised)), transient=False)
    return None


def status_of(raised: Exception) -> int:
    """The HTTP status of an answer that the SDK raised; 0: there was no answer."""
    if isinstance(raised, botocore.exceptions.ClientError):
        return int(raised.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0


def attempt_seconds(settings: StorageConfig) -> float:
    """How long one try may hang: two must fit into `retry_seconds`, or there would be no second one."""
    return min(settings.read_seconds, settings.retry_seconds / 2) or settings.read_seconds


def _explain_answer(raised: Any) -> Fault:
    status, error = status_of(raised), raised.response.get("Error", {})
    code = str(error.get("Code", ""))
    if code == "NoSuchKey":
        return Fault("there is no such file", transient=False, error=MissingError)
    # Answers without a body (HEAD) have the status as their code.
    both = str(status) if code in ("", str(status)) else f"{status} {code}"
    answer = redact(f"S3 answered {both} ({error.get('Message') or 'no message'})")
    transient = status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES
    reason = _REASONS.get(code) or _REASONS.get(str(status))
    return Fault(f"{reason}; {answer}" if reason and not transient else answer, transient=transient)


def _key(settings: StorageConfig) -> Any:
    # The process too: after a fork two processes must not share the sockets of one client.
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    return os.getpid(), settings, environment


def _connect(settings: StorageConfig) -> Any:
    seconds = attempt_seconds(settings)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    options: dict[str, Any] = {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": min(settings.connect_seconds, seconds),
        "read_timeout": seconds,
        "max_pool_connections": CONNECTIONS,
    }
    session = boto3.session.Session()
    if not endpoint:
        # A profile in ~/.aws/config may name an endpoint too, which only a client can tell.
        plain = session.client("s3", config=botocore.config.Config(**options))
        if not _custom(plain):
            return plain
        endpoint = plain.meta.endpoint_url
    # Ceph RGW 16-17 and older MinIO answer 411 to the checksum trailers that the SDKs send by default.
    for name in CHECKSUM_VARIABLES:
        if name not in os.environ:
            options[name.removeprefix("AWS_").lower()] = "when_required"
    # Servers of one's own have no regions, but requests can't be signed without one.
    region = session.region_name or "us-east-1"
    config = botocore.config.Config(**options)
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)


def _new_filesystem(settings: StorageConfig, boto: Any, bucket: str) -> Any:
    seconds = attempt_seconds(settings)
    attempts = _max_attempts(settings.retry_seconds)
    options: dict[str, Any] = {
        "region": _region(boto, bucket),
        "connect_timeout": min(settings.connect_seconds, seconds),
        "request_timeout": seconds,
        "retry_strategy": pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    }
    if not _custom(boto):
        return pyarrow.fs.S3FileSystem(**options)
    scheme, _, host = boto.meta.endpoint_url.partition("://")
    # PyArrow takes these settings from the environment alone, and reads them when a filesystem is made.
    unset = [name for name in CHECKSUM_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, "when_required"))
    try:
        return pyarrow.fs.S3FileSystem(endpoint_override=host, scheme=scheme, **options)
    finally:
        for name in unset:
            del os.environ[name]


def _custom(boto: Any) -> bool:
    host = boto.meta.endpoint_url.partition("://")[2].partition("/")[0]
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _region(boto: Any, bucket: str) -> str:
    """The bucket's own region: PyArrow does not follow redirects to it."""
    answer: Any = {}
    if not _custom(boto):
        try:
            answer = boto.head_bucket(Bucket=bucket)
        except botocore.exceptions.ClientError as raised:
            answer = raised.response  # A redirect or a refusal names the region as well.
        except botocore.exceptions.BotoCoreError:
            pass  # The first request will say what is wrong.
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or boto.meta.region_name)


def _max_attempts(retry_seconds: float) -> int:
    """How many tries fit: PyArrow bounds them by number, and pause n takes min(2^n / 2, 20) s on average."""
    attempts, spent = 1, 0.0
    while (spent := spent + min(2.0**attempts / 2, 20.0)) <= retry_seconds:
        attempts += 1
    return attempts
