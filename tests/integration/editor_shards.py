"""Datasets of short synthetic clips with their exact masks, published as a build would."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from avipipe.editor.avi_edit.data.config import DataConfig, EncoderConfig
from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.manifests import rle
from avipipe.manifests.degrade import Law
from avipipe.manifests.pairs import make_pairs, write_pairs
from avipipe.manifests.rle import MaskTrack
from avipipe.manifests.samples import ClipRecord
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME, NormalizeConfig, normalize
from avipipe.media.probe import probe
from avipipe.stages.publish import PublishConfig
from avipipe.synth import render, write_clip
from tests.publishing import by_id, publish_all, record

HEIGHT_PX = 96
SMALL = Bucket(9, 64, 96)


@dataclass(frozen=True)
class Scene:
    """A synthetic clip; without a mask, `hidden`."""

    kind: str = "bounce"
    duration_s: float = 1.0
    hidden: bool = False


def publish_scenes(
    out: Path,
    scenes: Sequence[Scene],
    *,
    folder: Path,
    shard_samples: int = 100,
    law: Law | None = None,
) -> Path:
    """Publish clips as the split `train`, with media made in `folder`."""
    records = by_id(
        _record(folder, number, scene, law or Law()) for number, scene in enumerate(scenes)
    )
    config = PublishConfig(splits={"train": 1.0}, max_samples=shard_samples)
    publish_all(out, records, config)
    return out


def small_config(dataset: Path, tmp_path: Path, **changes: Any) -> DataConfig:
    """A configuration for tests: the tiny encoders, and no workers."""
    values = {
        "dataset": str(dataset),
        "buckets": (SMALL,),
        "encoders": EncoderConfig(preset="tiny"),
        "index": tmp_path / "index",
        "workers": 0,
    }
    return DataConfig(**{**values, **changes})


def remake_shard(dataset: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Change the members of the first shard (None leaves one out), and its entry in the index."""
    path = next(dataset.glob("shards/*.tar"))
    content = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=content, mode="w") as new:
        for header in old:
            file = old.extractfile(header)
            assert file is not None
            changed = change(header.name.partition(".")[2], file.read())
            if changed is not None:
                header.size = len(changed)
                new.addfile(header, io.BytesIO(changed))
    replace_shard(dataset, content.getvalue())


def replace_shard(dataset: Path, content: bytes) -> None:
    """Other bytes for the first shard, which the index agrees with."""
    next(dataset.glob("shards/*.tar")).write_bytes(content)
    listing = json.loads((dataset / "dataset.json").read_bytes())
    listing["shards"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (dataset / "dataset.json").write_text(json.dumps(listing))


def _record(folder: Path, number: int, scene: Scene, law: Law) -> ClipRecord:
    made = record(folder, number, look=number)
    place = folder / f"media-{number}"
    place.mkdir()
    clip = render(
        scene.kind, number, duration_s=scene.duration_s, height_px=HEIGHT_PX, fps=Fraction(24)
    )
    write_clip(clip, place / "source.mp4", crf=8)
    source = place / "source.mp4"
    done = normalize(
        source,
        probe(source),
        start_s=0.0,
        end_s=scene.duration_s,
        folder=place,
        config=NormalizeConfig(short_side_px=HEIGHT_PX),
    )
    masks = clip.truth.masks()[: done.num_frames] & (not scene.hidden)
    track = MaskTrack((done.height, done.width), 24, tuple(map(rle.encode, masks)))
    rle.write_masks(place / "masks.json", track.frames, size=track.size)
    write_pairs(place / "pairs.json", make_pairs(law, track, made.clip_id))
    cut = {
        **made.evidence["cut"],
        "num_frames": done.num_frames,
        "num_samples": done.num_samples,
        "width": done.width,
        "height": done.height,
        "duration_s": done.duration_s,
    }
    files = {
        "mp4": place / VIDEO_NAME,
        "flac": place / AUDIO_NAME,
        "masks.json": place / "masks.json",
        "pairs.json": place / "pairs.json",
    }
    return replace(made, evidence={**made.evidence, "cut": cut}, files=files)
