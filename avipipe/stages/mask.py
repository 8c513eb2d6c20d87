"""Mask: the exact mask of the sounding instance in every frame of a cut clip."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from avipipe.annotators import base, mask_quality, track_signs
from avipipe.annotators.audioset import nouns_of
from avipipe.annotators.base import (
    ActiveSpeakers,
    Detection,
    Detector,
    Frames,
    Localization,
    Matcher,
    Propagator,
    Segmenter,
)
from avipipe.annotators.instance import Instance, cycle_consistency, find_instance
from avipipe.annotators.sounding import competitors, join_tracks, sounding_first
from avipipe.decision.hearing import is_voice
from avipipe.manifests import rle
from avipipe.manifests.evidence import LookEvidence, MaskEvidence, NormalBox
from avipipe.manifests.records import Evidence, Keep, Outcome
from avipipe.media.crop import normal_box
from avipipe.media.decode import read_audio, read_frames
from avipipe.media.normalize import AUDIO_NAME, FPS, VIDEO_NAME
from avipipe.media.probe import probe
from avipipe.stages.annotated import AnnotatedStage
from avipipe.stages.base import Item
from avipipe.stages.candidates import Candidates, named_candidates
from avipipe.stages.look import look_of_cut, read_localization, read_speakers

MASKS_NAME = "masks.json"
BOX_STEP_FRAMES = 6
"""Boxes are stored each quarter of a second at 24 fps."""
RETURN_FRAMES = round(2 * FPS)
"""Longest way that a mask is carried back to see whether it was lost."""

PERSON = "person"
NOUNS = {
    "speech": PERSON,
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
    max_seeds: int = Field(2, ge=1, description="Seed frames tried while tracks disagree.")
    min_agreement: float = Field(
        0.7, ge=0, le=1, description="Overlap with other frames' segments that ends the search."
    )
    min_tag: float = Field(
        0.3, ge=0, le=1, description="Score from which a sound is looked for by name."
    )
    max_matched: int = Field(4, ge=1, description="Things compared with the sound, at most.")


class Mask(AnnotatedStage):
    """Writes `masks.json` (`MaskEvidence`); no file, and persistence 0, where nothing is found."""

    name = "mask"
    version: ClassVar[int] = 5
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("look", "listen", "cut")

    def __init__(
        self,
        config: MaskConfig,
        *,
        detector: Detector,
        segmenter: Segmenter,
        propagator: Propagator,
        matcher: Matcher,
    ) -> None:
        super().__init__(
            config,
            {
                "detect": detector,
                "segment": segmenter,
                "propagate": propagator,
                "match": matcher,
            },
        )
        self.config = config
        self._detector = detector
        self._segmenter = segmenter
        self._propagator = propagator
        self._matcher = matcher

    def run(self, item: Item, folder: Path) -> Outcome:
        cut = item.evidence["cut"]
        look = look_of_cut(item)
        scene = self._scene(item, look)
        candidates = self._named(scene, item, look)
        detections = candidates.seeds or sounding_first(
            self._detect(scene, item), scene.localization, scene.speakers
        )
        sights = candidates.sights or detections
        similarity = self._similarity(scene, [*detections, *candidates.rivals], item)
        if similarity is not None and not candidates.chosen:
            detections.sort(key=lambda found: found.label != similarity.label)
        instance = find_instance(
            scene.frames_THWC,
            detections,
            segmenter=self._segmenter,
            propagator=self._propagator,
            max_seeds=self.config.max_seeds,
            min_agreement=self.config.min_agreement,
            sights=sights,
        )
        if instance is None:
            return Keep(self._nothing(len(scene.frames_THWC)).model_dump(mode="json"))
        masks_THW = without_overlays(instance.track.masks_THW, look)
        alike = [*(candidates.chosen or detections), *candidates.rivals]
        evidence = self._measure(scene, alike, sights, instance, similarity, masks_THW)
        size = (cut["height"], cut["width"])
        rle.write_masks(folder / MASKS_NAME, _full_size(masks_THW, size), size=size)
        return Keep(evidence.model_dump(mode="json"), files=(MASKS_NAME,))

    def _scene(self, item: Item, look: LookEvidence) -> "_Scene":
        path = item.folders["cut"] / VIDEO_NAME
        frames_THWC = read_frames(
            path,
            probe(path),
            start_s=0.0,
            end_s=item.evidence["cut"]["duration_s"],
            fps=FPS,
            height_px=self.config.height_px,
        )
        height, width = frames_THWC.shape[1:3]
        speakers = read_speakers(look, width=width, height=height)
        return _Scene(
            frames_THWC,
            read_localization(item, look, width=width, height=height),
            speakers and join_tracks(speakers),
        )

    def _named(self, scene: "_Scene", item: Item, look: LookEvidence) -> Candidates:
        """The thing that explains the sound, of those that `look` has names for."""
        num_frames, height, width = scene.frames_THWC.shape[:3]
        return named_candidates(
            look.things or [],
            localization=scene.localization,
            speakers=scene.speakers if is_voice(item.evidence["listen"]) else None,
            size=(width, height),
            num_frames=num_frames,
        )

    def _detect(self, scene: "_Scene", item: Item) -> list[Detection]:
        return self._detector.detect(
            scene.frames_THWC,
            fps=FPS,
            prompts=prompts_of(item.evidence["listen"], self.config.min_tag),
            localization=scene.localization,
            speakers=scene.speakers,
        )

    def _similarity(
        self, scene: "_Scene", detections: Sequence[Detection], item: Item
    ) -> "_Similarity | None":
        """Of the sound with what is detected in the best detection's frame."""
        rivals = [found for found in detections if found.frame == detections[0].frame]
        rivals = rivals[: self.config.max_matched]
        if not rivals:
            return None
        scores = self._matcher.match(
            [_crop(scene.frames_THWC, found.box) for found in rivals],
            labels=[found.label for found in rivals],
            heard=item.evidence["listen"]["tag_classes"],
            fps=FPS,
            wav_N=self._sound(item.folders["cut"], len(scene.frames_THWC)),
            sample_rate_hz=self._matcher.sample_rate_hz,
        )
        known = [(score, n) for n, score in enumerate(scores) if score is not None]
        if not known:
            return None
        # Of equals the surer detection is the first.
        (best, winner), *others = sorted(known, key=lambda pair: (-pair[0], pair[1]))
        margin = best - others[0][0] if others else None
        return _Similarity(rivals[winner].label, best, margin)

    def _sound(self, cut: Path, num_frames: int) -> base.Wave:
        """What the matcher listens to (N,); nothing for one that does not listen."""
        if not self._matcher.sample_rate_hz:
            return np.zeros(0, np.float32)
        wav_CN = read_audio(
            cut / AUDIO_NAME,
            probe(cut / AUDIO_NAME),
            start_s=0.0,
            end_s=num_frames / float(FPS),
            sample_rate_hz=self._matcher.sample_rate_hz,
            mono=True,
        )
        wav_N: base.Wave = wav_CN[0]
        return wav_N

    def _measure(
        self,
        scene: "_Scene",
        detections: Sequence[Detection],
        sights: Sequence[Detection],
        instance: Instance,
        similarity: "_Similarity | None",
        masks_THW: base.Mask,
    ) -> MaskEvidence:
        """What the track is like, and the masks that are left of it."""
        seen_N = np.flatnonzero(masks_THW.any(axis=(1, 2)))
        areas_N = mask_quality.area_ratios(masks_THW)
        frames = Counter(found.frame for found in detections)
        rivals = Counter(
            found.frame for found in competitors(detections, scene.localization, scene.speakers)
        )
        returned = cycle_consistency(
            scene.frames_THWC, instance, self._propagator, stretch=RETURN_FRAMES
        )
        signs = track_signs.signs(scene.frames_THWC, instance, sights, returned)
        return MaskEvidence(
            num_frames=len(masks_THW),
            seed_frame=instance.seed.detection.frame,
            seed_score=instance.seed.segment.score,
            persistence=mask_quality.persistence(masks_THW),
            mean_area_ratio=float(areas_N.mean()),
            min_area_ratio=float(areas_N.min()),
            max_area_ratio=float(areas_N.max()),
            num_detections=round(median(frames.values())),
            num_instances=round(median(rivals[frame] for frame in frames)),
            sound_share=_sound_share(scene.localization, masks_THW),
            similarity=similarity and similarity.value,
            similarity_margin=similarity and similarity.margin,
            mean_parts=mask_quality.mean_parts(masks_THW),
            mean_quality=float(instance.track.quality_T[seen_N].mean()),
            agreement=instance.agreement,
            temporal_iou=mask_quality.temporal_iou(masks_THW),
            aligned_iou=mask_quality.aligned_iou(masks_THW),
            area_jump_ratio=mask_quality.area_jump_ratio(masks_THW),
            largest_area_jump=mask_quality.largest_area_jump(masks_THW),
            edge_ratio=mask_quality.edge_ratio(masks_THW),
            longest_gap_s=mask_quality.longest_gap_s(masks_THW, fps=FPS),
            return_iou=returned and returned.worst,
            num_anchors=instance.num_anchors,
            signs={name: value for name, value in signs.items() if value is not None},
            predicted_jf=track_signs.predicted_jf(signs),
            boxes=[_box(mask_HW) for mask_HW in masks_THW[::BOX_STEP_FRAMES]],
            box_step_frames=BOX_STEP_FRAMES,
            backends=self.backend_names(),
        )

    def _nothing(self, num_frames: int) -> MaskEvidence:
        return MaskEvidence(
            num_frames=num_frames,
            persistence=0.0,
            num_detections=0,
            num_instances=0,
            longest_gap_s=0.0,
            boxes=[],
            box_step_frames=BOX_STEP_FRAMES,
            backends=self.backend_names(),
        )


