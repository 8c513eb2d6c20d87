"""fingerprint: what the finished clip looks and sounds like, to keep near-duplicates together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from avipipe.manifests.records import Keep, Outcome
from avipipe.media import fingerprint
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME
from avipipe.media.probe import probe
from avipipe.stages.base import Item, Stage


class Fingerprint(Stage):
    """Evidence: `video_phash`, a hash or None for each of three pictures, `audio_chromaprint`."""

    name = "fingerprint"
    version: ClassVar[int] = 1
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("cut",)

    def settings(self) -> Mapping[str, Any]:
        return {"chromaprint": fingerprint.has_chromaprint()}

    def run(self, item: Item, folder: Path) -> Outcome:
        video = item.folders["cut"] / VIDEO_NAME
        frames = fingerprint.sample_frames(video, probe(video))
        words = fingerprint.audio_chromaprint(item.folders["cut"] / AUDIO_NAME)
        return Keep(
            {
                "video_phash": list(fingerprint.video_phash(frames)),
                "audio_chromaprint": None if words is None else list(words),
            }
        )
