"""Every storage fault, provoked: a proxy before the S3 server fails on purpose; disks fill up for real."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from faults import FOR_EVER, Proxy, faulty_proxy
from processes import until
from pythons import run_python
from synthmill.catalog.store import Store
from synthmill.config import StorageConfig
from synthmill.errors import MissingError, RecipeError, StorageError
from synthmill.storage import publish
from synthmill.storage.folder import Folder
from synthmill.storage.s3_client import CHECKSUM_VARIABLES

QUICK = StorageConfig(retry_seconds=0.6)
"""For servers that never answer: one try may last half of that, which an answer of a busy machine may need as
well."""
PATIENT = StorageConfig(retry_seconds=20.0)
DATA = os.urandom(1 << 20)


@pytest.fixture(scope="module")
def running_proxy(s3) -> Iterator[Proxy]:
    with faulty_proxy(s3.endpoint) as running:
        yield running


@pytest.fixture
def proxy(running_proxy: Proxy, s3_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that the environment points at instead of the server; it works until it is told to fail."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", running_proxy.endpoint)
    yield running_proxy
    running_proxy.work()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the pauses between tries add up to; they take no time, so a patient folder gives up soon, and
    waits for slow answers."""
    now = [0.0]
    moved = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    monkeypatch.setattr("synthmill.storage.retry.time", moved)
    return now


@pytest.mark.parametrize("action", ["500", "503", "reset", "cut-upload", "lose-answer"])
def test_a_write_survives_faults_that_pass(proxy: Proxy, s3_store: str, action, tmp_path: Path) -> None:
    folder, local = Folder(s3_store, PATIENT), tmp_path / "part"
    local.write_bytes(DATA)
    for write in (
        lambda: folder.write_bytes("x", DATA),
        lambda: folder.upload(local, "x", sha256=Folder(tmp_path).digest("part")[0]),
    ):
        proxy.fail(action, times=2, on="^PUT")
        write()
        assert proxy.times == 0
        assert folder.read_bytes("x") == DATA


@pytest.mark.parametrize("action", ["500", "503", "reset", "cut-answer"])
def test_a_read_survives_faults_that_pass(proxy: Proxy, s3_store: str, action, tmp_path: Path) -> None:
    folder = Folder(s3_store, PATIENT)
    folder.write_bytes("x", DATA * 3)
    proxy.fail(action, times=2, on="^GET")
    assert folder.read_bytes("x") == DATA * 3
    assert proxy.times == 0
    proxy.fail(action, times=1, on="^GET")
    folder.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA * 3


def test_a_silent_server_is_asked_again(proxy: Proxy, s3_store: str) -> None:
    folder = Folder(s3_store, StorageConfig(retry_seconds=60.0, read_seconds=0.5))
    folder.write_bytes("x", b"1")
    proxy.fail("hang", times=1)
    assert folder.read_bytes("x") == b"1"


@pytest.mark.parametrize(
    ("action", "said", "settings"),
    [
        ("500", "500 InternalError", PATIENT),
        ("503", "503 SlowDown", PATIENT),
        ("reset", "no answer", QUICK),
        ("hang", "no answer", QUICK),
    ],
)
def test_a_fault_for_good_is_one_clear_line(
    proxy: Proxy, s3_store: str, clock, action, said: str, settings: StorageConfig
) -> None:
    folder = Folder(s3_store, settings)
    proxy.fail(action)
    calls = [
        lambda: folder.write_bytes("x", DATA),
        lambda: folder.create("x", b"1"),
        lambda: folder.read_bytes("x"),
        lambda: folder.list(),
        lambda: folder.exists("x"),
        lambda: folder.open_input("x"),
    ]
    for call in calls:
        with pytest.raises(StorageError, match=re.escape(s3_store)) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3
    with pytest.raises(StorageError, match=rf"{said}.*gave up after \d+ tries"):
        folder.read_bytes("x")


def test_giving_up_takes_no_longer_than_retry_seconds(
    proxy: Proxy, s3_store: str, clock: list[float]
) -> None:
    proxy.fail("503")
    with pytest.raises(StorageError, match="gave up"):
        Folder(s3_store, StorageConfig(retry_seconds=120.0)).read_bytes("x")
    assert 60 < clock[0] <= 120
    assert 7 <= len(proxy.seen) <= 20


@pytest.mark.parametrize("action", ["cut-upload", "reset"])
def test_a_cut_upload_leaves_no_truncated_object(
    proxy: Proxy, s3_store: str, s3, clock, action, tmp_path: Path
) -> None:
    local = tmp_path / "part"
    local.write_bytes(DATA)
    proxy.fail(action, on="^PUT")
    with pytest.raises(StorageError, match="no answer"):
        Folder(s3_store, PATIENT).upload(local, "part-00000.parquet")
    proxy.times = 0
    assert Folder(s3_store).list() == []
    assert not s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads")