@dataclass(frozen=True, slots=True)
class _Scene:
    """The frames of a clip and what `look` found, in pixels of them."""

    frames_THWC: Frames
    localization: Localization | None
    speakers: ActiveSpeakers | None


@dataclass(frozen=True, slots=True)
class _Similarity:
    """The label of what goes best with the sound, how well, and its lead over the next one."""

    label: str
    value: float
    margin: float | None


def prompts_of(listen: Evidence, min_tag: float) -> list[str]:
    """Nouns to look for, the likeliest first; a person where a voice prevails."""
    tags: dict[str, float] = listen["tags"]
    if listen["tag_classes"]:
        nouns = nouns_of(listen["tag_classes"], min_tag)
    else:
        likely = sorted((group for group in tags if tags[group] >= min_tag), key=lambda g: -tags[g])
        nouns = [NOUNS.get(group, group) for group in likely]
    if is_voice(listen):
        nouns = [PERSON, *(noun for noun in nouns if noun != PERSON)]
    return nouns


def _sound_share(localization: Localization | None, masks_THW: base.Mask) -> float | None:
    """Share of the heat that some mask of the track covers."""
    if localization is None or not localization.heat_HW.any():
        return None
    covered_HW = masks_THW.any(axis=0)
    return float(localization.heat_HW[covered_HW].sum() / localization.heat_HW.sum())


