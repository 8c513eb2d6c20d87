"""Clips as a build would hand them to `publish`, with small made-up media."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avipipe.manifests import rle
from avipipe.manifests.card import DecisionFacts
from avipipe.manifests.degrade import Law
from avipipe.manifests.lease import Lease
from avipipe.manifests.pairs import make_pairs, write_pairs
from avipipe.manifests.records import Span, clip_id
from avipipe.manifests.rle import MaskTrack
from avipipe.manifests.samples import ClipRecord, SourceFacts, SourceRecord
from avipipe.stages.publish import PublishConfig, Published, PublishFacts, publish

SIZE = (36, 64)
DECISION = DecisionFacts("light", "clips of 3 repositories", 0.6, {"max_speakers": 1.0})
FACTS = PublishFacts("c0ffee", {"avipipe": "0.1.0", "ffmpeg": "n9"}, DECISION)


def source(number: int, **metadata: str) -> SourceFacts:
    return SourceFacts(
        f"file-{number:016d}",
        f"/videos/{number}.mp4",
        "ab" * 32,
        {"extractor": "file", "title": f"Video {number}", "uploader": None},
        metadata,
    )


def source_record(facts: SourceFacts) -> SourceRecord:
    probe = {"container": "mov", "duration_s": 9.0, "video": {"codec": "h264", "width": 640}}
    return SourceRecord(facts, None, "ok", "", probe)


def members(folder: Path, name: str, num_frames: int = 2) -> dict[str, Path]:
    """The files of a sample; their content follows from its name."""
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    masks = np.zeros((num_frames, *SIZE), np.bool_)
    masks[:, 5:20, 10:30] = True
    masks[-1] = False
    track = MaskTrack(SIZE, 24, tuple(map(rle.encode, masks)))
    files = {suffix: folder / suffix for suffix in ("mp4", "flac", "masks.json", "pairs.json")}
    files["mp4"].write_bytes(f"picture of {name}".encode() * 50)
    files["flac"].write_bytes(f"sound of {name}".encode() * 20)
    rle.write_masks(files["masks.json"], track.frames, size=SIZE)
    write_pairs(files["pairs.json"], make_pairs(Law(), track, name))
    return files


def record(
    folder: Path,
    number: int,
    *,
    start_s: float = 0.0,
    decision: Literal["keep", "drop", "fail"] = "keep",
    reason: str = "",
    look: int | None = None,
    probability: float = 0.8,
    **metadata: str,
) -> ClipRecord:
    """A clip of source `number`; clips of equal `look` are near-duplicates."""
    facts, span = source(number, **metadata), Span(start_s, start_s + 2.0)
    name = clip_id(facts.source_id, span)
    rng = np.random.default_rng([7, look] if look is not None else [number, span.start_ms])
    evidence: dict[str, Any] = {
        "listen": {"rms_dbfs": -20.5, "tags": {"speech": 0.8}, "backends": {"vad": "energy@1"}},
        "cut": {
            "num_frames": 48,
            "num_samples": 96_000,
            "width": SIZE[1],
            "height": SIZE[0],
            "duration_s": 2.0,
            "crop": [0.0, 0.0, 1.0, 1.0],
            "sync": {"av_offset_ms": 1.5, "method": "packets"},
        },
        "fingerprint": {
            "video_phash": [f"{value:016x}" for value in rng.integers(0, 1 << 63, 3).tolist()],
            "audio_chromaprint": rng.integers(0, 1 << 32, 20).tolist(),
        },
        "decide_look": {"probability": 0.7, "findings": []},
        "decide_mask": {"probability": probability, "findings": []},
        "caption": {"text": "A thing knocks.", "label": "thing", "backend": "template@1"},
    }
    if decision != "keep":
        evidence = {"listen": evidence["listen"], "decide_listen": {"probability": 0.25}}
    provenance = {"listen": {"version": 1, "settings": {}}}
    files = members(folder, name) if decision == "keep" else {}
    return ClipRecord(name, facts, span, decision, reason, evidence, provenance, files)


def by_id(records: Iterable[ClipRecord]) -> dict[str, ClipRecord]:
    return {entry.clip_id: entry for entry in records}


def publish_all(
    out: Path | str,
    clips: Mapping[str, ClipRecord],
    config: PublishConfig | None = None,
    lease: Lease | None = None,
) -> Published:
    sources = {entry.source.source_id: entry.source for entry in clips.values()}
    return publish(
        str(out),
        clips,
        [source_record(facts) for facts in sources.values()],
        config=config or PublishConfig(),
        facts=FACTS,
        lease=lease,
    )


def tree(out: Path) -> dict[str, bytes]:
    """Every file of a dataset, by name."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
