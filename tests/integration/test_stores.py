"""What every store of files does, and what it makes of its failures."""

import hashlib
import io
import itertools
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from avipipe.errors import AvipipeError, ConfigError, ManifestError, RunError
from avipipe.manifests.destination import Destination
from avipipe.manifests.stores import open_store, remote
from avipipe.manifests.stores import s3 as stores_s3
from avipipe.manifests.stores.base import Changed, DatasetStore, FileDigest, NotThere, Tagged
from tests.s3 import CONDITIONS, PASSING_FAULTS, Bucket, Fault, Proxy, Request, answer


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, so that the tests end soon, and call a few megabytes a large file."""
    monkeypatch.setattr(remote, "PATIENCE_S", 0.5)
    once = {"total_max_attempts": 1}
    monkeypatch.setitem(stores_s3.OPTIONS["config_kwargs"], "retries", once)
    monkeypatch.setattr(stores_s3, "_PART_BYTES", 5 << 20)
    monkeypatch.setattr(stores_s3, "_ONE_PUT_BYTES", 10 << 20)


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "set")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/set"
    bucket: Bucket = request.getfixturevalue("bucket")
    return f"{bucket.url}/set"


def place(store: DatasetStore, name: str, data: bytes) -> FileDigest:
    draft = store.draft_path(name.rpartition("/")[0])
    draft.write_bytes(data)
    written = FileDigest(hashlib.sha256(data).hexdigest(), len(data))
    try:
        store.place(draft, name, written)
    finally:
        draft.unlink(missing_ok=True)
    return written


def content(store: DatasetStore, name: str) -> bytes | None:
    found = store.read(name)
    return None if found is None else found.data


def test_nothing_is_there_at_first(url: str) -> None:
    store = open_store(url)
    store.look()
    assert store.read("dataset.json") is None
    assert store.stat("shards/a.tar") is None
    assert store.names("shards") == store.names("") == []
    store.remove("dataset.json")
    with pytest.raises(NotThere):
        store.open("dataset.json")
    with pytest.raises(Changed):
        store.swap("dataset.json", b"new", "tag")
    assert store.modified_s("dataset.json") is None


def test_what_is_written_is_read(url: str) -> None:
    store = open_store(url)
    store.write("manifest/a", b"one")
    store.write("manifest/a", b"two")
    assert content(store, "manifest/a") == b"two"
    found = store.stat("manifest/a")
    assert found is not None
    assert found.num_bytes == 3
    assert found.sha256 in ("", hashlib.sha256(b"two").hexdigest())
    modified_s = store.modified_s("manifest/a")
    assert modified_s is not None
    assert abs(modified_s - time.time()) < 60
    store.write("b", b"")
    assert content(store, "b") == b""
    assert store.names("manifest") == ["manifest/a"]
    assert store.names("") == ["b", "manifest"]


def test_a_file_is_read_in_parts(url: str) -> None:
    data = os.urandom(9 << 20)
    place(open_store(url), "shards/a", data)
    with open_store(url).open("shards/a") as file:
        assert file.read(10) == data[:10]
        file.seek(5 << 20)
        assert file.read(100) == data[5 << 20 : (5 << 20) + 100]
        assert file.seek(-7, io.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]
        file.seek(0)
        assert file.read() == data
    assert open_store(url).read_range("shards/a", 3, 8) == data[3:8]


def test_only_what_is_not_there_is_created(url: str) -> None:
    store = open_store(url)
    tag = store.create("lease.json", b"mine")
    assert store.read("lease.json") == Tagged(b"mine", tag)
    with pytest.raises(Changed):
        store.create("lease.json", b"yours")
    assert content(store, "lease.json") == b"mine"


def test_only_what_is_known_is_swapped_and_removed(url: str) -> None:
    store = open_store(url)
    old = store.create("dataset.json", b"1")
    new = store.swap("dataset.json", b"2", old)
    assert new != old
    for act in (
        lambda: store.swap("dataset.json", b"3", old),
        lambda: store.remove("dataset.json", old),
    ):
        with pytest.raises(Changed):
            act()
    assert content(store, "dataset.json") == b"2"
    store.remove("dataset.json", new)
    assert store.read("dataset.json") is None
    assert store.names("") == []


def test_a_draft_comes_whole_and_over_what_is_damaged(url: str) -> None:
    store = open_store(url)
    data = os.urandom(1000)
    place(store, "shards/a.tar", data)
    assert content(store, "shards/a.tar") == data
    assert place(store, "shards/a.tar", data).num_bytes == 1000
    for damage in (data[:500], bytes(1000)):
        store.write("shards/a.tar", damage)
        place(store, "shards/a.tar", data)
        assert content(store, "shards/a.tar") == data
    assert store.names("shards") == ["shards/a.tar"]


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *itertools.product(("GET", "PUT"), PASSING_FAULTS),
        *itertools.product(("HEAD", "DELETE"), ("503", "dropped reply")),
    ],
)
def test_what_passes_changes_nothing(s3: Proxy, bucket: Bucket, method: str, kind: str) -> None:
    """Each kind of request goes wrong once; every operation does what it does without."""
    store = open_store(f"{bucket.url}/set")

    def spoilt() -> None:
        s3.spoil_once(PASSING_FAULTS[kind], lambda request: request.method == method)

    spoilt()
    tag = store.create("dataset.json", b"1")
    spoilt()
    with pytest.raises(Changed):
        store.create("dataset.json", b"other")
    spoilt()
    new = store.swap("dataset.json", b"2", tag)
    spoilt()
    with pytest.raises(Changed):
        store.swap("dataset.json", b"3", tag)
    spoilt()
    assert store.read("dataset.json") == Tagged(b"2", new)
    assert bucket.read("set/dataset.json") == b"2"
    spoilt()
    assert store.read("nothing") is None
    spoilt()
    assert store.stat("dataset.json") is not None
    spoilt()
    written = place(store, "shards/a.tar", bytes(3000))
    spoilt()
    with store.open("shards/a.tar") as file:
        assert hashlib.sha256(file.read()).hexdigest() == written.sha256
    spoilt()
    assert store.names("shards") == ["shards/a.tar"]
    spoilt()
    store.remove("dataset.json", new)
    spoilt()
    store.remove("shards/a.tar")
    s3.reset()
    assert bucket.keys() == []


@pytest.mark.parametrize("fault", PASSING_FAULTS.values(), ids=PASSING_FAULTS)
def test_large_files_go_in_parts(s3: Proxy, bucket: Bucket, fault: Fault) -> None:
    data = os.urandom(11 << 20)
    store = open_store(bucket.url)
    s3.spoil_once(fault, lambda request: "uploadId" in request.path and request.method == "POST")
    written = place(store, "shards/a.tar", data)
    assert any("partNumber=3" in request.path for request, _ in s3.seen)
    assert hashlib.sha256(bucket.read("shards/a.tar")).hexdigest() == written.sha256
    s3.reset()
    place(store, "shards/a.tar", data)
    assert not any(request.is_write for request, _ in s3.seen), "it is not sent twice"


ASKED: dict[str, Callable[[DatasetStore], object]] = {
    "read": lambda store: store.read("dataset.json"),
    "stat": lambda store: store.stat("dataset.json"),
    "open": lambda store: store.open("dataset.json"),
    "names": lambda store: store.names("shards"),
    "write": lambda store: store.write("dataset.json", b"1"),
    "create": lambda store: store.create("dataset.json", b"1"),
    "swap": lambda store: store.swap("dataset.json", b"1", "tag"),
    "place": lambda store: place(store, "shards/a.tar", b"1"),
    "remove": lambda store: store.remove("dataset.json"),
    "look": lambda store: store.look(),
}


@pytest.mark.parametrize(
    ("ask", "fault"), [*((name, "503") for name in ASKED), ("read", "500"), ("create", "cut")]
)
def test_a_store_that_fails_for_long_is_not_an_empty_one(
    s3: Proxy, bucket: Bucket, ask: str, fault: str
) -> None:
    s3.spoil = lambda request: PASSING_FAULTS[fault]
    with pytest.raises(RunError, match="Nothing is lost") as raised:
        ASKED[ask](open_store(bucket.url))
    assert raised.value.exit_code == 5
    assert "\n" not in str(raised.value)
    assert bucket.keys() == []


def test_nobody_answers(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(RunError, match="AWS_ENDPOINT_URL_S3"):
        open_store("s3://set/a").read("dataset.json")


REFUSALS = {
    "AccessDenied": (answer(403, "AccessDenied"), "may not .* s3:ListBucket"),
    "InvalidAccessKeyId": (answer(403, "InvalidAccessKeyId"), "not accepted .* set or renew AWS_"),
    "SignatureDoesNotMatch": (answer(403, "SignatureDoesNotMatch"), "not accepted"),
    "ExpiredToken": (answer(400, "ExpiredToken"), "not accepted .* set or renew"),
    "RequestTimeTooSkewed": (
        answer(403, "RequestTimeTooSkewed", "<ServerTime>2026-11-30T04:00:00Z</ServerTime>"),
        "clock of this machine is off .the store says 2026-11-30T04:00:00Z.; set it",
    ),
    "PermanentRedirect": (answer(301, "PermanentRedirect"), "another region .* AWS_DEFAULT_REGION"),
    "AuthorizationHeaderMalformed": (
        answer(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
        "another region eu-west-1 .* AWS_DEFAULT_REGION=eu-west-1",
    ),
    "NoSuchBucket": (answer(404, "NoSuchBucket"), "bucket does not exist; create it"),
}


@pytest.mark.parametrize(("fault", "message"), REFUSALS.values(), ids=REFUSALS)
def test_what_the_user_can_mend_is_said(
    s3: Proxy, bucket: Bucket, fault: Fault, message: str
) -> None:
    # Clients ask with HEAD for the region of a bucket that has moved.
    s3.spoil = lambda request: None if request.method == "HEAD" else fault
    for ask in (ASKED["look"], ASKED["read"]):
        with pytest.raises(ConfigError, match=message) as raised:
            ask(open_store(bucket.url))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"<html>gateway<br></html>", b"<html>gateway</html>"])
def test_a_404_that_is_not_of_s3_is_no_answer(s3: Proxy, bucket: Bucket, body: bytes) -> None:
    bucket.write("dataset.json", b"1")
    s3.spoil = lambda request: Fault(status=404, body=body)
    for ask in (ASKED["look"], ASKED["read"]):
        with pytest.raises(AvipipeError, match="AWS_ENDPOINT_URL_S3"):
            ask(open_store(bucket.url))


def test_no_credentials(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        open_store("s3://set").look()


def test_a_store_without_room(s3: Proxy, bucket: Bucket) -> None:
    s3.spoil = lambda request: answer(507, "XMinioStorageFull") if request.is_write else None
    with pytest.raises(RunError, match="no room"):
        place(open_store(bucket.url), "shards/a.tar", b"1")


def test_a_missing_bucket_is_created_when_asked(s3: Proxy) -> None:
    bucket = Bucket(s3.port, f"set-{uuid.uuid4().hex[:12]}")
    store = open_store(f"{bucket.url}/set")
    for ask in (
        lambda: store.look(),
        lambda: store.read("dataset.json"),
        lambda: store.names("shards"),
        lambda: store.write("dataset.json", b"1"),
        lambda: place(store, "shards/a.tar", b"1"),
    ):
        with pytest.raises(ConfigError, match="bucket does not exist"):
            ask()
    with pytest.raises(FileNotFoundError):
        bucket.keys()
    store.make_bucket()
    store.make_bucket()
    assert bucket.keys() == []
    store.look()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/set", r"pip install 'avipipe\[gcs\]'"),
        ("az://container/set", r"pip install 'avipipe\[azure\]'"),
        ("carrier-pigeon://loft", "carrier-pigeon"),
    ],
)
def test_a_driver_that_is_missing_is_named(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        open_store(url)
    assert "\n" not in str(raised.value)


def test_a_store_that_heeds_no_conditions_is_found_out(s3: Proxy, bucket: Bucket) -> None:
    store = open_store(bucket.url)
    store.create("lease.json", b"mine")
    store.probe("lease.json", b"mine")
    assert store.creates
    assert store.swaps
    s3.spoil = lambda request: Fault(loses=CONDITIONS)
    store.probe("lease.json", b"mine")
    assert not store.creates
    assert not store.swaps
    with pytest.raises(Changed):
        store.create("lease.json", b"yours")
    found = store.read("lease.json")
    assert found == Tagged(b"mine", found.tag if found else "")
    with pytest.raises(Changed):
        store.swap("lease.json", b"yours", "other")
    store.remove("lease.json", found.tag if found else "")
    assert bucket.keys() == []


def test_a_store_that_does_not_know_conditions(s3: Proxy, bucket: Bucket) -> None:
    def spoil(request: Request) -> Fault | None:
        return answer(501, "NotImplemented") if CONDITIONS & set(request.headers) else None

    s3.spoil = spoil
    store = open_store(bucket.url)
    tag = store.create("lease.json", b"mine")
    assert not store.creates
    assert not store.swaps
    assert store.swap("lease.json", b"still mine", tag) != tag
    with pytest.raises(Changed):
        store.create("lease.json", b"yours")


def test_uploads_that_never_ended_are_ended(bucket: Bucket) -> None:
    for key in ("set/shards/a.tar", "set/shards/b.tar", "other/shards/a.tar"):
        bucket.ask("POST", f"{key}?uploads")
    store = open_store(f"{bucket.url}/set")
    # moto says of every upload that it began in 2010.
    assert store.remove_uploads("shards", 0.0) == [], "they may be under way"
    ended = store.remove_uploads("shards", time.time())
    assert sorted(ended) == ["shards/a.tar", "shards/b.tar"]
    left = bucket.ask("GET", "?uploads").decode()
    assert "other/shards/a.tar" in left
    assert "set/shards" not in left


def test_a_local_file_that_must_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").mkdir()
    with pytest.raises(RunError, match=r"cannot read .*dataset\.json"):
        open_store(str(tmp_path)).read("dataset.json")


def test_the_names_of_a_dataset_that_is_gone(url: str) -> None:
    with pytest.raises(ManifestError, match="found no such file"):
        Destination(url).reading("shards/a.tar")
