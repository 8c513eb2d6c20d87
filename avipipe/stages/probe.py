"""Probe: what a source holds, measured on its packets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from avipipe.manifests.records import Keep, Outcome
from avipipe.media.probe import probe
from avipipe.stages.base import Item, Resources, Stage
from avipipe.stages.fetch import source_path


class ProbeConfig(BaseModel):
    """There is nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Probe(Stage):
    """Fails a source that is no video with sound.

    Evidence: `MediaInfo` as JSON: `container`, `start_s`, `duration_s`, `video`, `audio`.
    """

    name = "probe"
    version: ClassVar[int] = 1
    level: ClassVar[Literal["source", "clip"]] = "source"
    needs = ("fetch",)
    resources = Resources(num_cpus=0.5)

    def __init__(self, config: ProbeConfig) -> None:
        self.config = config

    def settings(self) -> Mapping[str, Any]:
        return self.config.model_dump(mode="json")

    def run(self, item: Item, folder: Path) -> Outcome:
        return Keep(probe(source_path(item)).to_json())
