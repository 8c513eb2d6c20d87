"""Probe: what a source holds, measured on its packets."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.records import Keep, Outcome
from avipipe.media.container import DEFAULT_LIMITS, MediaLimits
from avipipe.media.probe import MediaInfo, probe
from avipipe.stages.base import Item, Resources, Stage
from avipipe.stages.fetch import source_path


class ProbeConfig(BaseModel):
    """What a file may declare before anything of it is decoded. No limit is part of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pixels: int = Field(
        DEFAULT_LIMITS.max_pixels, ge=1, description="Most pixels of a picture as coded."
    )
    max_audio_channels: int = Field(
        DEFAULT_LIMITS.max_audio_channels, ge=1, description="Most channels of the sound."
    )
    max_duration_s: float = Field(
        DEFAULT_LIMITS.max_duration_s, gt=0, description="Longest source, by picture and sound."
    )

    @property
    def limits(self) -> MediaLimits:
        return MediaLimits(**self.model_dump())


class Probe(Stage):
    """Fails a source that is no video with sound, or too large.

    Evidence: `MediaInfo` as JSON: `container`, `start_s`, `duration_s`, `video`, `audio`,
    `stretches`. Of a source that was fetched in part, all of it is in the time of the whole.
    """

    name = "probe"
    version: ClassVar[int] = 2
    level: ClassVar[Literal["source", "clip"]] = "source"
    needs = ("fetch",)
    resources = Resources(num_cpus=0.5)

    def __init__(self, config: ProbeConfig) -> None:
        self.config = config

    def settings(self) -> Mapping[str, Any]:
        return {}

    def run(self, item: Item, folder: Path) -> Outcome:
        fetched = item.evidence["fetch"]
        if fetched["path"] is None:
            raise MediaError(FailKind.RANGE_OUTSIDE, _outside(item, fetched["length_s"]))
        info = probe(source_path(item), self.config.limits)
        return Keep(_on_clock(info, fetched.get("clock_start_s")).to_json())


def _on_clock(info: MediaInfo, clock_start_s: float | None) -> MediaInfo:
    """The same with source time 0 where `fetch` says that it lies on the file's clock."""
    if clock_start_s is None:
        return info
    later_s = info.start_s - clock_start_s
    video, audio = info.video, info.audio
    return replace(
        info,
        start_s=clock_start_s,
        duration_s=info.duration_s + later_s,
        video=replace(
            video,
            start_s=video.start_s + later_s,
            last_s=video.last_s + later_s,
            end_s=video.end_s + later_s,
        ),
        audio=replace(audio, start_s=audio.start_s + later_s, end_s=audio.end_s + later_s),
        stretches=tuple((from_s + later_s, to_s + later_s) for from_s, to_s in info.stretches),
    )


def _outside(item: Item, length_s: float) -> str:
    span = item.source.span
    found = f"{span.start_s:.3f}-{span.end_s:.3f} s" if span else "none"
    return f"expected a range within the video's {length_s:.3f} s, found {found}"
