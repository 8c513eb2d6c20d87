"""Shards: tars of samples in the WebDataset layout. The same samples give the same bytes.

The name of a shard ends in a part of its hash, so no two shards that differ share a name, whoever
writes them; what was published before names had one, has none.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import BaseModel, ConfigDict

from avipipe.errors import ManifestError
from avipipe.manifests.destination import Destination, Draft
from avipipe.manifests.records import ID_PATTERN

MEMBERS = ("flac", "json", "masks.json", "mp4", "pairs.json")
"""Members of a sample, in the order in which they stand in a shard."""

OPTIONAL_MEMBERS = ("edits.json",)
"""Members that a sample may have besides."""

FOLDER = "shards"
_BLOCK_BYTES = 512
"""Block of a tar file."""
HASH_DIGITS = 16
"""Digits of a hash in a name: 64 bits, so that even a million files never collide."""

_NAME = re.compile(rf"{FOLDER}/[a-z]+-\d{{4,}}-\d{{5,}}(-[0-9a-f]{{{HASH_DIGITS}}})?\.tar")

Member = Path | bytes
"""The content of a member: a file to copy, or the bytes themselves."""


class ShardEntry(BaseModel):
    """A published shard, as `dataset.json` lists it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    split: str
    generation: int
    sha256: str
    num_bytes: int
    num_samples: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """Limits of a shard; one sample always fits."""

    max_samples: int
    max_bytes: int


def shard_name(split: str, generation: int, index: int, sha256: str) -> str:
    """Name of a shard: `shards/{split}-{generation:04d}-{index:05d}-{hash}.tar`."""
    return f"{FOLDER}/{split}-{generation:04d}-{index:05d}-{sha256[:HASH_DIGITS]}.tar"


def is_shard_name(name: str) -> bool:
    """Whether a publication could have given a file this name."""
    return _NAME.fullmatch(name) is not None


class ShardWriter:
    """Writes the samples of one split and generation into shard after shard.

    A context manager: a shard that is not full when an error leaves the block never appears.

    Attributes:
        entries: the shards that are written so far.
    """

    def __init__(
        self, destination: Destination, split: str, generation: int, limits: ShardLimits
    ) -> None:
        self._destination = destination
        self._split = split
        self._generation = generation
        self._limits = limits
        self._open: _OpenShard | None = None
        self.entries: list[ShardEntry] = []

    def add(self, key: str, members: Mapping[str, Member], *, duration_s: float) -> int:
        """Append a sample; return the place of its shard in `entries`. Keys must rise."""
        sizes = {name: _size(member) for name, member in members.items()}
        num_bytes = sum(_BLOCK_BYTES + _padded(size) for size in sizes.values())
        if self._open is not None and self._open.is_full(num_bytes, self._limits):
            self._finish()
        if self._open is None:
            self._open = _OpenShard(self._destination)
        self._open.add(key, members, sizes, duration_s)
        return len(self.entries)

    def _finish(self) -> None:
        if self._open is None:
            return
        shard, self._open = self._open, None
        with shard.closing() as draft:
            sha256 = draft.written.sha256
            name = shard_name(self._split, self._generation, len(self.entries), sha256)
            written = self._destination.place(draft, name)
        self.entries.append(
            ShardEntry(
                name=name,
                split=self._split,
                generation=self._generation,
                sha256=written.sha256,
                num_bytes=written.num_bytes,
                num_samples=shard.num_samples,
                duration_s=round(shard.duration_s, 6),
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()
        elif self._open is not None:
            self._open.abort(kind, error, trace)


class _OpenShard:
    def __init__(self, destination: Destination) -> None:
        self.num_samples = 0
        self.duration_s = 0.0
        self._last_key = ""
        self._stack = ExitStack()
        self._draft = self._stack.enter_context(destination.draft(FOLDER))
        # PAX, because USTAR ends names at 100 characters; other names give the same bytes in both.
        self._tar = tarfile.open(fileobj=self._draft, mode="w", format=tarfile.PAX_FORMAT)

    def is_full(self, more_bytes: int, limits: ShardLimits) -> bool:
        too_many = self.num_samples >= limits.max_samples
        return too_many or self._tar.offset + more_bytes > limits.max_bytes

    def add(
        self, key: str, members: Mapping[str, Member], sizes: Mapping[str, int], duration_s: float
    ) -> None:
        assert ID_PATTERN.fullmatch(key), f"{key!r} cannot be the key of a sample"
        assert key > self._last_key, f"{key} after {self._last_key}"
        assert set(members) == set(MEMBERS), sorted(members)
        for name in MEMBERS:
            self._add_member(f"{key}.{name}", members[name], sizes[name])
        self._last_key = key
        self.num_samples += 1
        self.duration_s += duration_s

    def _add_member(self, name: str, member: Member, size: int) -> None:
        header = tarfile.TarInfo(name)
        header.size = size
        header.mode = 0o644
        if isinstance(member, bytes):
            self._tar.addfile(header, io.BytesIO(member))
        else:
            with member.open("rb") as file:
                self._tar.addfile(header, file)

    @contextmanager
    def closing(self) -> Iterator[Draft]:
        """The whole shard, to be placed within the block."""
        with self._stack:
            self._tar.close()
            yield self._draft

    def abort(
        self,
        kind: type[BaseException],
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)


@contextmanager
def drafted_shard(
    destination: Destination, samples: Iterable[tuple[str, Mapping[str, Member], float]]
) -> Iterator[Draft]:
    """Write a shard of samples (key, members, duration in seconds), without a name yet."""
    shard = _OpenShard(destination)
    try:
        for key, members, duration_s in samples:
            sizes = {name: _size(member) for name, member in members.items()}
            shard.add(key, members, sizes, duration_s)
    except BaseException as error:
        shard.abort(type(error), error, error.__traceback__)
        raise
    with shard.closing() as draft:
        yield draft


def read_shard(file: BinaryIO, name: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, member -> content) for each sample. Holds one sample at a time.

    Args:
        name: of the shard, for messages.
    Raises:
        ManifestError: not a tar of whole samples in rising order.
    """
    key, members = "", dict[str, bytes]()
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for header in tar:
                owner, _, member = header.name.partition(".")
                if owner != key:
                    if key:
                        yield key, _whole(name, key, members)
                    if owner <= key:
                        raise ManifestError(f"{name}: {owner} comes after {key}; expected order")
                    key, members = owner, {}
                content = tar.extractfile(header)
                if content is None or member in members:
                    raise ManifestError(f"{name}: {header.name} is no file, or there twice")
                members[member] = content.read()
    except tarfile.TarError as error:
        raise ManifestError(f"{name}: expected a whole tar, got {error!r}") from error
    if key:
        yield key, _whole(name, key, members)


def _whole(name: str, key: str, members: dict[str, bytes]) -> dict[str, bytes]:
    if set(members) - set(OPTIONAL_MEMBERS) != set(MEMBERS):
        raise ManifestError(
            f"{name}: expected {', '.join(MEMBERS)} of {key}, found {', '.join(sorted(members))}"
        )
    return members


def _size(member: Member) -> int:
    return len(member) if isinstance(member, bytes) else member.stat().st_size


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
