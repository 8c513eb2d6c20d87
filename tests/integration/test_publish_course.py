"""Datasets grow while their store fails and their builds are killed; nothing is ever lost.

The builds are real commands in real processes, over one work folder, so that each costs seconds.
"""

import hashlib
import io
import itertools
import random
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from avipipe.manifests.dataset import DatasetIndex
from avipipe.synth import generate
from tests.integration.zygote import Running, Zygote
from tests.s3 import PASSING_FAULTS, Bucket, Fault, Proxy, Request

INLINE = ("--executor", "inline")

Read = Callable[[str], bytes]
"""Reads a file of a dataset by name, past every fault; raises FileNotFoundError."""

Spoil = Callable[[Request], Fault | None]


def local_reader(out: Path) -> Read:
    return lambda name: (out / name).read_bytes()


def s3_reader(bucket: Bucket, prefix: str) -> Read:
    return lambda name: bucket.read(f"{prefix}/{name}")


def published(read: Read) -> dict[str, bytes]:
    """The index of a dataset and all that it lists."""
    index = DatasetIndex.model_validate_json(read("dataset.json"))
    names = ["dataset.json", *index.manifests, *(shard.name for shard in index.shards)]
    return {name: read(name) for name in names}


def build_words(source: Path, out: Path | str, work: Path) -> list[str | Path]:
    return ["build", "--source", source, "--out", out, "--work", work, *INLINE]


@dataclass(frozen=True)
class Material:
    """Lists of sources that grow, and a work folder in which all of them are worked through.

    Attributes:
        indexes: what `dataset.json` is after each step of an undisturbed history in a folder.
        right: what is published in the end.
    """

    lists: tuple[Path, ...]
    work: Path
    indexes: tuple[bytes, ...] = ()
    right: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Path, ...]:
        """A dataset grows by one list after the other; the last one is built once more."""
        return (*self.lists, self.lists[-1])

    def begin_anew(self) -> None:
        """Forget the lines of the last dataset; what was made of them stays."""
        (self.work / "sources.jsonl").unlink(missing_ok=True)

    def with_history(self, folder: Path) -> "Material":
        """The same, with the history of a dataset that nothing happens to."""
        indexes, out = [], folder / "undisturbed"
        self.begin_anew()
        with Zygote(folder) as zygote:
            for source in self.steps:
                done = zygote.run(*build_words(source, out, self.work))
                assert done.code == 0, done.err
                indexes.append((out / "dataset.json").read_bytes())
        assert len(set(indexes)) == len(self.lists)
        return replace(self, indexes=tuple(indexes), right=published(local_reader(out)))


def growing(sources: Path, lengths: tuple[int, ...]) -> tuple[Path, ...]:
    """Lists of the first so many lines."""
    lines = sources.read_text().splitlines()
    lists = tuple(sources.with_name(f"first-{length}.txt") for length in lengths)
    for path, length in zip(lists, lengths, strict=True):
        path.write_text("".join(f"{line}\n" for line in lines[:length]))
    return lists


