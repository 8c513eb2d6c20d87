"""Check a published dataset against its contract, from the published files alone."""

import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import av

from avipipe.errors import ManifestError
from avipipe.manifests.copies import copies
from avipipe.manifests.dataset import (
    INDEX_NAME,
    DatasetIndex,
    FileEntry,
    plain_name,
    read_index,
)
from avipipe.manifests.destination import Destination
from avipipe.manifests.edits import EditPair, read_edits
from avipipe.manifests.leftovers import find_leftovers
from avipipe.manifests.pairs import Pairs, check_pairs
from avipipe.manifests.records import ID_PATTERN
from avipipe.manifests.rle import MaskTrack
from avipipe.manifests.samples import EDITS_MEMBER, split_clip
from avipipe.manifests.shards import ShardEntry, read_shard
from avipipe.manifests.splits import check_splits
from avipipe.manifests.stores.base import BLOCK_BYTES, FileDigest
from avipipe.manifests.tables import CLIPS_NAME, EDITS_NAME, PublishedTables, Row, edit_rows
from avipipe.media.container import open_bytes
from avipipe.media.normalize import FPS, SAMPLE_RATE_HZ
from avipipe.pipeline.remeasure import Remeasure

MAX_OFFSET_MS = 20.0
"""Most that sound and picture may be apart: about half a frame of 24 fps: the limit of
`out_of_sync`."""
Edits = dict[str, list[Row]]
"""Clip id -> the rows of its edits."""

_PRINTS = ("video_phash", "audio_chromaprint")
_DAMAGE = (ManifestError, av.FFmpegError, ValueError, LookupError, TypeError, AttributeError)
"""What is raised at a member that is not what it should be."""


def verify(out: str, *, deep: bool = True, again: Remeasure | None = None) -> Iterator[str]:
    """Yield what is wrong with a dataset, a sentence each; nothing if it is sound.

    Args:
        deep: also read every sample, decode it, and apply its law again; otherwise only size and
            checksum of every file count, by the store's own where it has one.
        again: also measure every clip against its source, where that is here; wants `deep`.
    Raises:
        ManifestError: nothing is published there, or its index is damaged.
        RunError: the store cannot be reached.
    """
    destination = Destination(out)
    index = require_index(destination)
    damaged = set()
    for name, entry in index.manifests.items():
        for fault in check_file(destination, name, entry):
            damaged.add(plain_name(name))
            yield fault
    for copy in copies(destination, index):
        if copy.found is None:
            yield f"{copy.name}: is missing"
        elif not (copy.is_right or copy.is_old):
            yield _fault(copy.name, copy.found, copy.entry)
    places: dict[str, str] = {}
    edits: Edits = {}
    for shard in index.shards:
        if deep:
            yield from _check_shard(destination, shard, places, edits, again)
        else:
            yield from check_file(destination, shard.name, shard)
    if CLIPS_NAME not in damaged:
        try:
            yield from _check_rows(destination, index, places if deep else None)
        except ManifestError as error:
            yield str(error)
    if deep and EDITS_NAME not in damaged:
        try:
            yield from _check_edits(destination, index, edits)
        except ManifestError as error:
            yield str(error)
    for name, is_own in find_leftovers(destination, index):
        if not is_own:
            yield f"{name}: is foreign: no publication gives such names"


def leftovers(out: str) -> Iterator[str]:
    """Yield what publications left that were stopped; the dataset is sound all the same."""
    destination = Destination(out)
    index = require_index(destination)
    for copy in copies(destination, index):
        if copy.is_old:
            yield f"{copy.name}: is of an earlier publication; the next build brings it up to date"
    for name, is_own in find_leftovers(destination, index):
        if is_own:
            yield (
                f"{name}: is not listed: it was until the last publication, and the next removes "
                "it; or a publication was stopped, or is under way"
            )


def require_index(destination: Destination) -> DatasetIndex:
    """Read the index of a dataset, which must be there.

    Raises:
        ManifestError: nothing is published there, or its index is damaged.
    """
    index = read_index(destination)
    if index is None:
        destination.store.look()  # a missing bucket is no missing dataset
        raise ManifestError(f"{destination.url} holds no published dataset (no {INDEX_NAME})")
    return index


