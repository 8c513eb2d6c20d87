"""Check a published dataset against its contract, from the published files alone."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, BinaryIO

import av

from avipipe.errors import ManifestError
from avipipe.manifests.dataset import DatasetIndex, FileEntry, read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.pairs import Pairs, check_pairs
from avipipe.manifests.records import ID_PATTERN
from avipipe.manifests.rle import MaskTrack
from avipipe.manifests.samples import FPS, SAMPLE_RATE_HZ, split_clip
from avipipe.manifests.shards import ShardEntry, read_shard
from avipipe.manifests.splits import check_splits
from avipipe.manifests.tables import CLIPS_NAME, read_rows
from avipipe.media.container import open_bytes

MAX_OFFSET_MS = 20.0
_BLOCK_BYTES = 1 << 20
_DAMAGE = (ManifestError, av.FFmpegError, ValueError, LookupError, TypeError, AttributeError)
"""What is raised at a member that is not what it should be."""


def verify(out: str, *, deep: bool = True) -> Iterator[str]:
    """Yield what is wrong with a dataset, a sentence each; nothing if it is sound.

    Args:
        deep: also decode every sample and apply its law again, not only compare hashes.
    Raises:
        ManifestError: nothing is published there, or its index is damaged.
    """
    destination = Destination(out)
    index = read_index(destination)
    if index is None:
        raise ManifestError(f"{out} holds no published dataset (no dataset.json)")
    for name, entry in index.manifests.items():
        yield from _check_file(destination, name, entry)
    places: dict[str, str] = {}
    for shard in index.shards:
        yield from _check_shard(destination, shard, places, deep=deep)
    yield from _check_rows(destination, index, places)


def _check_file(destination: Destination, name: str, entry: FileEntry | ShardEntry) -> list[str]:
    try:
        with destination.reading(name) as file:
            sha256, num_bytes = _hash(file)
    except ManifestError as error:
        return [str(error)]
    if num_bytes != entry.num_bytes:
        return [f"{name}: {num_bytes} bytes, dataset.json says {entry.num_bytes}"]
    if sha256 != entry.sha256:
        return [f"{name}: its sha256 is {sha256}, dataset.json says {entry.sha256}"]
    return []


def _hash(file: BinaryIO) -> tuple[str, int]:
    state, num_bytes = hashlib.sha256(), 0
    while block := file.read(_BLOCK_BYTES):
        state.update(block)
        num_bytes += len(block)
    return state.hexdigest(), num_bytes


def _check_shard(
    destination: Destination, shard: ShardEntry, places: dict[str, str], *, deep: bool
) -> Iterator[str]:
    faults = _check_file(destination, shard.name, shard)
    yield from faults
    if faults and not destination.exists(shard.name):
        return
    num_samples = 0
    try:
        with destination.reading(shard.name) as file:
            for key, members in read_shard(file, shard.name):
                num_samples += 1
                if key in places:
                    yield f"{shard.name}: {key} is in {places[key]} too"
                places[key] = shard.name
                for fault in _check_sample(key, members, shard, deep=deep):
                    yield f"{shard.name}: {key}: {fault}"
    except ManifestError as error:
        yield str(error)
        return
    if num_samples != shard.num_samples:
        yield f"{shard.name}: {num_samples} samples, dataset.json says {shard.num_samples}"


def _check_sample(
    key: str, members: Mapping[str, bytes], shard: ShardEntry, *, deep: bool
) -> Iterator[str]:
    if not ID_PATTERN.fullmatch(key):
        yield "its id has characters that a WebDataset key must not have"
    try:
        facts = json.loads(members["json"])
        masks = _masks(members["masks.json"])
        pairs = Pairs.from_json(json.loads(members["pairs.json"]))
        yield from _check_facts(key, facts, masks, shard)
        if deep:
            yield from check_pairs(pairs, masks)
            yield from _check_media(members, facts)
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


def _check_media(members: Mapping[str, bytes], facts: Mapping[str, Any]) -> Iterator[str]:
    height, width = facts["size"]
    with open_bytes(io.BytesIO(members["mp4"])) as container:
        stream = container.streams.video[0]
        found = (stream.width, stream.height, stream.average_rate)
        num_frames = sum(1 for _ in container.decode(stream))
    if found != (width, height, Fraction(FPS)):
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
    destination: Destination, index: DatasetIndex, places: Mapping[str, str]
) -> Iterator[str]:
    """Whether manifest, shards, retractions and splits agree."""
    published, splits, retracted = set(), {}, set()
    relatives = []
    for row in read_rows(destination, CLIPS_NAME):
        if not row["shard"]:
            if row["decision"] == "keep":
                yield f"{CLIPS_NAME}: {row['clip_id']} is kept and in no shard"
            continue
        name = row["clip_id"]
        published.add(name)
        splits[name] = row["split"]
        if row["decision"] != "keep":
            retracted.add(name)
        if places.get(name) != row["shard"]:
            yield f"{CLIPS_NAME}: {name} should be in {row['shard']}, found {places.get(name)}"
        prints = {key: row[f"fingerprint.{key}"] for key in ("video_phash", "audio_chromaprint")}
        relatives.append(split_clip(name, row["source_id"], row["channel"], prints))
    for name in sorted(set(places) - published):
        yield f"{places[name]}: {name} is in no row of {CLIPS_NAME}"
    if retracted != set(index.retracted):
        yield f"dataset.json retracts {len(index.retracted)} clips, the manifest {len(retracted)}"
    yield from check_splits(relatives, splits)