def test_a_claim_whose_answer_was_lost_is_ours(proxy: Proxy, s3_store: str) -> None:
    folder = Folder(s3_store, PATIENT)
    proxy.fail("lose-answer", times=1, on="^PUT")
    assert folder.create("claim", b"ours")
    assert not folder.create("claim", b"theirs")


def test_a_foreign_claim_stays_foreign_after_a_retry(proxy: Proxy, s3_store: str) -> None:
    folder = Folder(s3_store, PATIENT)
    assert folder.create("claim", b"theirs")
    proxy.fail("500", times=1, on="^PUT")
    assert not folder.create("claim", b"ours")


@pytest.mark.parametrize(
    ("action", "words"),
    [("403", "check AWS_SECRET_ACCESS_KEY"), ("404-bucket", "the bucket does not exist; create it first")],
)
def test_faults_that_will_not_pass_are_said_at_once(proxy: Proxy, s3_store: str, action, words: str) -> None:
    proxy.fail(action)
    for call in (
        lambda folder: folder.probe_write(),
        lambda folder: folder.read_bytes("x"),
        lambda folder: folder.children(),
    ):
        proxy.seen.clear()
        with pytest.raises(StorageError, match=words) as caught:
            call(Folder(s3_store, PATIENT))
        assert not isinstance(caught.value, MissingError)
        assert len(proxy.seen) <= 2


def test_wrong_credentials_have_a_clear_line_for_requests_without_a_body(proxy: Proxy, s3_store: str) -> None:
    proxy.fail("403")
    with pytest.raises(StorageError, match="access denied; check the credentials"):
        Folder(s3_store, PATIENT).exists("x")


def test_a_missing_bucket(s3_store: str) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket-here/x/_probe.*the bucket does not exist"):
        Store("s3://no-such-bucket-here/x", PATIENT).begin("models", "m", run_key="k", run_id="r")


