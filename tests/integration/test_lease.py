"""One writer at a time: who gets the lease of a dataset, who keeps it, and who loses it."""

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from avipipe.errors import RunError
from avipipe.manifests.destination import Destination
from avipipe.manifests.lease import LEASE_NAME, Lease, Times
from avipipe.manifests.stores import remote
from tests.publishing import by_id, publish_all, record
from tests.s3 import CONDITIONS, PASSING_FAULTS, Bucket, Fault, Proxy, Request, answer

QUICK = Times(beat_s=0.1, expiry_s=1.0, watch_s=0.4, settle_s=0.3)
LONG = Times(beat_s=0.1, expiry_s=600.0, watch_s=600.0, settle_s=0.3)


@pytest.fixture(params=["local", "s3"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    if request.param == "local":
        return Destination(str(tmp_path / "set"))
    bucket: Bucket = request.getfixturevalue("bucket")
    return Destination(f"{bucket.url}/set")


def die(lease: Lease) -> None:
    """Stop renewing without giving back, as a process that is killed."""
    lease._over.set()
    lease._thread.join()


def test_a_second_writer_is_refused_and_told_by_whom(destination: Destination) -> None:
    with Lease(destination, times=QUICK) as lease:
        time.sleep(0.3)
        lease.check()
        before = destination.read(LEASE_NAME)
        with pytest.raises(RunError, match=r"another build is at work there \(process \d+ on "):
            Lease(destination, times=QUICK).__enter__()
        assert before is not None
        assert destination.read(LEASE_NAME) is not None
    assert destination.names("") == [], "it is given back, and leaves nothing"
    with Lease(destination, times=QUICK):
        pass


def test_an_error_gives_it_back_too(destination: Destination) -> None:
    with pytest.raises(KeyboardInterrupt), Lease(destination, times=QUICK):
        raise KeyboardInterrupt
    assert destination.names("") == []


def test_a_lease_outlives_its_expiry_while_it_is_renewed(destination: Destination) -> None:
    with Lease(destination, times=QUICK) as lease:
        time.sleep(QUICK.expiry_s + QUICK.watch_s)
        with pytest.raises(RunError, match="another build is at work"):
            Lease(destination, times=QUICK).__enter__()
        lease.check()


def test_one_of_the_dead_is_taken_over_with_a_word(
    destination: Destination, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Lease(destination, times=QUICK)
    dead.__enter__()
    die(dead)
    with pytest.raises(RunError, match="its lease is over at"):
        Lease(destination, times=QUICK).__enter__()
    time.sleep(QUICK.expiry_s)
    with caplog.at_level(logging.WARNING), Lease(destination, times=QUICK) as lease:
        assert "took over the lease of a build that ended without giving it back" in caplog.text
        with pytest.raises(RunError, match="its lease is not its own any more"):
            dead.check()
        lease.check()
        dead.__exit__(None, None, None)
        lease.check()
    assert destination.names("") == []


def test_one_of_the_same_work_folder_is_taken_over_at_once(destination: Destination) -> None:
    dead = Lease(destination, work="w1", times=LONG)
    dead.__enter__()
    die(dead)
    with pytest.raises(RunError, match="another build"):
        Lease(destination, work="w2", times=LONG).__enter__()
    with Lease(destination, work="w1", times=LONG) as lease:
        lease.check()


def test_a_holder_with_a_slow_clock_is_not_robbed(destination: Destination) -> None:
    """Its lease looks expired from the first moment on; that it is renewed shows while watched."""
    with Lease(destination, times=replace(QUICK, expiry_s=0.001)) as lease:
        with pytest.raises(RunError, match="another build is at work"):
            Lease(destination, times=QUICK).__enter__()
        lease.check()


def test_an_outage_costs_nothing_but_the_renewals(
    s3: Proxy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0.2)
    with Lease(Destination(bucket.url), times=QUICK) as lease:
        s3.spoil = lambda request: PASSING_FAULTS["503"]
        with pytest.raises(RunError, match="Nothing is lost"):
            lease.check()
        s3.reset()
        lease.check()
    assert bucket.keys() == []


def test_replies_that_are_lost_do_not_lose_the_lease(s3: Proxy, bucket: Bucket) -> None:
    num_writes = itertools.count()
    s3.spoil = lambda request: (
        Fault(drops_reply=True) if request.is_write and next(num_writes) % 2 == 0 else None
    )
    with Lease(Destination(bucket.url), times=QUICK) as lease:
        for _ in range(5):
            lease.check()
    assert bucket.keys() == []
    assert next(num_writes) > 10


def test_who_may_not_remove_says_that_it_is_over(s3: Proxy, bucket: Bucket) -> None:
    s3.spoil = lambda request: answer(403, "AccessDenied") if request.method == "DELETE" else None
    for _ in range(2):
        with Lease(Destination(bucket.url), times=LONG) as lease:  # nobody has to wait for it
            lease.check()


def test_what_is_no_lease_is_left_alone(destination: Destination) -> None:
    destination.write(LEASE_NAME, b"{")
    with pytest.raises(RunError, match=r"lease\.json is not what this version"):
        Lease(destination, times=QUICK).__enter__()
    assert destination.read(LEASE_NAME) == b"{"


def test_what_a_lease_found_out_of_its_store_holds_for_publishing(
    s3: Proxy, bucket: Bucket, tmp_path: Path
) -> None:
    """A store that heeds no conditions would take an index over one that has come meanwhile."""
    url = f"{bucket.url}/set"
    publish_all(url, by_id([record(tmp_path, 1)]))
    other = bucket.read("set/dataset.json") + b"\n"

    def spoil(request: Request) -> Fault:
        if request.method == "PUT" and ".tar" in request.path:
            bucket.write("set/dataset.json", other)
        return Fault(loses=CONDITIONS)

    s3.spoil = spoil
    clips = by_id([record(tmp_path, number) for number in (1, 2)])
    with Lease(Destination(url), times=QUICK) as lease:
        with pytest.raises(RunError, match=r"dataset\.json is not the one that this build began"):
            publish_all(url, clips, lease=lease)
        assert bucket.read("set/dataset.json") == other
        s3.spoil = lambda request: Fault(loses=CONDITIONS)
        assert publish_all(url, clips, lease=lease).num_new_clips == 1


def race(enter: Callable[[], object], num_writers: int) -> tuple[int, list[str]]:
    """How many of some writers that begin together get in, and what the others are told."""
    start, stop = threading.Barrier(num_writers), threading.Barrier(num_writers)
    won: list[object] = []
    told: list[str] = []

    def write() -> None:
        start.wait()
        try:
            won.append(enter())
        except RunError as error:
            told.append(str(error))
        stop.wait()

    threads = [threading.Thread(target=write) for _ in range(num_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(won), told


@pytest.mark.parametrize("store", ["local", "s3", "s3 without conditions"])
@pytest.mark.parametrize("expired", [False, True])
def test_of_many_that_begin_together_one_gets_in(
    store: str, expired: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "set")
    if store != "local":
        bucket: Bucket = request.getfixturevalue("bucket")
        url = f"{bucket.url}/set"
    if store == "s3 without conditions":
        s3: Proxy = request.getfixturevalue("s3")
        s3.spoil = lambda request: Fault(loses=CONDITIONS)
    for _ in range(2):
        if expired:
            dead = Lease(Destination(url), times=QUICK)
            dead.__enter__()
            die(dead)
            time.sleep(QUICK.expiry_s + 0.1)
        leases: list[Lease] = []

        def enter(leases: list[Lease] = leases) -> None:
            leases.append(Lease(Destination(url), times=QUICK).__enter__())

        num_won, told = race(enter, 4)
        assert num_won == 1, told
        assert len(told) == 3
        assert all("another build" in text or "many builds" in text for text in told)
        leases[0].check()
        leases[0].__exit__(None, None, None)
        assert Destination(url).read(LEASE_NAME) is None