def check_file(destination: Destination, name: str, entry: FileEntry | ShardEntry) -> list[str]:
    """Check a file by size and checksum; say what is wrong, nothing where it is right."""
    found = destination.store.stat(name)
    if found is not None and found.num_bytes != entry.num_bytes:
        return [_fault(name, FileDigest("", found.num_bytes), entry)]
    written = destination.written(name) if found is not None else None
    if written is None:
        return [f"{name}: is missing"]
    return [] if _is(written, entry) else [_fault(name, written, entry)]


def _is(found: FileDigest, entry: FileEntry | ShardEntry) -> bool:
    return (found.sha256, found.num_bytes) == (entry.sha256, entry.num_bytes)


def _fault(name: str, found: FileDigest, entry: FileEntry | ShardEntry) -> str:
    if found.num_bytes != entry.num_bytes:
        return f"{name}: {found.num_bytes} bytes, dataset.json says {entry.num_bytes}"
    return f"{name}: its sha256 is {found.sha256}, dataset.json says {entry.sha256}"


def _check_shard(
    destination: Destination,
    shard: ShardEntry,
    places: dict[str, str],
    edits: Edits,
    again: Remeasure | None,
) -> Iterator[str]:
    """Read a shard once: its samples, and its bytes."""
    if not destination.exists(shard.name):
        yield f"{shard.name}: is missing"
        return
    num_samples = 0
    with destination.reading(shard.name) as file:
        hashed = _HashedReader(file)
        try:
            for key, members in read_shard(cast(BinaryIO, hashed), shard.name):
                num_samples += 1
                if key in places:
                    yield f"{shard.name}: {key} is in {places[key]} too"
                places[key] = shard.name
                for fault in _check_sample(key, members, shard, edits, again):
                    yield f"{shard.name}: {key}: {fault}"
        except ManifestError as error:
            yield str(error)
            num_samples = shard.num_samples
        found = hashed.rest()
    if not _is(found, shard):
        yield _fault(shard.name, found, shard)
    if num_samples != shard.num_samples:
        yield f"{shard.name}: {num_samples} samples, dataset.json says {shard.num_samples}"


