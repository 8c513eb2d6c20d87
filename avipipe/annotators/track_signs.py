"""Signs of how good a mask track is, and the J&F that they make likely."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

import numpy as np

from avipipe.annotators.base import Detection, Frames
from avipipe.annotators.colours import Palette, likeness
from avipipe.annotators.instance import CycleConsistency, Instance
from avipipe.annotators.mask_quality import (
    area_changes,
    bounding_box,
    box_overlap,
    mean_parts,
    persistence,
)

_CONSTANT = 0.682
"""J&F of a track whose signs are at their centres; fitted with `_TERMS`."""
_TERMS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "return": (0.64, 0.215, 0.057),
        "fit": (0.531, 0.243, 0.044),
        "likeness": (0.883, 0.082, 0.077),
        "persistence": (0.964, 0.099, 0.022),
    }
)
"""Sign -> its centre and scale over the tracks fitted on, and its weight.

Printed by `bench/mask_signs.py`: a ridge without weights below 0 over 96 tracks of the backends of
`light`, followed from a true mask or from detected boxes: three of DAVIS 2017's dogs-jump, and
composites of its things and of judo's (`bench/composites.py`).
"""

_STEP_FRAMES = 6
"""Likeness is measured each quarter of a second at 24 fps."""
_LOW = 10.0
"""Percentile that stands for the worst moments of a track."""


def signs(
    frames_THWC: Frames,
    instance: Instance,
    sights: Sequence[Detection],
    returned: CycleConsistency | None,
) -> dict[str, float | None]:
    """Signs of how good a track is; None where there is nothing to go by.

    * `trust`, `low_trust`: of the propagator in its masks, the mean and a low one; 0 in gaps.
    * `return`: overlap with what is carried back, over all frames; `return_end` where it is least.
    * `agreement`: with what was segmented by itself in other frames.
    * `fit`, `low_fit`: overlap of the mask's box with the best of all boxes that were detected.
    * `likeness`, `low_likeness`: of the mask's colours to the seed's.
    * `steadiness`: one minus the mean change of the area from frame to frame.
    * `seed`: how far the segmenter stands by the mask that was carried.
    * `size`: root of the mask's share of the picture.
    * `persistence`: share of frames with a mask.
    * `wholeness`: one over the number of connected parts.
    * `anchors`: how often a detection took the track over.
    """
    masks_THW = instance.track.masks_THW
    changes = area_changes(masks_THW)
    fits = _fits(instance, sights)
    likes = _likes(frames_THWC, instance)
    parts = mean_parts(masks_THW)
    seen_T = masks_THW.any(axis=(1, 2))
    area = float(masks_THW[seen_T].mean()) if seen_T.any() else 0.0
    return {
        "trust": float(instance.track.quality_T.mean()),
        "low_trust": float(np.percentile(instance.track.quality_T, _LOW)),
        "return": returned and returned.mean,
        "return_end": returned and returned.worst,
        "agreement": instance.agreement,
        "fit": fmean(fits) if fits else None,
        "low_fit": float(np.percentile(fits, _LOW)) if fits else None,
        "likeness": fmean(likes) if likes else None,
        "low_likeness": float(np.percentile(likes, _LOW)) if likes else None,
        "steadiness": 1.0 - fmean(min(change, 1.0) for change in changes) if changes else None,
        "seed": instance.seed.segment.score,
        "size": area**0.5,
        "persistence": persistence(masks_THW),
        "wholeness": 1.0 / parts if parts else None,
        "anchors": float(instance.num_anchors),
    }


def _fits(instance: Instance, sights: Sequence[Detection]) -> list[float]:
    """For each frame that was looked at, 0 where there is no mask or nothing near it."""
    best: dict[int, float] = {}
    for sight in sights:
        box = bounding_box(instance.track.masks_THW[sight.frame])
        fit = 0.0 if box is None else box_overlap(box, sight.box)
        best[sight.frame] = max(best.get(sight.frame, 0.0), fit)
    return list(best.values())


def _likes(frames_THWC: Frames, instance: Instance) -> list[float]:
    palette = Palette(frames_THWC)
    masks_THW = instance.track.masks_THW
    seed = palette.of(instance.seed.detection.frame, masks_THW[instance.seed.detection.frame])
    return [
        likeness(seed, palette.of(frame, masks_THW[frame]))
        for frame in range(0, len(masks_THW), _STEP_FRAMES)
        if masks_THW[frame].any()
    ]


def predicted_jf(signs: Mapping[str, float | None]) -> float:
    """J&F that a track is likely to have, in [0, 1], by what its signs add up to."""
    terms = [
        weight * (value - centre) / scale
        for name, (centre, scale, weight) in _TERMS.items()
        if (value := signs.get(name)) is not None
    ]
    return min(1.0, max(0.0, _CONSTANT + sum(terms)))
