"""Mask: the exact mask of the sounding instance in every frame of a cut clip."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from avipipe.annotators import base
from avipipe.annotators.base import Detector, Frames, Propagator, Segmenter
from avipipe.annotators.instance import Instance, find_instance, overlap, return_overlap
from avipipe.manifests import rle
from avipipe.manifests.evidence import MaskEvidence, NormalBox
from avipipe.manifests.records import Evidence, Keep, Outcome
from avipipe.media.decode import read_frames
from avipipe.media.normalize import FPS, VIDEO_NAME
from avipipe.media.probe import probe
from avipipe.stages.annotated import AnnotatedStage
from avipipe.stages.base import Item
from avipipe.stages.look import normal_box, read_localization

MASKS_NAME = "masks.json"
BOX_STEP_FRAMES = 6
AREA_JUMP_RATIO = 1 / 3
MIN_PART_RATIO = 0.02
NOUNS = {
    "speech": "person",
    "music": "musical instrument",
    "animal": "animal",
    "vehicle": "vehicle",
    "impact": "tool",
    "sustained": "machine",
}
"""Group of sounds -> what a detector that reads should look for."""


class MaskConfig(BaseModel):
    """How the instance is found and followed; the backends are chosen by role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height_px: int = Field(360, ge=64, description="Short side of the frames that are segmented.")
    max_seeds: int = Field(3, ge=1, description="Seed frames tried while tracks disagree.")
    min_agreement: float = Field(
        0.8, ge=0, le=1, description="Overlap with other frames' segments that ends the search."
    )
    min_tag: float = Field(
        0.3, ge=0, le=1, description="Score from which a group of sounds is looked for by name."
    )


class Mask(AnnotatedStage):
    """Writes `masks.json` (`MaskEvidence`); no file, and persistence 0, where nothing is found."""

    name = "mask"
    version: ClassVar[int] = 1
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("look", "listen", "cut")

    def __init__(
        self,
        config: MaskConfig,
        *,
        detector: Detector,
        segmenter: Segmenter,
        propagator: Propagator,
    ) -> None:
        super().__init__(
            config, {"detect": detector, "segment": segmenter, "propagate": propagator}
        )
        self.config = config
        self._detector = detector
        self._segmenter = segmenter
        self._propagator = propagator

    def run(self, item: Item, folder: Path) -> Outcome:
        cut = item.evidence["cut"]
        path = item.folders["cut"] / VIDEO_NAME
        frames_THWC = read_frames(
            path,
            probe(path),
            start_s=0.0,
            end_s=cut["duration_s"],
            fps=FPS,
            height_px=self.config.height_px,
        )
        height, width = frames_THWC.shape[1:3]
        detections = self._detector.detect(
            frames_THWC,
            fps=FPS,
            prompts=_prompts(item.evidence["listen"], self.config.min_tag),
            localization=read_localization(item, width=width, height=height),
        )
        instance = find_instance(
            frames_THWC,
            detections,
            segmenter=self._segmenter,
            propagator=self._propagator,
            max_seeds=self.config.max_seeds,
            min_agreement=self.config.min_agreement,
        )
        if instance is None:
            return Keep(self._nothing(len(frames_THWC)).model_dump(mode="json"))
        per_frame = Counter(detection.frame for detection in detections).values()
        evidence = self._measure(frames_THWC, instance, num_instances=round(median(per_frame)))
        size = (cut["height"], cut["width"])
        rle.write_masks(folder / MASKS_NAME, _full_size(instance.track.masks_THW, size), size=size)
        return Keep(evidence.model_dump(mode="json"), files=(MASKS_NAME,))

    def _measure(
        self, frames_THWC: Frames, instance: Instance, *, num_instances: int
    ) -> MaskEvidence:
        masks_THW = instance.track.masks_THW
        seen_N = np.flatnonzero(masks_THW.any(axis=(1, 2)))
        area_N = masks_THW[seen_N].mean(axis=(1, 2))
        both = [(a, b) for a, b in pairwise(masks_THW) if a.any() and b.any()]
        change = [abs(int(b.sum()) / int(a.sum()) - 1) for a, b in both]
        return MaskEvidence(
            num_frames=len(masks_THW),
            seed_frame=instance.seed.detection.frame,
            seed_score=instance.seed.segment.score,
            persistence=seen_N.size / len(masks_THW),
            mean_area_ratio=float(area_N.mean()),
            min_area_ratio=float(area_N.min()),
            max_area_ratio=float(area_N.max()),
            num_instances=num_instances,
            mean_parts=fmean(_num_parts(masks_THW[frame]) for frame in seen_N),
            mean_quality=float(instance.track.quality_T[seen_N].mean()),
            agreement=instance.agreement,
            temporal_iou=fmean(overlap(a, b) for a, b in both) if both else None,
            area_jump_ratio=fmean(c >= AREA_JUMP_RATIO for c in change) if change else None,
            return_iou=return_overlap(frames_THWC, instance, self._propagator),
            boxes=[_box(mask_HW) for mask_HW in masks_THW[::BOX_STEP_FRAMES]],
            box_step_frames=BOX_STEP_FRAMES,
            backends=self.backend_names(),
        )

    def _nothing(self, num_frames: int) -> MaskEvidence:
        return MaskEvidence(
            num_frames=num_frames,
            seed_frame=None,
            seed_score=None,
            persistence=0.0,
            mean_area_ratio=None,
            min_area_ratio=None,
            max_area_ratio=None,
            num_instances=0,
            mean_parts=None,
            mean_quality=None,
            agreement=None,
            temporal_iou=None,
            area_jump_ratio=None,
            return_iou=None,
            boxes=[],
            box_step_frames=BOX_STEP_FRAMES,
            backends=self.backend_names(),
        )


def _prompts(listen: Evidence, min_tag: float) -> list[str]:
    """What to look for, the likeliest first."""
    tags: dict[str, float] = listen["tags"]
    likely = sorted((group for group in tags if tags[group] >= min_tag), key=lambda g: -tags[g])
    return [NOUNS.get(group, group) for group in likely]


def _full_size(masks_THW: base.Mask, size: rle.Size) -> Iterator[str]:
    """Enlarge the masks one by one, with smooth outlines, and encode them."""
    height, width = size
    blur_px = 0.5 * height / masks_THW.shape[1]
    for mask_HW in masks_THW:
        soft = cv2.resize(
            mask_HW.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
        )
        if (height, width) != mask_HW.shape:
            soft = cv2.GaussianBlur(soft, (0, 0), blur_px)
        yield rle.encode(np.asarray(soft > 0.5))


def _num_parts(mask_HW: base.Mask) -> int:
    """Connected parts that are not specks."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    return int((areas >= MIN_PART_RATIO * areas.sum()).sum())


def _box(mask_HW: base.Mask) -> NormalBox | None:
    if not mask_HW.any():
        return None
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return normal_box(
        (x, y, x + width, y + height), width=mask_HW.shape[1], height=mask_HW.shape[0]
    )
