"""From detections to the mask track of one instance: segment, choose a seed, carry it both ways.

Any backends will do. A bad seed shows: what is carried from it does not meet what was segmented by
itself in the other frames; then the next one is tried. What is carried is corrected where it goes
astray (`annotators.anchoring`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from avipipe.annotators.anchoring import Anchoring
from avipipe.annotators.base import (
    Detection,
    FrameMask,
    Frames,
    PropagatedMasks,
    Propagator,
    Segmenter,
)
from avipipe.annotators.mask_quality import overlap

MIN_TRUST = 0.05
"""Least score that counts, so that of seeds that nothing stands by one is still the best; a
choice."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed for propagation: a detection and its mask in that frame."""

    detection: Detection
    segment: FrameMask

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
        """Confidence in the seed: the detector's score and the segmenter's together."""
        return max(self.detection.score, MIN_TRUST) * self.trust


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance: a mask track and the seed that it was carried from.

    Attributes:
        agreement: mean overlap with the masks of the other seeds, those counting more that detector
            and segmenter stand by; None if there was one seed.
        num_anchors: how often something that was detected on the way took the track over.
    """

    seed: Seed
    track: PropagatedMasks
    agreement: float | None
    num_anchors: int = 0


def find_instance(
    frames_THWC: Frames,
    detections: Sequence[Detection],
    *,
    segmenter: Segmenter,
    propagator: Propagator,
    max_seeds: int,
    min_agreement: float,
    sights: Sequence[Detection] = (),
) -> Instance | None:
    """Track the instance of the best detections; None where there is no mask in any.

    Args:
        frames_THWC: uint8 RGB; the detections are in pixels of these.
        detections: best first.
        sights: everything that was detected, by which the track is corrected.
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
    return (
        best
        if best is None
        else _corrected(best, seeds, sights, frames_THWC, segmenter, propagator)
    )


def propagate_seed(
    frames_THWC: Frames,
    seed: Seed,
    sights: Sequence[Detection],
    *,
    segmenter: Segmenter,
    propagator: Propagator,
) -> Instance:
    """Propagate a known seed, corrected by what else was detected."""
    track = propagator.propagate(
        frames_THWC, seed_frame=seed.detection.frame, seed_mask_HW=seed.segment.mask_HW
    )
    instance = Instance(seed, track, None)
    return _corrected(instance, [seed], sights, frames_THWC, segmenter, propagator)


def _corrected(
    instance: Instance,
    seeds: Sequence[Seed],
    sights: Sequence[Detection],
    frames_THWC: Frames,
    segmenter: Segmenter,
    propagator: Propagator,
) -> Instance:
    seed = instance.seed
    anchoring = Anchoring(
        frames_THWC,
        sights,
        seed=seed.detection,
        seed_mask_HW=seed.segment.mask_HW,
        segmenter=segmenter,
        propagator=propagator,
    )
    track, anchors = anchoring.correct(instance.track)
    return Instance(seed, track, _agreement(track, seed, seeds), len(anchors))


@dataclass(frozen=True, slots=True)
class CycleConsistency:
    """Cycle consistency: how much of a track comes back when carried back towards its seed.

    Attributes:
        worst: overlap at the near end of the stretch in which least comes back.
        mean: overlap of both ways over all frames in which either has a mask.
    """

    worst: float
    mean: float


def cycle_consistency(
    frames_THWC: Frames, instance: Instance, propagator: Propagator, *, stretch: int
) -> CycleConsistency | None:
    """Carry a track back and compare; None where it is never seen at both ends.

    Each way from the seed is cut into stretches. What the track has at the far end of one is
    carried back to its near end, and compared with what the track has on the way and there.

    Args:
        stretch: most frames that are gone back at a time; over longer ones a thing may change so
            much that nothing can be told of the way there.
    Source: Kalal et al., Forward-backward error, ICPR 2010, with masks for points.
    """
    masks_THW = instance.track.masks_THW
    ends, on_the_way = [], []
    for near, far in _stretches(instance.seed.detection.frame, len(frames_THWC), stretch):
        if not (masks_THW[near].any() and masks_THW[far].any()):
            continue
        first, last = sorted((near, far))
        back = propagator.propagate(
            frames_THWC[first : last + 1], seed_frame=far - first, seed_mask_HW=masks_THW[far]
        )
        both = zip(back.masks_THW, masks_THW[first : last + 1], strict=True)
        overlaps = [overlap(one, other) for one, other in both]
        ends.append(overlaps[near - first])
        seen_T = np.any(back.masks_THW | masks_THW[first : last + 1], axis=(1, 2))
        on_the_way += [overlaps[n] for n in np.flatnonzero(seen_T).tolist() if first + n != far]
    return CycleConsistency(min(ends), fmean(on_the_way)) if on_the_way else None


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


def _agreement(track: PropagatedMasks, seed: Seed, seeds: Sequence[Seed]) -> float | None:
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
