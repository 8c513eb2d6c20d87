"""pair: degrade the exact mask of each frame by precision factor, into `pairs.json`."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from avipipe.manifests import degrade, rle
from avipipe.manifests.degrade import MAX_LEVELS, MAX_REACH_PX, Law, Simulator
from avipipe.manifests.pairs import PairLevel, make_pairs, write_pairs
from avipipe.manifests.records import Evidence, Keep, Outcome
from avipipe.manifests.rle import MaskTrack
from avipipe.stages.base import Item, Stage


class PairConfig(BaseModel):
    """How masks are degraded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    simulator: Simulator = Field("gaussian", description="How a coarse mask is drawn.")
    num_levels: int = Field(4, ge=1, le=MAX_LEVELS, description="P: level P is the bounding box.")
    reach_px: float = Field(
        40.0,
        gt=0,
        le=MAX_REACH_PX,
        description="Scale of the law at level P, in px at 720 px height.",
    )


class Pair(Stage):
    """Writes `pairs.json`; evidence: overlap with the exact mask and growth at each level."""

    name = "pair"
    version: ClassVar[int] = 1
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("mask",)

    def __init__(self, config: PairConfig) -> None:
        self.config = config

    def settings(self) -> Mapping[str, Any]:
        return {**self.config.model_dump(), "law_version": degrade.VERSION}

    def run(self, item: Item, folder: Path) -> Outcome:
        config = self.config
        masks = rle.read_masks(item.folders["mask"] / "masks.json")
        law = Law(config.simulator, config.num_levels, config.reach_px)
        pairs = make_pairs(law, masks, item.id)
        write_pairs(folder / "pairs.json", pairs)
        return Keep(_measure(masks, pairs.levels), files=("pairs.json",))


def _measure(masks: MaskTrack, levels: tuple[PairLevel, ...]) -> Evidence:
    """Means over the frames in which the instance is seen, by level."""
    seen = [
        (frame, pixels)
        for frame, counts in enumerate(masks.frames)
        if (pixels := rle.area(counts, masks.size))
    ]
    growths = [
        [rle.area(level.frames[frame], masks.size) / pixels for frame, pixels in seen]
        for level in levels
    ]
    # Each level covers the exact mask, so its overlap with it is the inverse of its growth.
    return {
        "mean_iou": [round(fmean(1 / ratio for ratio in ratios), 6) for ratios in growths if seen],
        "mean_area_ratio": [round(fmean(ratios), 6) for ratios in growths if seen],
        "num_frames_seen": len(seen),
    }
