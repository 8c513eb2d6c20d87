"""What verify finds in a folder and on S3, and what --repair makes again."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from avipipe.manifests.dataset import DatasetIndex
from tests.integration.builds import Ended
from tests.integration.zygote import Words, Zygote
from tests.s3 import PASSING_FAULTS, Bucket, Proxy


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote"), patience_s=1.0) as started:
        yield started


@dataclass
class Dataset:
    """A dataset in a folder or a bucket, to be damaged."""

    zygote: Zygote
    out: str
    work: Path
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], object]
    remove: Callable[[str], object]
    env: dict[str, str]

    @property
    def index(self) -> DatasetIndex:
        return DatasetIndex.model_validate_json(self.read("dataset.json"))

    @property
    def shard(self) -> str:
        return self.index.shards[0].name

    @property
    def clips(self) -> str:
        return str(self.index.manifest("manifest/clips.parquet"))

    def verify(self, *options: str) -> Ended:
        words: Words = ["verify", "--out", self.out, *options]
        if "--repair" in options:
            words += ["--work", str(self.work)]
        done = self.zygote.run(*words, env=self.env)
        assert "Traceback" not in done.err, done.err
        return done


@pytest.fixture(params=["local", "s3"])
def dataset(request: pytest.FixtureRequest, zygote: Zygote, built: Path, tmp_path: Path) -> Dataset:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    if request.param == "local":
        return Dataset(
            zygote,
            str(copy),
            copy / "work",
            lambda name: (copy / name).read_bytes(),
            lambda name, data: (copy / name).write_bytes(data),
            lambda name: (copy / name).unlink(),
            {},
        )
    bucket: Bucket = request.getfixturevalue("bucket")
    s3: Proxy = request.getfixturevalue("s3")
    for path in copy.rglob("*"):
        if path.is_file() and "work" not in path.relative_to(copy).parts:
            bucket.write(f"set/{path.relative_to(copy)}", path.read_bytes())
    return Dataset(
        zygote,
        f"{bucket.url}/set",
        copy / "work",
        lambda name: bucket.read(f"set/{name}"),
        lambda name, data: bucket.write(f"set/{name}", data),
        lambda name: bucket.remove(f"set/{name}"),
        s3.environment,
    )


def flipped(data: bytes, place: float) -> bytes:
    changed = bytearray(data)
    changed[int(len(data) * place)] ^= 0xFF
    return bytes(changed)


def test_a_sound_dataset_is_sound(dataset: Dataset) -> None:
    for options in ((), ("--fast",)):
        done = dataset.verify(*options)
        assert done.code == 0, done.err
        assert "is sound" in done.err


def test_what_is_missing_foreign_or_changed_is_named(dataset: Dataset) -> None:
    options = ("--fast",) if "://" in dataset.out else ()
    shard, clips = dataset.shard, dataset.clips
    right = dataset.read(shard)
    dataset.write("shards/holiday.tar", b"mine")
    assert "shards/holiday.tar: is foreign" in dataset.verify(*options).err
    dataset.remove("shards/holiday.tar")
    damages = [flipped(right, 0.5), right[:5000], b""]
    if options:
        damages += [flipped(right, 0.999), right + b"more"]
    for damage in damages:
        dataset.write(shard, damage)
        done = dataset.verify(*options)
        assert (done.code, shard in done.err) == (3, True), done.err
    dataset.remove(shard)
    done = dataset.verify(*options)
    assert done.code == 3
    assert f"{shard}: is missing" in done.err
    dataset.write(shard, right)
    sound = dataset.read(clips)
    dataset.write(clips, flipped(sound, 0.5))
    done = dataset.verify(*options)
    assert (done.code, f"{clips}: its sha256 is" in done.err) == (3, True), done.err


def test_what_a_stopped_publication_left_is_told_and_no_fault(dataset: Dataset) -> None:
    left = f"shards/train-0002-00000-{'0' * 16}.tar"
    dataset.write(left, b"half")
    done = dataset.verify()
    assert done.code == 0
    assert f"{left}: is not listed" in done.err


def test_a_damaged_page_in_a_manifest_that_is_listed_so(dataset: Dataset) -> None:
    """Not even the checksum tells, so the parser meets it."""
    name = dataset.clips
    data = bytearray(dataset.read(name))
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start + 20 : start + 60] = os.urandom(40)
    dataset.write(name, bytes(data))
    listing = json.loads(dataset.read("dataset.json"))
    listing["manifests"][name]["sha256"] = hashlib.sha256(bytes(data)).hexdigest()
    dataset.write("dataset.json", json.dumps(listing).encode())
    done = dataset.verify("--fast")
    assert done.code == 3
    assert f"{name}: expected a Parquet manifest" in done.err


def test_repair_makes_the_same_bytes_again(dataset: Dataset) -> None:
    shard, clips = dataset.shard, dataset.clips
    right = {name: dataset.read(name) for name in (shard, clips, "manifest/clips.parquet")}
    dataset.write(shard, flipped(right[shard], 0.5))
    dataset.write(clips, flipped(right[clips], 0.5))
    done = dataset.verify("--repair")
    assert done.code == 0, done.err
    assert f"{shard}: made again from work/" in done.err
    assert f"{clips}: made again from manifest/clips.parquet" in done.err
    dataset.remove(shard)
    dataset.write("manifest/clips.parquet", b"changed")
    done = dataset.verify("--repair", "--fast")
    assert done.code == 0, done.err
    assert {name: dataset.read(name) for name in right} == right
    with pytest.raises(FileNotFoundError):
        dataset.read("lease.json")


def test_repair_writes_nothing_that_is_not_listed(dataset: Dataset) -> None:
    shard = dataset.shard
    damaged = flipped(dataset.read(shard), 0.5)
    dataset.write(shard, damaged)
    for video in dataset.work.rglob("video.mp4"):
        video.write_bytes(flipped(video.read_bytes(), 0.5))
    done = dataset.verify("--repair", "--fast")
    assert done.code == 3
    assert f"{shard}: cannot be made again" in done.err
    assert dataset.read(shard) == damaged
    shutil.rmtree(dataset.work)
    done = dataset.verify("--repair", "--fast")
    assert done.code == 3
    assert f"{shard}: cannot be made again" in done.err
    assert dataset.read(shard) == damaged


def test_a_store_that_fails_is_no_damage(
    built: Path, zygote: Zygote, bucket: Bucket, s3: Proxy
) -> None:
    bucket.write("set/dataset.json", (built / "dataset.json").read_bytes())
    s3.spoil = lambda request: (
        None if request.path.endswith("dataset.json") else PASSING_FAULTS["503"]
    )
    done = zygote.run("verify", "--out", f"{bucket.url}/set", env=s3.environment)
    assert done.code == 5
    assert "Nothing is lost" in done.err
    assert "missing" not in done.err


def test_verify_fast_on_s3_reads_no_shard(
    built: Path, small_clips: Path, zygote: Zygote, bucket: Bucket, s3: Proxy, tmp_path: Path
) -> None:
    """The store has computed the checksums itself, when the shards were brought there."""
    work = Path(shutil.copytree(built / "work", tmp_path / "work"))
    config = built / "config.yaml"
    source = small_clips / "sources.txt"
    words: Words = [
        "--source",
        source,
        "--work",
        work,
        "--config",
        config,
        "--executor",
        "inline",
    ]
    done = zygote.run("build", "--out", bucket.url, *words, env=s3.environment)
    assert done.code == 0, done.err
    s3.reset()
    done = zygote.run("verify", "--fast", "--out", bucket.url, env=s3.environment)
    assert done.code == 0, done.err
    asked = [(request.method, request.path) for request, _ in s3.seen]
    assert any(method == "HEAD" and ".tar" in path for method, path in asked)
    assert not any(method == "GET" and ".tar" in path for method, path in asked)