class _HashedReader(io.RawIOBase):
    """A file to read that knows what it has read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._num_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        self._num_bytes += len(data)
        return data

    def rest(self) -> FileDigest:
        """Read to the end."""
        while self.read(BLOCK_BYTES):
            pass
        return FileDigest(self._hash.hexdigest(), self._num_bytes)


def _check_sample(
    key: str,
    members: Mapping[str, bytes],
    shard: ShardEntry,
    edits: Edits,
    again: Remeasure | None,
) -> Iterator[str]:
    if not ID_PATTERN.fullmatch(key):
        yield "its id has characters that a WebDataset key must not have"
    try:
        facts = json.loads(members["json"])
        masks = _masks(members["masks.json"])
        pairs = Pairs.from_json(json.loads(members["pairs.json"]))
        yield from _check_facts(key, facts, masks, shard)
        yield from check_pairs(pairs, masks)
        yield from _check_media(members, facts)
        if EDITS_MEMBER in members:
            pairs_of_edits = read_edits(members[EDITS_MEMBER])
            edits[key] = list(edit_rows(key, pairs_of_edits, split=shard.split, shard=shard.name))
            yield from _check_precisions(pairs_of_edits, pairs)
        if again is not None:
            yield from again.check(facts, members)
    except _DAMAGE as error:
        yield f"a member is damaged: {type(error).__name__}: {error}"


def _masks(data: bytes) -> MaskTrack:
    return MaskTrack.from_json(json.loads(data))


def _check_facts(
    key: str, facts: Mapping[str, Any], masks: MaskTrack, shard: ShardEntry
) -> Iterator[str]:
    expected = {
        "clip_id": (facts["clip_id"], key),
        "split": (facts["split"], shard.split),
        "frames of masks.json": (len(masks.frames), facts["num_frames"]),
        "size of masks.json": (list(masks.size), facts["size"]),
        "num_samples": (
            facts["num_samples"],
            facts["num_frames"] * SAMPLE_RATE_HZ // FPS,
        ),
    }
    for name, (found, right) in expected.items():
        if found != right:
            yield f"{name} is {found}, expected {right}"
    offset_ms = facts["sync"]["av_offset_ms"]
    if abs(offset_ms) > MAX_OFFSET_MS:
        yield f"sound and picture are {offset_ms:+g} ms apart, more than {MAX_OFFSET_MS:g} ms"
    if not facts["caption"]["text"]:
        yield "its caption is empty"


def _check_precisions(edits: Iterable[EditPair], pairs: Pairs) -> Iterator[str]:
    most = pairs.law.num_levels
    for pair in edits:
        if pair.precision > most:
            yield f"edit {pair.name}: its precision factor is {pair.precision}, the most is {most}"


def _check_media(members: Mapping[str, bytes], facts: Mapping[str, Any]) -> Iterator[str]:
    height, width = facts["size"]
    with open_bytes(io.BytesIO(members["mp4"])) as container:
        stream = container.streams.video[0]
        found = (stream.width, stream.height, stream.average_rate)
        num_frames = sum(1 for _ in container.decode(stream))
    if found != (width, height, FPS):
        yield f"mp4 is {found[0]}x{found[1]} at {found[2]} fps, expected {width}x{height} at {FPS}"
    if num_frames != facts["num_frames"]:
        yield f"mp4 has {num_frames} frames, expected {facts['num_frames']}"
    with open_bytes(io.BytesIO(members["flac"])) as container:
        rate_hz = container.streams.audio[0].rate
        num_samples = sum(frame.samples for frame in container.decode(audio=0))
    if (rate_hz, num_samples) != (SAMPLE_RATE_HZ, facts["num_samples"]):
        yield (
            f"flac has {num_samples} samples at {rate_hz} Hz, expected {facts['num_samples']} "
            f"at {SAMPLE_RATE_HZ} Hz"
        )


def _check_rows(
    destination: Destination, index: DatasetIndex, places: Mapping[str, str] | None
) -> Iterator[str]:
    """Whether manifest, shards, retractions and splits agree.

    Args:
        places: clip id -> the shard that it was found in; None where no shard was looked into.
    """
    splits, retracted = {}, set()
    relatives = []
    in_shard = Counter[str]()
    with PublishedTables(destination, index) as tables:
        for row in tables.rows(CLIPS_NAME):
            name = row["clip_id"]
            if not row["shard"]:
                if row["decision"] == "keep":
                    yield f"{CLIPS_NAME}: {name} is kept and in no shard"
                continue
            splits[name] = row["split"]
            in_shard[row["shard"]] += 1
            if row["decision"] != "keep":
                retracted.add(name)
            if places is not None and places.get(name) != row["shard"]:
                yield f"{CLIPS_NAME}: {name} should be in {row['shard']}, found {places.get(name)}"
            prints = {print_: row[f"fingerprint.{print_}"] for print_ in _PRINTS}
            relatives.append(split_clip(name, row["source_id"], row["channel"], prints))
    for name in sorted(set(places or ()) - set(splits)):
        yield f"{(places or {})[name]}: {name} is in no row of {CLIPS_NAME}"
    listed = {shard.name: shard.num_samples for shard in index.shards}
    for name in sorted(set(listed) | set(in_shard)):
        if in_shard[name] != (expected := listed.get(name, 0)):
            yield f"{CLIPS_NAME}: {in_shard[name]} clips in {name}, dataset.json says {expected}"
    if retracted != set(index.retracted):
        yield f"dataset.json retracts {len(index.retracted)} clips, the manifest {len(retracted)}"
    yield from check_splits(relatives, splits)


def _check_edits(destination: Destination, index: DatasetIndex, edits: Edits) -> Iterator[str]:
    """Whether the table of edits says what the samples hold.

    Args:
        edits: clip id -> the rows that its sample should have there.
    """
    listed: defaultdict[str, list[Row]] = defaultdict(list)
    with PublishedTables(destination, index) as tables:
        for row in tables.rows(EDITS_NAME):
            listed[row["clip_id"]].append(row)
    for name in sorted(set(listed) | set(edits)):
        if (found := listed.get(name, [])) != (right := edits.get(name, [])):
            yield (
                f"{EDITS_NAME}: the {len(found)} edits of {name} are not the {len(right)} that its "
                "sample holds"
            )