@pytest.fixture(scope="module")
def small(small_clips: Path, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Two clips to keep, which come in two generations."""
    folder = tmp_path_factory.mktemp("small")
    work = Path(shutil.copytree(built / "work", folder / "work"))
    return Material(growing(small_clips / "sources.txt", (1, 2, 5)), work).with_history(folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Seven clips to keep, which come in four generations."""
    folder = tmp_path_factory.mktemp("large")
    kinds = ("bounce", "strike", "strike_ntsc", "silent", "bounce_vfr")
    sources = generate(
        folder / "clips", num_clips=8, seed=5, kinds=kinds, duration_s=2.25, height_px=160
    )
    return Material(growing(sources, (1, 3, 6, 8)), folder / "work").with_history(folder)


@dataclass
class Reader:
    """Reads a dataset all the time, and notes what should not be."""

    faults: list[str] = field(default_factory=list)
    num_reads: int = 0
    _read: Read | None = None
    _last: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def at_work(self) -> Iterator["Reader"]:
        over = threading.Event()

        def work() -> None:
            while not over.wait(0.2):
                self.look()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def turn_to(self, read: Read) -> None:
        with self._lock:
            self._read, self._last = read, ()

    def look(self) -> None:
        with self._lock:
            if self._read is None:
                return
            try:
                text = self._read("dataset.json")
            except FileNotFoundError:
                if self._last:
                    self.faults.append("dataset.json is gone")
                return
            self._check(DatasetIndex.model_validate_json(text), self._read)

    def _check(self, index: DatasetIndex, read: Read) -> None:
        self.num_reads += 1
        keys: list[str] = []
        hashes = {name: entry.sha256 for name, entry in index.manifests.items()}
        hashes |= {shard.name: shard.sha256 for shard in index.shards}
        for name, sha256 in hashes.items():
            try:
                data = read(name)
            except FileNotFoundError:
                self.faults.append(f"generation {index.generation} lists {name}: it is missing")
                continue
            if hashlib.sha256(data).hexdigest() != sha256:
                self.faults.append(f"generation {index.generation} lists {name}: it is another")
            elif name.endswith(".tar"):
                with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                    keys += [member for member in tar.getnames() if member.endswith(".mp4")]
        if len(keys) != len(set(keys)):
            self.faults.append(f"generation {index.generation} holds a clip twice")
        names = tuple(shard.name for shard in index.shards)
        if names[: len(self._last)] != self._last:
            self.faults.append(f"{self._last} became {names}")
        self._last = names


def no_fault(request: Request) -> Fault | None:
    return None


def some_faults(rng: random.Random, share: float) -> Spoil:
    """A share of all requests goes wrong in passing; some replies are only late."""
    faults = [*PASSING_FAULTS.values(), Fault(delay_s=0.3)]
    lock = threading.Lock()

    def spoil(request: Request) -> Fault | None:
        with lock:
            return rng.choice(faults) if rng.random() < share else None

    return spoil


def outage(rng: random.Random) -> Spoil:
    """From one request on, nothing works any more."""
    first, numbers = rng.randrange(40), itertools.count()
    fault = PASSING_FAULTS[rng.choice(["503", "cut", "500"])]
    return lambda request: fault if next(numbers) >= first else None


def killing(rng: random.Random, kill: Callable[[], None], faults: Spoil) -> Spoil:
    """The build is killed at one request: before it is carried out, or after."""
    moment, numbers, before = rng.randrange(45), itertools.count(), rng.random() < 0.5

    def spoil(request: Request) -> Fault | None:
        if next(numbers) != moment:
            return faults(request)
        kill()
        return Fault(cuts=True) if before else None

    return spoil


@dataclass
class Course:
    """Grows datasets, each step of each until it is done, with trouble on the way."""

    zygote: Zygote
    material: Material
    rng: random.Random
    reader: Reader
    s3: Proxy | None = None
    num_runs: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    usual_s: float = 1.5
    """What the last build took that came to its end."""

    def grow(self, out: Path | str, read: Read) -> None:
        self.reader.turn_to(read)
        self.material.begin_anew()
        for source, right in zip(self.material.steps, self.material.indexes, strict=True):
            for attempt in itertools.count():
                assert attempt < 25, "it never gets anywhere"
                if self._build(source, out):
                    break
            assert read("dataset.json") == right

    def finish(self, out: Path | str, read: Read) -> None:
        """After a last undisturbed run, all is as if nothing had ever happened."""
        last = self._run(*build_words(self.material.lists[-1], out, self.material.work))
        assert last == 0
        assert published(read) == self.material.right
        with pytest.raises(FileNotFoundError):
            read("lease.json")
        assert self._run("verify", "--out", out) == 0

    def _run(self, *words: str | Path) -> int:
        done = self.zygote.run(*words, env=self._env)
        assert done.code == 0, done.err
        return done.code

    @property
    def _env(self) -> dict[str, str]:
        return self.s3.environment if self.s3 is not None else {}

    def _build(self, source: Path, out: Path | str) -> bool:
        """One build in trouble; whether it says that it is done."""
        self.num_runs += 1
        started = threading.Event()
        running: list[Running] = []

        def kill() -> None:
            started.wait()
            running[0].kill()

        if self.s3 is not None:
            self.s3.spoil = self._spoil(kill)
        words = build_words(source, out, self.material.work)
        began_s = time.monotonic()
        running.append(self.zygote.start(*words, env=self._env))
        started.set()
        if self.s3 is None and self.rng.random() < 0.6:
            time.sleep(self.rng.uniform(0.0, self.usual_s))
            kill()
        done = running[0].wait()
        if done.code == 0:
            self.usual_s = time.monotonic() - began_s
        if self.s3 is not None:
            self.s3.spoil = no_fault
        self.codes[done.code] = self.codes.get(done.code, 0) + 1
        assert done.code in (0, 5, -9), done.err
        assert "Traceback" not in done.err, done.err
        return done.code == 0

    def _spoil(self, kill: Callable[[], None]) -> Spoil:
        faults = some_faults(self.rng, self.rng.choice([0.0, 0.05, 0.15, 0.3]))
        dice = self.rng.random()
        if dice < 0.4:
            return killing(self.rng, kill, faults)
        return outage(self.rng) if dice < 0.5 else faults


def run_course(
    material: Material,
    folder: Path,
    num_runs: int,
    s3: Proxy | None = None,
    bucket: Bucket | None = None,
) -> None:
    with Zygote(folder) as zygote, Reader().at_work() as reader:
        course = Course(zygote, material, random.Random(f"{num_runs} runs"), reader, s3)
        for number in itertools.count():
            if course.num_runs >= num_runs:
                break
            out: Path | str = folder / f"set-{number}"
            read = local_reader(folder / f"set-{number}")
            if bucket is not None:
                out, read = f"{bucket.url}/set-{number}", s3_reader(bucket, f"set-{number}")
            course.grow(out, read)
            course.finish(out, read)
    print(f"{number} datasets, {course.codes} exit codes, {reader.num_reads} reads")
    assert reader.faults == []
    assert reader.num_reads > num_runs
    assert course.codes[-9] > num_runs // 10


@pytest.mark.slow
def test_twenty_publications_in_a_folder(small: Material, tmp_path: Path) -> None:
    run_course(small, tmp_path, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_publications_on_s3(
    large: Material, tmp_path: Path, s3: Proxy, bucket: Bucket
) -> None:
    run_course(large, tmp_path, 200, s3, bucket)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_publications_in_a_folder(large: Material, tmp_path: Path) -> None:
    run_course(large, tmp_path, 200)
