"""Builds on S3: what the command line says of a store, and two builds at once."""

import itertools
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.builds import Ended
from tests.integration.test_publish_course import build_words, growing, published, s3_reader
from tests.integration.zygote import Words, Zygote
from tests.s3 import CONDITIONS, PASSING_FAULTS, Bucket, Fault, Proxy, Request, answer


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote"), patience_s=1.0) as started:
        yield started


@pytest.fixture(scope="module")
def works(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two work folders, as of two machines, in which all is done that does not need the store."""
    folder = tmp_path_factory.mktemp("works")
    one, two = (Path(shutil.copytree(built / "work", folder / name)) for name in ("one", "two"))
    return one, two


@pytest.fixture
def source(small_clips: Path) -> Path:
    return small_clips / "sources.txt"


def quiet(done: Ended) -> Ended:
    assert "Traceback" not in done.err, done.err
    return done


def error_of(done: Ended) -> str:
    """The one line that a command ends with."""
    quiet(done)
    found = re.findall(r"^Error: (.*)$", done.err, re.MULTILINE)
    assert len(found) == 1, done.err
    return str(found[0])


REFUSED = {
    "missing bucket": (answer(404, "NoSuchBucket"), 2, "bucket does not exist.*--create-bucket"),
    "no rights": (answer(403, "AccessDenied"), 2, "may not"),
    "wrong key": (answer(403, "InvalidAccessKeyId"), 2, "credentials are not accepted"),
    "wrong region": (
        answer(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
        2,
        "AWS_DEFAULT_REGION=eu-west-1",
    ),
    "wrong clock": (answer(403, "RequestTimeTooSkewed"), 2, "clock of this machine is off"),
    "not S3": (Fault(status=404, body=b""), 2, "not S3"),
    "outage": (PASSING_FAULTS["503"], 5, "Nothing is lost"),
}


@pytest.mark.parametrize(("fault", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_plan_and_build_say_what_is_wrong_before_any_work(
    zygote: Zygote,
    source: Path,
    tmp_path: Path,
    s3: Proxy,
    bucket: Bucket,
    fault: Fault,
    code: int,
    message: str,
) -> None:
    s3.spoil = lambda request: fault
    work = tmp_path / "work"
    for command in ("plan", "build"):
        words: Words = [
            command,
            "--source",
            source,
            "--out",
            f"{bucket.url}/set",
            "--work",
            work,
        ]
        done = zygote.run(*words, env=s3.environment)
        assert done.code == code, done.err
        assert re.search(message, error_of(done))
        assert not work.exists()
    assert bucket.keys() == []


KINDS = ("missing bucket", "no rights", "outage", "nothing there")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        *itertools.product(("verify", "report", "why", "status"), KINDS),
        # These two load torch, which takes seconds, and read in the same way.
        *(("train", kind) for kind in KINDS[1:]),
        ("edit", "outage"),
    ],
)
def test_readers_tell_not_there_from_not_reached_from_not_allowed(
    zygote: Zygote,
    works: tuple[Path, Path],
    tmp_path: Path,
    s3: Proxy,
    bucket: Bucket,
    command: str,
    kind: str,
) -> None:
    url = f"{bucket.url}/set"
    words: dict[str, list[str | Path]] = {
        "verify": ["verify", "--out", url],
        "report": ["report", "--out", url, "--work", works[0]],
        "why": ["why", "clip", "--out", url, "--work", works[0]],
        "status": ["status", "--out", url, "--work", works[0]],
        "train": ["train", "cache", "--config", "tiny", "--data", url, "--out", tmp_path / "c"],
        "edit": ["edit", "--batch", url, "--instruction", "x", "--out", tmp_path / "e"],
    }
    if kind != "nothing there":
        s3.spoil = lambda request: REFUSED[kind][0]
    done = zygote.run(*words[command], env=s3.environment)
    _, code, message = REFUSED.get(kind, (None, 0, r"no dataset\.json|no config\.yaml"))
    assert done.code == (code or (3 if command in ("verify", "train", "edit") else 2)), done.err
    assert re.search(message, error_of(done))


def test_no_credentials(zygote: Zygote, source: Path, tmp_path: Path, s3: Proxy) -> None:
    env = {**s3.environment, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    words: Words = ["--source", source, "--out", "s3://set", "--work", tmp_path / "work"]
    for command in ("plan", "build"):
        done = zygote.run(command, *words, env=env)
        assert done.code == 2
        assert "no credentials; set AWS_ACCESS_KEY_ID" in error_of(done)


def test_a_missing_driver_is_named_by_plan(zygote: Zygote, source: Path, tmp_path: Path) -> None:
    words: Words = [
        "--source",
        source,
        "--out",
        "gs://bucket/set",
        "--work",
        tmp_path / "work",
    ]
    for command in ("plan", "build"):
        done = zygote.run(command, *words)
        assert done.code == 2
        assert "pip install 'avipipe[gcs]'" in error_of(done)


def test_a_bucket_is_created_only_when_asked(
    zygote: Zygote, source: Path, works: tuple[Path, Path], s3: Proxy
) -> None:
    bucket = Bucket(s3.port, f"set-{uuid.uuid4().hex[:12]}")
    words: Words = ["--source", source, "--out", bucket.url, "--work", works[0]]
    plan = zygote.run("plan", *words, "--create-bucket", env=s3.environment)
    assert plan.code == 0, plan.err
    with pytest.raises(FileNotFoundError):
        bucket.keys()
    done = zygote.run(
        *build_words(source, bucket.url, works[0]), "--create-bucket", env=s3.environment
    )
    assert done.code == 0, done.err
    assert "dataset.json" in bucket.keys()


def without(*methods: str, but: str = "") -> Callable[[Request], Fault | None]:
    """Credentials that may not do everything."""
    return lambda request: (
        answer(403, "AccessDenied")
        if request.method in methods and not (but and request.path.endswith(but))
        else None
    )


def test_read_only_credentials_change_nothing(
    zygote: Zygote, source: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    s3.spoil = without("PUT", "POST", "DELETE")
    done = zygote.run(*build_words(source, bucket.url, works[0]), env=s3.environment)
    assert done.code == 2
    assert re.search(r"may not write lease\.json .*s3:PutObject", error_of(done))
    assert bucket.keys() == []


def test_credentials_that_may_not_remove_are_enough(
    zygote: Zygote, source: Path, built: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    s3.spoil = without("DELETE")
    for _ in range(2):
        done = zygote.run(*build_words(source, bucket.url, works[0]), env=s3.environment)
        assert done.code == 0, done.err
    assert bucket.read("dataset.json") == (built / "dataset.json").read_bytes()


def test_a_store_without_room_keeps_what_it_has(
    zygote: Zygote, source: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    url = f"{bucket.url}/set"
    (first,) = growing(source, (1,))
    (works[0] / "sources.jsonl").unlink()
    done = zygote.run(*build_words(first, url, works[0]), env=s3.environment)
    assert done.code == 0, done.err
    before = published(s3_reader(bucket, "set"))
    full = answer(507, "InsufficientStorage")
    s3.spoil = lambda request: full if request.method == "PUT" and ".tar" in request.path else None
    done = zygote.run(*build_words(source, url, works[0]), env=s3.environment)
    assert done.code == 5
    assert "no room" in error_of(done)
    assert published(s3_reader(bucket, "set")) == before


@pytest.mark.parametrize(
    ("key", "data", "code", "message"),
    [
        ("set/holiday.jpg", b"jpg", 2, r"is not empty and holds no avipipe dataset .*holiday\.jpg"),
        ("set/dataset.json", b'{"schema_version": 1', 3, r"dataset\.json: expected an index"),
        ("set/dataset.json", b'{"schema_version": 7}', 3, r"dataset\.json: expected an index"),
        ("set/dataset.json", b"", 3, r"dataset\.json: expected an index"),
        ("set/manifest/clips.parquet", b"PAR1", 3, "its index is lost"),
        ("set/config.yaml", b"profile: [", 3, r"config\.yaml"),
    ],
)
def test_a_prefix_that_is_no_sound_dataset_is_left_alone(
    zygote: Zygote,
    source: Path,
    works: tuple[Path, Path],
    s3: Proxy,
    bucket: Bucket,
    key: str,
    data: bytes,
    code: int,
    message: str,
) -> None:
    bucket.write(key, data)
    words: Words = ["--source", source, "--out", f"{bucket.url}/set", "--work", works[0]]
    said = set()
    for command in ("plan", "build"):
        done = zygote.run(command, *words, env=s3.environment)
        assert done.code == code, done.err
        said.add(error_of(done))
    assert re.search(message, said.pop())
    assert not said, "both say the same"
    assert bucket.tree() == {key: data}


def test_a_store_that_lists_eventually(
    zygote: Zygote, source: Path, built: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    """Lists are old: none of what was written shows in them."""
    empty = (
        b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
    )
    s3.spoil = lambda request: (
        Fault(status=200, body=empty) if "list-type=2" in request.path else None
    )
    for _ in range(2):
        done = zygote.run(*build_words(source, bucket.url, works[0]), env=s3.environment)
        assert done.code == 0, done.err
    assert bucket.read("dataset.json") == (built / "dataset.json").read_bytes()
    s3.reset()
    verified = zygote.run("verify", "--out", bucket.url, env=s3.environment)
    assert verified.code == 0, verified.err


@pytest.mark.parametrize("locked", [False, True])
def test_a_bucket_with_versions_and_one_with_object_lock(
    zygote: Zygote,
    source: Path,
    built: Path,
    works: tuple[Path, Path],
    s3: Proxy,
    locked: bool,
) -> None:
    bucket = Bucket(s3.port, f"set-{uuid.uuid4().hex[:12]}")
    bucket.ask("PUT", "", headers={"x-amz-bucket-object-lock-enabled": "true"} if locked else {})
    status = "<Status>Enabled</Status>"
    bucket.ask(
        "PUT",
        "?versioning",
        f"<VersioningConfiguration>{status}</VersioningConfiguration>".encode(),
    )
    if locked:
        rule = "<DefaultRetention><Mode>COMPLIANCE</Mode><Days>9</Days></DefaultRetention>"
        enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
        rules = f"<ObjectLockConfiguration>{enabled}<Rule>{rule}</Rule></ObjectLockConfiguration>"
        bucket.ask("PUT", "?object-lock", rules.encode())
    for _ in range(2):
        done = zygote.run(*build_words(source, bucket.url, works[0]), env=s3.environment)
        assert done.code == 0, done.err
    assert bucket.read("dataset.json") == (built / "dataset.json").read_bytes()
    assert "lease.json" not in bucket.keys()


def race(
    zygote: Zygote,
    s3: Proxy,
    url: str,
    sources: tuple[Path, Path],
    works: tuple[Path, Path],
    *,
    conditions: bool,
) -> tuple[Ended, Ended]:
    """Two builds that find no lease at the same moment; the one that gets it waits for the other to
    end before it publishes. The winner comes first."""
    both_look, looks = threading.Barrier(2), itertools.count()
    one_ended = threading.Event()

    def spoil(request: Request) -> Fault | None:
        if request.path.endswith("lease.json") and request.method == "GET" and next(looks) < 2:
            both_look.wait(60)
        if ".tar" in request.path and request.method == "PUT":
            one_ended.wait(60)
        return Fault(loses=CONDITIONS) if not conditions else None

    s3.spoil = spoil
    running = [
        zygote.start(*build_words(source, url, work), env=s3.environment)
        for source, work in zip(sources, works, strict=True)
    ]
    first = zygote.first(running)
    one_ended.set()
    other = next(each for each in running if each is not first)
    ended = other.wait(), first.wait()
    s3.reset()
    return ended


def run_races(
    zygote: Zygote,
    source: Path,
    works: tuple[Path, Path],
    s3: Proxy,
    bucket: Bucket,
    number: int,
    *,
    conditions: bool = True,
) -> None:
    """Each writer has another clip to publish; the loser loses nothing but time."""
    (first,) = growing(source, (1,))
    second = source.with_name("only-third.txt")
    second.write_text(source.read_text().splitlines()[2] + "\n")
    for turn in range(number):
        url, prefix = f"{bucket.url}/set-{turn}", f"set-{turn}"
        for work in works:
            (work / "sources.jsonl").unlink(missing_ok=True)
        won, lost = race(zygote, s3, url, (first, second), works, conditions=conditions)
        assert won.code == 0, won.err
        assert lost.code == 5, lost.err
        assert "another build is at work there (process" in error_of(lost)
        reader = s3_reader(bucket, prefix)
        after = published(reader)
        assert len([name for name in after if name.endswith(".tar")]) == 1
        tars = [key for key in bucket.keys() if key.startswith(f"{prefix}/shards/")]
        assert len(tars) == 1, "the loser has written nothing"
        for words in ((first, works[0]), (second, works[1])):
            done = zygote.run(*build_words(words[0], url, words[1]), env=s3.environment)
            assert done.code == 0, done.err
        both = published(reader)
        assert {name: both[name] for name in after if name.endswith(".tar")} == {
            name: data for name, data in after.items() if name.endswith(".tar")
        }
        assert len([name for name in both if name.endswith(".tar")]) == 2
        verified = zygote.run("verify", "--fast", "--out", url, env=s3.environment)
        assert verified.code == 0, verified.err


def test_of_two_builds_one_publishes(
    zygote: Zygote, source: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    run_races(zygote, source, works, s3, bucket, 2)


@pytest.mark.slow
def test_of_two_builds_one_publishes_where_conditions_are_not_heeded(
    zygote: Zygote, source: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    run_races(zygote, source, works, s3, bucket, 1, conditions=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_two_builds_one_publishes_thirty_times(
    zygote: Zygote, source: Path, works: tuple[Path, Path], s3: Proxy, bucket: Bucket
) -> None:
    run_races(zygote, source, works, s3, bucket, 30)