def without_overlays(masks_THW: base.Mask, look: LookEvidence) -> base.Mask:
    """Masks without the logos and captions that lie over the picture.

    What the masks are mostly made of is no overlay, but a thing that keeps its place.
    """
    height, width = masks_THW.shape[1:]
    left_THW = masks_THW.copy()
    for x0, y0, x1, y1 in look.picture.overlays if look.picture is not None else ():
        rows = slice(math.floor(y0 * height), math.ceil(y1 * height))
        place = (slice(None), rows, slice(math.floor(x0 * width), math.ceil(x1 * width)))
        if 2 * left_THW[place].sum() <= left_THW.sum():
            left_THW[place] = False
    return left_THW


def _crop(frames_THWC: Frames, box: base.Box) -> Frames:
    """What a box, with a tenth around it, shows over the whole clip."""
    height, width = frames_THWC.shape[1:3]
    x0, y0, x1, y1 = box
    margin_x, margin_y = 0.1 * (x1 - x0), 0.1 * (y1 - y0)
    left, top = max(0, round(x0 - margin_x)), max(0, round(y0 - margin_y))
    right, bottom = min(width, round(x1 + margin_x)), min(height, round(y1 + margin_y))
    return frames_THWC[:, top : max(bottom, top + 1), left : max(right, left + 1)]


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


def _box(mask_HW: base.Mask) -> NormalBox | None:
    if not mask_HW.any():
        return None
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return normal_box(
        (x, y, x + width, y + height), width=mask_HW.shape[1], height=mask_HW.shape[0]
    )
