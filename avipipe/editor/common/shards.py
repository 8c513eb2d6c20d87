"""The samples of a published split: which there are, and reading any part of any of them.

Every shard is read whole once, against the sha256 in `dataset.json`. Where its members lie, and a
checksum of each, is kept in a folder under that sha256; from then on a member is one read at a
known place, and never used when its bytes have changed since.
"""

import hashlib
import itertools
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from avipipe.editor.common.sealed import sealed, unsealed
from avipipe.errors import ManifestError, disk_error
from avipipe.files import write_whole
from avipipe.manifests.dataset import DatasetIndex, read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.pairs import Pairs
from avipipe.manifests.rle import MaskTrack, area, canonical_json
from avipipe.manifests.samples import FPS
from avipipe.manifests.shards import MEMBERS, OPTIONAL_MEMBERS, ShardEntry
from avipipe.media.normalize import SAMPLE_RATE_HZ
from avipipe.weights.digests import cache_folder

_VERSION = 3
_BLOCK_BYTES = 1 << 20
_DAMAGE = (ManifestError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What is raised at a member that is not what it should be."""


def index_folder() -> Path:
    """Where what is noted of shards is kept, unless another folder is given."""
    return cache_folder().parent / "shards"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member lies in its shard."""

    offset_bytes: int
    num_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample in a shard.

    Attributes:
        key: the clip id.
        size: height and width in pixels.
        num_visible: frames in which the instance is seen.
        num_levels: P of its mask pairs.
        places: member -> where it lies; one that a sample need not have may be missing.
    """

    key: str
    shard: str
    num_frames: int
    size: tuple[int, int]
    num_visible: int
    num_levels: int
    places: Mapping[str, Place]


_SAMPLES = TypeAdapter(tuple[Sample, ...])


class ShardDataset:
    """A split of a published dataset.

    Args:
        url: local folder or fsspec URL.
        index: folder for what is noted of shards; the processes of a machine share it.
        rank, world_size: of this process; processes begin with different shards, and take from the
            folder what others noted already.
        progress: called with the number of shards that are done, and of all.
    Raises:
        ManifestError: no dataset or split, another schema, or a shard that is not what was
            published.
    """

    def __init__(
        self,
        url: str,
        split: str,
        *,
        index: Path,
        rank: int = 0,
        world_size: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.url, self.split = url, split
        self._opened: tuple[int, Destination] | None = None
        listing = _listing(self._destination, url, split)
        shards = [entry for entry in listing.shards if entry.split == split]
        first = rank * len(shards) // world_size
        found = dict[str, tuple[Sample, ...]]()
        for done, entry in enumerate(shards[first:] + shards[:first], start=1):
            found[entry.name] = self._noted(entry, index)
            progress(done, len(shards))
        samples = itertools.chain.from_iterable(found.values())
        self.samples = _used(samples, frozenset(listing.retracted))
        """All but those that were retracted, by key."""

    def read(self, sample: Sample, members: Iterable[str]) -> dict[str, bytes]:
        """The content of some members.

        Raises:
            ManifestError: the shard has changed since it was noted, or is gone.
        """
        with self._destination.reading(sample.shard) as file:
            return {name: self._read(file, sample, name) for name in members}

    @property
    def _destination(self) -> Destination:
        """Opened in each process anew: connections to a store do not survive a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), Destination(self.url)
        return self._opened[1]

    def _read(self, file: BinaryIO, sample: Sample, member: str) -> bytes:
        place = sample.places[member]
        file.seek(place.offset_bytes)
        content = file.read(place.num_bytes)
        if len(content) != place.num_bytes or zlib.crc32(content) != place.crc32:
            raise ManifestError(
                f"{self.url}/{sample.shard}: {sample.key}.{member} is not what was published; the "
                "file has changed or is damaged. Run `avipipe verify`, and restore it"
            )
        return content

    def _noted(self, entry: ShardEntry, index: Path) -> tuple[Sample, ...]:
        path = index / f"{entry.sha256}.v{_VERSION}.json"
        try:
            return _SAMPLES.validate_python(unsealed(path.read_bytes())["samples"])
        except (OSError, ValueError, KeyError):  # not there, or damaged: both cost one reading
            samples = tuple(self._survey(entry))
        noted = {"samples": [asdict(sample) for sample in samples]}
        write_file(path, canonical_json(sealed(noted)))
        return samples

    def _survey(self, entry: ShardEntry) -> list[Sample]:
        """Read a whole shard."""
        where = f"{self.url}/{entry.name}"
        with self._destination.reading(entry.name) as file:
            found = hashlib.sha256()
            while block := file.read(_BLOCK_BYTES):
                found.update(block)
            if found.hexdigest() != entry.sha256:
                raise ManifestError(
                    f"{where}: expected sha256 {entry.sha256} as in dataset.json, found "
                    f"{found.hexdigest()}; run `avipipe verify`, and restore the file"
                )
            file.seek(0)
            try:
                samples = list(_walk(file, entry.name, where))
            except tarfile.TarError as error:
                raise ManifestError(
                    f"{where}: expected a whole tar, got {error!r}; publish the dataset again"
                ) from error
        if len(samples) != entry.num_samples:
            raise ManifestError(
                f"{where}: expected {entry.num_samples} samples as in dataset.json, found "
                f"{len(samples)}; publish the dataset again"
            )
        return samples


