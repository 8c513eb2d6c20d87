import hashlib
import io
import tarfile
from pathlib import Path

import fsspec
import pytest

from avipipe.errors import ManifestError
from avipipe.manifests.destination import Destination
from avipipe.manifests.shards import (
    MEMBERS,
    Member,
    ShardLimits,
    ShardWriter,
    drafted_shard,
    is_shard_name,
    read_shard,
    shard_name,
)

ROOMY = ShardLimits(max_samples=100, max_bytes=1 << 30)


def sample(name: str, size: int = 700) -> dict[str, Member]:
    return {member: f"{member} of {name} ".encode().ljust(size, b".") for member in MEMBERS}


def write(out: Path | str, names: list[str], limits: ShardLimits = ROOMY) -> ShardWriter:
    with ShardWriter(Destination(str(out)), "train", 1, limits) as writer:
        for name in names:
            writer.add(name, sample(name), duration_s=2.5)
    return writer


def test_what_is_written_is_read(tmp_path: Path) -> None:
    writer = write(tmp_path, ["a", "b"])
    (entry,) = writer.entries
    data = (tmp_path / entry.name).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    assert entry.name == shard_name("train", 1, 0, sha256)
    assert entry.name == f"shards/train-0001-00000-{sha256[:16]}.tar"
    assert (entry.num_samples, entry.duration_s) == (2, 5.0)
    assert (entry.sha256, entry.num_bytes) == (sha256, len(data))
    read = dict(read_shard(io.BytesIO(data), entry.name))
    assert read == {name: sample(name) for name in ("a", "b")}
    assert [path.name for path in (tmp_path / "shards").iterdir()] == [Path(entry.name).name]


def test_headers_hold_nothing_of_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "video"
    file.write_bytes(b"x" * 999)
    file.chmod(0o600)
    members = {**sample("a"), "mp4": file}
    with ShardWriter(Destination(str(tmp_path)), "train", 1, ROOMY) as writer:
        writer.add("a", members, duration_s=1.0)
    with tarfile.open(tmp_path / writer.entries[0].name) as tar:
        headers = tar.getmembers()
    assert [header.name for header in headers] == [f"a.{member}" for member in MEMBERS]
    for header in headers:
        stamp = (header.mtime, header.uid, header.gid, header.uname, header.gname, header.mode)
        assert stamp == (0, 0, 0, "", "", 0o644)


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (ShardLimits(2, 1 << 30), [2, 2, 1]),
        (ShardLimits(100, 20_000), [2, 2, 1]),
        (ShardLimits(100, 1), [1, 1, 1, 1, 1]),
    ],
)
def test_full_shards_are_followed_by_others(
    tmp_path: Path, limits: ShardLimits, sizes: list[int]
) -> None:
    writer = write(tmp_path, list("abcde"), limits)
    assert [entry.num_samples for entry in writer.entries] == sizes
    assert all(entry.num_bytes < 20_000 + 10_240 for entry in writer.entries)


def test_long_keys_survive(tmp_path: Path) -> None:
    name = "x" * 120
    (entry,) = write(tmp_path, [name]).entries
    with (tmp_path / entry.name).open("rb") as file:
        assert [key for key, _ in read_shard(file, entry.name)] == [name]


def test_an_error_leaves_no_unfinished_shard(tmp_path: Path) -> None:
    writer = ShardWriter(Destination(str(tmp_path)), "train", 1, ShardLimits(1, 1 << 30))

    def interrupted() -> None:
        with writer:
            assert writer.add("a", sample("a"), duration_s=1.0) == 0
            assert writer.add("b", sample("b"), duration_s=1.0) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (entry,) = writer.entries
    assert [f"shards/{path.name}" for path in (tmp_path / "shards").iterdir()] == [entry.name]


def test_names_follow_from_content(tmp_path: Path) -> None:
    (one,) = write(tmp_path / "one", ["a"]).entries
    (same,) = write(tmp_path / "two", ["a"]).entries
    (other,) = write(tmp_path / "three", ["b"]).entries
    assert one.name == same.name != other.name
    for name in (one.name, "shards/train-0001-00000.tar"):
        assert is_shard_name(name)
    for name in ("shards/notes.txt", "shards/train-0001-00000-abc.tar", "train-0001-00000.tar"):
        assert not is_shard_name(name)


def test_a_drafted_shard_is_the_one_that_was_written(tmp_path: Path) -> None:
    destination = Destination(str(tmp_path))
    (entry,) = write(tmp_path, ["a", "b"]).entries
    samples = [(name, sample(name), 2.5) for name in ("a", "b")]
    with drafted_shard(destination, samples) as draft:
        assert draft.written.sha256 == entry.sha256
    assert destination.names("shards") == [entry.name]


def test_remote_destination_gets_the_same_bytes(tmp_path: Path) -> None:
    (local,) = write(tmp_path, ["a"]).entries
    (remote,) = write("memory://shard-test/set", ["a"]).entries
    assert remote == local
    with fsspec.open(f"memory://shard-test/set/{remote.name}") as file:
        assert file.read() == (tmp_path / local.name).read_bytes()
    assert Destination("memory://shard-test/set").names("shards") == [remote.name]


def tar_of(names: list[str]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    file.seek(0)
    return file


WHOLE = [f"b.{member}" for member in MEMBERS]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (tar_of(WHOLE[1:]), "expected flac, json"),
        (tar_of([*WHOLE, "b.mp4"]), "there twice"),
        (tar_of([*WHOLE, *(name.replace("b", "a", 1) for name in WHOLE)]), "a comes after b"),
        (io.BytesIO(b"no tar at all" * 100), "expected a whole tar"),
        (io.BytesIO(tar_of(WHOLE).getvalue()[:700]), "expected"),
    ],
)
def test_damaged_shards_are_refused(file: io.BytesIO, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        list(read_shard(file, "shards/x.tar"))
