"""From detections to the mask track of one instance: segment, choose a seed, carry it both ways.

Any backends will do. A bad seed shows: what is carried from it does not meet what was segmented by
itself in the other frames; then the next one is tried.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from avipipe.annotators.base import (
    Detection,
    Frames,
    MaskTrack,
    Propagator,
    Segment,
    Segmenter,
)
from avipipe.annotators.mask_quality import overlap

MIN_TRUST = 0.05


@dataclass(frozen=True, slots=True)
class Seed:
    """A detection and its mask in that frame."""

    detection: Detection
    segment: Segment

    @property
    def area_px(self) -> int:
        return int(self.segment.mask_HW.sum())

    @property
    def trust(self) -> float:
        """How far the segmenter stands by the mask; never nothing, as there may be no other."""
        score = self.segment.score
        return 1.0 if score is None else max(score, MIN_TRUST)

    @property
    def weight(self) -> float:
        """How far it can be believed: the detector's score and the segmenter's together."""
        return max(self.detection.score, MIN_TRUST) * self.trust


@dataclass(frozen=True, slots=True)
class Instance:
    """A mask track and the seed that it was carried from.

    `agreement` is the mean overlap with the masks of the other seeds, those counting more that
    detector and segmenter stand by; None if there was one seed.
    """

    seed: Seed
    track: MaskTrack
    agreement: float | None


def find_instance(
    frames_THWC: Frames,
    detections: Sequence[Detection],
    *,
    segmenter: Segmenter,
    propagator: Propagator,
    max_seeds: int,
    min_agreement: float,
) -> Instance | None:
    """The mask track of the instance in the best detection of each frame; None without any.

    Args:
        frames_THWC: uint8 RGB; the detections are in pixels of these.
        detections: best first.
        max_seeds: how many seeds are tried until one agrees with the others.
        min_agreement: mean overlap that is good enough.
    """
    seeds = _seeds(frames_THWC, detections, segmenter)
    best: Instance | None = None
    for seed in seeds[:max_seeds]:
        track = propagator.propagate(
            frames_THWC, seed_frame=seed.detection.frame, seed_mask_HW=seed.segment.mask_HW
        )
        instance = Instance(seed, track, _agreement(track, seed, seeds))
        if best is None or (instance.agreement or 0.0) > (best.agreement or 0.0):
            best = instance
        if instance.agreement is None or instance.agreement >= min_agreement:
            break
    return best


def return_overlap(
    frames_THWC: Frames, instance: Instance, propagator: Propagator, *, stretch: int
) -> float | None:
    """How much of the track comes back, in the stretch in which it is worst.

    Each way from the seed is cut into stretches. What the track has at the far end of one is
    carried back to its near end, and compared with what the track has there. None where the thing
    is never seen at both ends.

    Args:
        stretch: most frames that are gone back at a time; over longer ones a thing may change so
            much that nothing can be told of the way there.
    Source: Kalal et al., Forward-backward error, ICPR 2010, with masks for points.
    """
    masks_THW = instance.track.masks_THW
    overlaps = []
    for near, far in _stretches(instance.seed.detection.frame, len(frames_THWC), stretch):
        if not (masks_THW[near].any() and masks_THW[far].any()):
            continue
        first, last = sorted((near, far))
        back = propagator.propagate(
            frames_THWC[first : last + 1], seed_frame=far - first, seed_mask_HW=masks_THW[far]
        )
        overlaps.append(overlap(back.masks_THW[near - first], masks_THW[near]))
    return min(overlaps, default=None)


def _stretches(seed: int, num_frames: int, length: int) -> list[tuple[int, int]]:
    """Both ways cut into equal stretches of at most `length`: (near end, far end) of each."""
    found = []
    for end in (num_frames - 1, 0):
        count = math.ceil(abs(end - seed) / length)
        ends = [seed + round((end - seed) * n / count) for n in range(count + 1)] if count else []
        found += list(pairwise(ends))
    return found


def _seeds(
    frames_THWC: Frames, detections: Sequence[Detection], segmenter: Segmenter
) -> list[Seed]:
    """A seed in each frame that has one, those first that are well seen and of the usual size."""
    first: dict[int, Detection] = {}
    for detection in detections:
        first.setdefault(detection.frame, detection)
    seeds = []
    for detection in first.values():
        segment = segmenter.segment(
            frames_THWC[detection.frame],
            box=detection.box,
            rough_HW=detection.rough_HW,
            label=detection.label,
        )
        if segment.mask_HW.any():
            seeds.append(Seed(detection, segment))
    if not seeds:
        return []
    usual_px = median(seed.area_px for seed in seeds)

    def worth(seed: Seed) -> float:
        likeness = min(seed.area_px / usual_px, usual_px / seed.area_px)
        return seed.weight * likeness

    return sorted(seeds, key=worth, reverse=True)


def _agreement(track: MaskTrack, seed: Seed, seeds: Sequence[Seed]) -> float | None:
    others = [other for other in seeds if other is not seed]
    if not others:
        return None
    return fmean(
        [
            overlap(track.masks_THW[other.detection.frame], other.segment.mask_HW)
            for other in others
        ],
        weights=[other.weight for other in others],
    )