def mask_track(content: bytes) -> MaskTrack:
    """Read the mask track that `masks.json` holds."""
    return MaskTrack.from_json(json.loads(content))


def mask_pairs(content: bytes) -> Pairs:
    """Read the degraded masks that `pairs.json` holds."""
    return Pairs.from_json(json.loads(content))


def _listing(destination: Destination, url: str, split: str) -> DatasetIndex:
    listing = read_index(destination)
    if listing is None:
        destination.store.look()  # a missing bucket is no missing dataset
        raise ManifestError(
            f"{url}: expected a published dataset, found no dataset.json; run `avipipe build`, or "
            "name the folder that it published into"
        )
    if not any(entry.split == split for entry in listing.shards):
        splits = sorted({entry.split for entry in listing.shards})
        raise ManifestError(
            f"{url}: expected shards of the split `{split}`, found "
            f"{', '.join(splits) or 'none at all'}; choose another split"
        )
    return listing


def _used(samples: Iterable[Sample], retracted: Collection[str]) -> tuple[Sample, ...]:
    ordered = sorted(samples, key=lambda sample: sample.key)
    for one, other in itertools.pairwise(ordered):
        if one.key == other.key:
            raise ManifestError(
                f"expected each sample once, found {one.key} in {one.shard} and {other.shard}; "
                "publish the dataset again"
            )
    return tuple(sample for sample in ordered if sample.key not in retracted)


def _walk(file: BinaryIO, shard: str, where: str) -> Iterator[Sample]:
    """Every sample of a shard, from its first byte on."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for key, headers in itertools.groupby(tar, lambda header: header.name.partition(".")[0]):
            contents, places = dict[str, bytes](), dict[str, Place]()
            for header in headers:
                member = header.name.partition(".")[2]
                content = tar.extractfile(header)
                if content is None or member in contents:
                    raise ManifestError(f"{where}: {header.name} is no file, or there twice")
                contents[member] = content.read()
                places[member] = Place(
                    header.offset_data, header.size, zlib.crc32(contents[member])
                )
            yield _sample(key, shard, contents, places, where)


def _sample(
    key: str, shard: str, contents: dict[str, bytes], places: dict[str, Place], where: str
) -> Sample:
    if set(contents) - set(OPTIONAL_MEMBERS) != set(MEMBERS):
        raise ManifestError(
            f"{where}: expected {', '.join(MEMBERS)} of {key}, found "
            f"{', '.join(sorted(contents))}; publish it with this version of avipipe"
        )
    try:
        facts = json.loads(contents["json"])
        masks, pairs = mask_track(contents["masks.json"]), mask_pairs(contents["pairs.json"])
        num_frames = facts["num_frames"]
        _check(facts, masks, pairs)
        masks.check()
        num_visible = sum(area(counts, masks.size) > 0 for counts in masks.frames)
    except _DAMAGE as error:
        raise ManifestError(
            f"{where}: {key} breaks the data contract: {error}; publish it again"
        ) from error
    num_levels = pairs.law.num_levels
    return Sample(key, shard, num_frames, masks.size, num_visible, num_levels, places)


def _check(facts: dict[str, Any], masks: MaskTrack, pairs: Pairs) -> None:
    """Raises ValueError where the members of a sample do not go together."""
    num_frames, fps = facts["num_frames"], facts["fps"]
    rate_hz, num_samples = facts["sample_rate_hz"], facts["num_samples"]
    if not isinstance(facts["caption"]["text"], str):
        raise ValueError(f"expected a caption, found {facts['caption']}")
    if (fps, rate_hz) != (FPS, SAMPLE_RATE_HZ) or num_samples * fps != num_frames * rate_hz:
        raise ValueError(
            f"expected {FPS} frames and {SAMPLE_RATE_HZ} samples a second, found {num_frames} "
            f"frames at {fps} and {num_samples} samples at {rate_hz}"
        )
    if masks.fps != FPS or list(masks.size) != list(facts["size"]):
        raise ValueError(f"its masks are {masks.size} at {masks.fps}, its frames {facts['size']}")
    lengths = {len(masks.frames), *(len(level.frames) for level in pairs.levels)}
    if lengths != {num_frames}:
        raise ValueError(f"expected masks of {num_frames} frames, found {sorted(lengths)}")
    if [entry.level.p for entry in pairs.levels] != list(range(1, pairs.law.num_levels + 1)):
        raise ValueError(f"expected the levels 1 to {pairs.law.num_levels} of masks")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, durable and whole or not at all, however many do so at once.

    Raises:
        RunError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise disk_error(error) from error
