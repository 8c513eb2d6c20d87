"""One writer at a time for a dataset, on whatever machine: a lease in a file beside the index.

Whoever wants to write takes the lease, renews it while at work, makes sure of it before the index
is replaced, and gives it back. A writer that died leaves it behind until it expires.
"""

import logging
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from avipipe.errors import AvipipeError, RunError
from avipipe.manifests.destination import Destination
from avipipe.manifests.stores.base import Changed, Tagged

logger = logging.getLogger(__name__)

LEASE_NAME = "lease.json"


@dataclass(frozen=True, slots=True)
class Times:
    """Intervals after which a lease is renewed, and over.

    Attributes:
        beat_s: between two renewals.
        expiry_s: from a renewal on; several may fail before another writer may take over.
        watch_s: for which an expired lease is watched before it is taken over: a holder whose clock
            is slow renews it meanwhile.
        settle_s: after which a lease is read back, on stores that heed no conditions; of two
            writers that both found none, both then see the same one.
    """

    beat_s: float = 10.0
    expiry_s: float = 60.0
    watch_s: float = 25.0
    settle_s: float = 3.0


class _Record(BaseModel):
    """What the file says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: str
    host: str
    pid: int
    work: str
    taken_at: datetime
    renewed_at: datetime
    expires_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether it was given back by somebody who may not remove it."""
        return self.expires_at <= self.renewed_at

    @property
    def holder(self) -> str:
        return f"process {self.pid} on {self.host}, since {_clock(self.taken_at)}"


class Lease:
    """The right to write a dataset. A context manager: entering takes it, leaving gives it back.

    Args:
        work: what tells the work folder of the writer from all others; a lease of the same one is
            taken over at once, for a work folder admits one build at a time by itself. Empty: none.
    Raises:
        RunError: on entering: somebody else holds it.
    """

    def __init__(self, destination: Destination, work: str = "", times: Times = Times()) -> None:
        self.destination = destination
        self._store = destination.store
        self._work = work
        self._times = times
        self._owner = uuid.uuid4().hex
        self._taken_at = _now()
        self._tag = ""
        self._lost = ""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="avipipe-lease", daemon=True)

    def __enter__(self) -> Self:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        with self._lock:
            if not self._lost:
                self._give_back()
        self._thread.join(self._times.beat_s)

    def check(self) -> None:
        """Renew the lease, and so make sure of it.

        Raises:
            RunError: somebody else has taken it over, or the store cannot be reached.
        """
        with self._lock:
            if not self._lost:
                self._renew()
        if self._lost:
            raise RunError(
                f"{self._store.url}: this build was not heard of for more than "
                f"{self._times.expiry_s:g} s, and its lease is not its own any more "
                f"({self._lost}). It has published nothing since; run the same command again"
            )

    def _take(self) -> None:
        """Take the lease, or refuse; what comes between two calls is looked at anew."""
        for _ in range(10):
            found = self._store.read(LEASE_NAME)
            try:
                if found is None:
                    self._create()
                else:
                    self._take_over(found)
            except Changed:
                continue
            return
        raise RunError(f"{self._store.url}: many builds want to begin there; try again later")

    def _create(self) -> None:
        data = self._data()
        self._tag = self._store.create(LEASE_NAME, data)
        self._store.probe(LEASE_NAME, data)
        if not self._store.creates:
            self._settle(data)

    def _take_over(self, found: Tagged) -> None:
        record = self._parsed(found)
        is_own = bool(self._work) and record.work == self._work
        if not (is_own or record.is_over):
            if _now() < record.expires_at:
                raise self._held(record)
            time.sleep(self._times.watch_s)
            again = self._store.read(LEASE_NAME)
            if again is None:
                raise Changed(LEASE_NAME)
            if again.tag != found.tag:
                raise self._held(self._parsed(again))
        data = self._data()
        self._tag = self._store.swap(LEASE_NAME, data, found.tag)
        self._store.probe(LEASE_NAME, data)
        if not self._store.swaps:
            self._settle(data)
        if not record.is_over:
            logger.warning(
                "%s: took over the lease of a build that ended without giving it back (%s)",
                self._store.url,
                record.holder,
            )

    def _settle(self, data: bytes) -> None:
        time.sleep(self._times.settle_s)
        found = self._store.read(LEASE_NAME)
        if found is None:
            raise Changed(LEASE_NAME)
        if found.data != data:
            raise self._held(self._parsed(found))

    def _renew(self) -> None:
        try:
            self._tag = self._store.swap(LEASE_NAME, self._data(), self._tag)
        except Changed:
            self._find()

    def _find(self) -> None:
        """A renewal that was given up may have reached the store after all."""
        found = self._store.read(LEASE_NAME)
        record = None if found is None else self._parsed(found)
        if found is not None and record is not None and record.owner == self._owner:
            self._tag = found.tag
        else:
            self._lost = record.holder if record else "it is gone"

    def _give_back(self) -> None:
        try:
            try:
                self._store.remove(LEASE_NAME, self._tag)
            except Changed:
                self._find()
                if not self._lost:
                    self._store.remove(LEASE_NAME, self._tag)
            except AvipipeError:
                # Who may write but not remove can still say that it is over.
                self._store.swap(LEASE_NAME, self._data(over=True), self._tag)
        except Changed:
            self._lost = "somebody else"
        except AvipipeError as error:
            logger.warning(
                "the lease of %s could not be given back; it is over in %g s (%s)",
                self._store.url,
                self._times.expiry_s,
                error,
            )

    def _beat(self) -> None:
        """Renew it now and then; a store that cannot be reached is tried again the next time."""
        while not self._over.wait(self._times.beat_s):
            try:
                self.check()
            except AvipipeError as error:
                logger.info("%s", error)
            if self._lost:
                return

    def _data(self, *, over: bool = False) -> bytes:
        now = _now()
        record = _Record(
            owner=self._owner,
            host=socket.gethostname(),
            pid=os.getpid(),
            work=self._work,
            taken_at=self._taken_at,
            renewed_at=now,
            expires_at=now + timedelta(seconds=0.0 if over else self._times.expiry_s),
        )
        return f"{record.model_dump_json(indent=1)}\n".encode()

    def _parsed(self, found: Tagged) -> _Record:
        try:
            return _Record.model_validate_json(found.data)
        except ValidationError as error:
            raise RunError(
                f"{self._store.url}/{LEASE_NAME} is not what this version of avipipe writes: it "
                "says who is at work there. Remove it once no build is"
            ) from error

    def _held(self, record: _Record) -> RunError:
        return RunError(
            f"{self._store.url}: another build is at work there ({record.holder}); wait for it, or "
            f"use another --out. Should it be dead, its lease is over at "
            f"{_clock(record.expires_at)}"
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
