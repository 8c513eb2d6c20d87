"""Probe: what a source holds, measured on its packets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from avipipe.manifests.records import Keep, Outcome
from avipipe.media.container import DEFAULT_LIMITS, MediaLimits
from avipipe.media.probe import probe
from avipipe.stages.base import Item, Resources, Stage
from avipipe.stages.fetch import source_path


class ProbeConfig(BaseModel):
    """What a file may declare before anything of it is decoded. No limit is part of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pixels: int = Field(
        DEFAULT_LIMITS.max_pixels, ge=1, description="Of a coded picture: width times height."
    )
    max_audio_channels: int = Field(
        DEFAULT_LIMITS.max_audio_channels, ge=1, description="Of the sound."
    )
    max_duration_s: float = Field(
        DEFAULT_LIMITS.max_duration_s, gt=0, description="Of all that pictures and sound support."
    )


class Probe(Stage):
    """Fails a source that is no video with sound, or too large.

    Evidence: `MediaInfo` as JSON: `container`, `start_s`, `duration_s`, `video`, `audio`,
    `stretches`.
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
        limits = MediaLimits(**self.config.model_dump())
        return Keep(probe(source_path(item), limits).to_json())