def test_no_credentials(s3_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no AWS credentials"):
        Folder(s3_store, PATIENT).read_bytes("x")


def test_nobody_listens(s3_store: str, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hidden@127.0.0.1:9")
    with pytest.raises(StorageError, match=r"no answer from S3.*Could not connect") as caught:
        Folder(s3_store, PATIENT).read_bytes("x")
    assert "hidden" not in str(caught.value)


def test_an_endpoint_that_is_none(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    with pytest.raises(RecipeError, match="AWS_ENDPOINT_URL: Invalid endpoint: localhost"):
        Folder(s3_store, PATIENT).read_bytes("x")


def test_somebody_who_watches_is_told(
    proxy: Proxy, s3_store: str, clock, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fail("503", times=4)
    assert Folder(s3_store, PATIENT).list() == []
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert re.search(f"{s3_store}: S3 answered 503 SlowDown .*; trying again for up to 1[0-9] s", warnings[0])


def test_a_store_that_overwrites_is_not_written_to(proxy: Proxy, s3_store: str) -> None:
    proxy.fail("ignore-if-none-match")
    with pytest.raises(StorageError, match="ignores If-None-Match"):
        Store(s3_store).begin("models", "m", run_key="k", run_id="r")
    proxy.times = 0
    assert Folder(s3_store).list() == []


@pytest.mark.parametrize(
    ("encryption", "key", "expected"),
    [
        ("sse-s3", None, ("AES256", None)),
        ("sse-kms", "alias/ours", ("aws:kms", "alias/ours")),
        ("none", None, (None, None)),
    ],
)
def test_objects_are_encrypted_as_asked(s3_store: str, s3, tmp_path: Path, encryption, key, expected) -> None:
    folder = Folder(s3_store, StorageConfig(encryption=encryption, kms_key_id=key))
    (tmp_path / "part").write_bytes(b"1")
    folder.write_bytes("written", b"1")
    folder.create("created", b"1")
    folder.upload(tmp_path / "part", "uploaded")
    folder.move("uploaded", folder, "moved")
    for path in ("written", "created", "moved"):
        answer = s3.client().head_object(Bucket=s3.bucket, Key=f"{s3_store.rpartition('/')[2]}/{path}")
        assert (answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId")) == expected


def _checksum_headers(proxy: Proxy) -> set[str]:
    asked = {name for headers in proxy.headers for name in headers}
    return {
        name
        for name in asked
        if name in ("x-amz-trailer", "x-amz-checksum-mode", "x-amz-sdk-checksum-algorithm")
    }


def test_a_custom_endpoint_gets_no_checksum_trailers(
    proxy: Proxy, s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceph RGW 16-17 and older MinIO answer 411 to them. The user's own setting counts more."""
    (tmp_path / "part").write_bytes(DATA)

    def use(folder: Folder) -> None:
        folder.upload(tmp_path / "part", "x")
        folder.read_bytes("x")
        filesystem, root = folder.filesystem()
        with filesystem.open_input_file(f"{root}/x") as source:
            source.read()
        with filesystem.open_output_stream(f"{root}/y") as sink:
            sink.write(b"1")

    for name in CHECKSUM_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    use(Folder(s3_store))
    assert _checksum_headers(proxy) == set()
    assert not any(name in os.environ for name in CHECKSUM_VARIABLES)
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    use(Folder(s3_store))
    assert _checksum_headers(proxy) == {"x-amz-checksum-mode"}


def test_a_heartbeat_that_hangs_does_not_hold_up_the_end(
    proxy: Proxy, s3_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "RELEASE_SECONDS", 0.01)
    lease = publish.acquire(
        Folder(s3_store), [], run_key="k", run_id="r", timing=publish.Timing(heartbeat_seconds=0.01)
    )
    with lease.alive():
        proxy.fail("hang")
        until(lambda: proxy.times < FOR_EVER, what="a heartbeat that hangs")
    assert not proxy.released.is_set()


def test_a_job_that_fails_because_the_store_is_gone_says_so(proxy: Proxy, s3_store: str, clock) -> None:
    draft = Store(s3_store, PATIENT).begin("models", "m", run_key="k", run_id="r")

    def job() -> None:
        with draft:
            proxy.fail("503")
            draft.folder.write_bytes("weights", b"1")

    with pytest.raises(StorageError, match="m/1/weights: S3 answered 503 SlowDown"):
        job()


def test_a_server_without_multipart_uploads_has_no_strays(proxy: Proxy, s3_store: str) -> None:
    folder = Folder(s3_store)
    proxy.fail("501", on=r"\?uploads")
    assert folder.remove_strays(folder.now()) == []


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="a part of the path is a file, not a folder"):
        Store(tmp_path / "file" / "store").begin("models", "m", run_key="k", run_id="r")


@pytest.mark.parametrize("parent", ["/proc", "/sys"])
def test_a_read_only_folder(parent: str) -> None:
    """Not even root can make a folder there."""
    with pytest.raises(
        StorageError,
        match=f"file://{parent}/.*(permission denied|the file system is read-only|can't be made)",
    ):
        Folder(f"{parent}/synthmill").probe_write()


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """On a file system of 64 KiB in a mount namespace of our own, where the system lets us have one."""
    code = (
        "import sys\nfrom synthmill.storage.folder import Folder\nfrom synthmill.errors import"
        " StorageError\nfolder = Folder(sys.argv[1])\nfolder.write_bytes('x', b'old')\ntry:"
        " folder.write_bytes('y', bytes(1_000_000))\nexcept StorageError as fault: print(fault, [entry.path"
        " for entry in folder.list()], folder.read_bytes('x'))\n"
    )
    mount = (
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o size=64k none "$0" && exec "$@"',
        str(tmp_path),
    )
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here; the limit on file sizes below shows the same")
    printed = run_python(code, tmp_path, before=mount)
    assert printed.strip() == f"file://{tmp_path}/y: the disk is full ['x'] b'old'"


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails in the middle, as on a full one."""
    code = (
        "import resource, signal, sys\n"
        "from synthmill.storage.folder import Folder\n"
        "from synthmill.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "folder = Folder(sys.argv[1])\n"
        "folder.write_bytes('x', b'old')\n"
        "try: folder.write_bytes('x', bytes(1_000_000))\n"
        "except StorageError as fault: print(fault)\n"
    )
    printed = run_python(code, tmp_path)
    assert (
        printed.strip() == f"file://{tmp_path}/x: the file is larger than this process or file system allows"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_full_disk_while_a_part_is_written_locally(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, resource, signal, sys\n"
        "import pyarrow\n"
        "from synthmill.storage.parquet import write_part\n"
        "from synthmill.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "table = pyarrow.table({'x': [os.urandom(100) for _ in range(10_000)]})\n"
        "try: write_part([table], table.schema, pathlib.Path(sys.argv[1], 'part'), {})\n"
        "except StorageError as fault: print(fault)\n"
    )
    printed = run_python(code, tmp_path)
    assert (
        printed.strip()
        == f"file://{tmp_path}/part: the file is larger than this process or file system allows"
    )
