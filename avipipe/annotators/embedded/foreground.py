"""Finds the thing that stands out from the background over a whole clip and goes with the sound.

The heat of a localization is often a fringe: around what moves, or where it passed. What differs
from the background shows the thing itself. Its parts are linked over time into movers, and of those
that last the one is taken that has most of what stands out near the heat. A thing that keeps its
place shows as fragments only; then nothing is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from statistics import median

import cv2
import numpy as np

from avipipe.annotators.base import Box, Detection, Frames, Localization, Mask
from avipipe.annotators.embedded.background import Front, find_front
from avipipe.annotators.embedded.flow import Array, Size, fit_size, shrink
from avipipe.annotators.embedded.segment import disc

_SHORT_SIDE_PX = 180
"""Working size, that of `motion.SHORT_SIDE_PX`; lengths in pixels hold at it."""
_RATE_HZ = 8.0
"""Frames looked at in a second; a choice between cost and how far things move from one to the
next."""
_MIN_SAMPLES = 8
"""Fewest frames looked at, a second of them; fewer say little of what is mostly there."""
_WINDOW_S = 1.5
"""Time before and after whose frames make the background where the camera moves on; a choice."""

# Differences from the background over the usual ones (1 is doubtful): what is in front, and what
# surely is.
_WEAK = 1.0
_STRONG = 2.0
_MIN_STRONG = 0.25
"""Pixels that surely are in front, over `_MIN_AREA`, that a part must have; a choice."""
_JOIN_PX = 4.0
"""Radius over which fragments of a thing are joined; a choice."""
_MIN_AREA = 0.001
"""Least area of a part over the picture's, 58 pixels at 320x180; less is a speck. A choice."""
_MAX_FRONT = 0.6
"""Share of the picture in front from which its background is not seen: the light changed, or the
view was lost. A choice."""

_REACH_PX = 12.0
"""How far a part may move between two frames looked at, an eighth of a second, and be the same
mover. A choice: half the picture's height in a second."""
_FORGET_S = 1.0
"""Time unseen after which a mover is found again by its colours only; a choice."""
_MIN_LIKENESS = 0.35
"""Shared share of the colours, times the ratio of the areas, from which a part is a mover that
returned; a choice."""

_HEAT_REACH = 0.08
"""Over the picture's short side: how far from the heat is still near it. A choice, as heat is often
a fringe."""
# Shares from which a mover is believed, chosen and checked on made-up films and on real clips: of
# the frames looked at, those with a background; of these frames, and of those in which anything
# stands out, those that show the mover; and of all that stands out near the heat, what the clear
# movers have.
_MIN_KNOWN = 0.6
_MIN_LIVELY = 0.3
_MIN_PRESENCE = 0.6
_MIN_SHARE = 0.6
_MIN_CLARITY = 0.87
"""Share of the change of edges along an outline that is gained, not lost: what a thing that left
has uncovered is an edge of the background. A choice, as the four above."""
_MIN_WORTH = 0.7
"""Of the best moment's worth, what another fifth's must have to be boxed; a choice."""
_RIVAL_SHARE = 0.5
"""Share of a mover over the best one's from which it is a detection too; a choice."""
_NUM_FRAMES = 5
"""Frames in which movers are boxed, one in each fifth of the clip; a choice."""
_THIN = 0.1
"""Over the root of the silhouette's area: radius of what is thin. Limbs and a racket mislead the
cut."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A connected part (H, W) in front of the background, and what is sure of it."""

    mask_HW: Mask
    solid_HW: Mask
    histogram: Array


@dataclass(slots=True)
class _Mover:
    """A thing over time: sample -> its parts there."""

    parts: dict[int, list[_Part]] = field(default_factory=dict)

    def add(self, sample: int, part: _Part) -> None:
        self.parts.setdefault(sample, []).append(part)

    @property
    def last(self) -> int:
        return max(self.parts)

    def silhouette(self, sample: int) -> Mask:
        return np.asarray(np.any([part.mask_HW for part in self.parts[sample]], axis=0))

    def mass(self, weight_HW: Array) -> float:
        """Weight of the places that it takes in all samples."""
        return sum(
            float(weight_HW[part.solid_HW].sum()) for found in self.parts.values() for part in found
        )


def detect_mover(
    frames_THWC: Frames, *, fps: Fraction, label: str, localization: Localization
) -> list[Detection]:
    """The mover that goes with the heat, in up to five frames, best first.

    The score is its share of all that stands out near the heat; rivals with at least half of that
    are further detections in the same frames. Empty where there is no clear mover.
    """
    step = max(1, round(float(fps) / _RATE_HZ))
    full = (frames_THWC.shape[2], frames_THWC.shape[1])
    size = fit_size(full, _SHORT_SIDE_PX / min(full))
    samples = range(0, len(frames_THWC), step)
    if len(samples) < _MIN_SAMPLES:
        return []
    small = np.stack([shrink(frames_THWC[frame], size) for frame in samples])
    front = find_front(small, window=round(_WINDOW_S * float(fps) / step))
    if front is None:
        return []
    parts = [_parts(*pair) for pair in zip(small, front.gap_THW, strict=True)]
    if sum(found is not None for found in parts) < _MIN_KNOWN * len(parts):
        return []
    movers = _link(parts, forget=round(_FORGET_S * float(fps) / step))
    weight_HW = _weight(localization, size)
    lively = sum(bool(found) for found in parts)
    least = max(_MIN_PRESENCE * lively, _MIN_LIVELY * len(parts))
    clear = [mover for mover in movers if len(mover.parts) >= least and _is_clear(mover, front)]
    whole = max(1e-6, sum(mover.mass(weight_HW) for mover in movers))
    shares = [mover.mass(weight_HW) / whole for mover in clear]
    if sum(shares) < _MIN_SHARE:
        return []
    best = int(np.argmax(shares))
    found = []
    for sample, worth in _clear_moments(clear[best], front):
        for mover, share in zip(clear, shares, strict=True):
            if sample in mover.parts and share >= _RIVAL_SHARE * shares[best]:
                rough_HW = _enlarge(mover.silhouette(sample), full)
                score = share * worth
                found.append(Detection(samples[sample], _box(rough_HW), label, score, rough_HW))
    return sorted(found, key=lambda detection: -detection.score)


def _parts(frame_HWC: Frames, front_HW: Array) -> list[_Part] | None:
    """What stands out in a frame; None if nearly everything does: the background is not seen."""
    weak = cv2.medianBlur((front_HW > _WEAK).astype(np.uint8), 5)
    if weak.mean() > _MAX_FRONT:
        return None
    closed = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, disc(_JOIN_PX))
    count, numbers = cv2.connectedComponents(closed)
    areas = np.bincount(numbers.ravel(), minlength=count)
    strong = np.bincount(numbers.ravel(), ((front_HW > _STRONG) & (weak > 0)).ravel(), count)
    least = _MIN_AREA * front_HW.size
    found = []
    for number in range(1, count):
        if areas[number] >= least and strong[number] >= _MIN_STRONG * least:
            mask_HW = _filled(numbers == number)
            solid_HW = mask_HW & (weak > 0)
            found.append(_Part(mask_HW, solid_HW, _histogram(frame_HWC[mask_HW])))
    return found


def _filled(mask_HW: Mask) -> Mask:
    canvas = mask_HW.astype(np.uint8)
    outlines, _ = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, 1, cv2.FILLED)
    return np.asarray(canvas > 0)


def _histogram(colours_NC: Frames) -> Array:
    coarse = (colours_NC >> 6).astype(np.int64) @ np.array([16, 4, 1])
    return np.asarray(np.bincount(coarse, minlength=64) / len(colours_NC), np.float32)


def _link(parts: Sequence[list[_Part] | None], *, forget: int) -> list[_Mover]:
    """Put parts that follow each other into movers, the largest overlap first."""
    movers: list[_Mover] = []
    for sample, found in enumerate(parts):
        recent = [mover for mover in movers if sample - mover.last <= forget]
        reach = [
            cv2.dilate(mover.silhouette(mover.last).astype(np.uint8), disc(_REACH_PX)) > 0
            for mover in recent
        ]
        for part in sorted(found or (), key=lambda part: -int(part.mask_HW.sum())):
            overlaps = [int((near_HW & part.mask_HW).sum()) for near_HW in reach]
            if overlaps and max(overlaps) > 0:
                recent[int(np.argmax(overlaps))].add(sample, part)
                continue
            mover = _returned(part, [gone for gone in movers if gone.last < sample])
            if mover is None:
                mover = _Mover()
                movers.append(mover)
            mover.add(sample, part)
            recent.append(mover)
            reach.append(cv2.dilate(part.mask_HW.astype(np.uint8), disc(_REACH_PX)) > 0)
    return movers


def _returned(part: _Part, gone: Sequence[_Mover]) -> _Mover | None:
    """The mover that looks like the part, if any does."""

    def likeness(mover: _Mover) -> float:
        known = mover.parts[mover.last]
        before = max(known, key=lambda one: int(one.mask_HW.sum()))
        ratio = part.mask_HW.sum() / before.mask_HW.sum()
        return float(np.minimum(part.histogram, before.histogram).sum() * min(ratio, 1 / ratio))

    best = max(gone, key=likeness, default=None)
    return best if best is not None and likeness(best) > _MIN_LIKENESS else None


def _weight(localization: Localization, size: Size) -> Array:
    """How much a place (H, W) counts: near the heat more, as far as that can be trusted."""
    heat_HW = cv2.resize(localization.heat_HW, size, interpolation=cv2.INTER_LINEAR)
    near_HW = cv2.dilate(heat_HW, disc(_HEAT_REACH * min(size)))
    trust = 1.0 if localization.confidence is None else localization.confidence
    return np.asarray(trust * near_HW / max(float(near_HW.mean()), 1e-6) + 1.0 - trust, np.float32)


def _clear_moments(mover: _Mover, front: Front) -> list[tuple[int, float]]:
    """In each fifth of the clip the sample that shows the mover best, if well enough; its worth."""
    areas = {sample: float(mover.silhouette(sample).sum()) for sample in mover.parts}
    usual_px = float(np.percentile(list(areas.values()), 80))
    worth = {
        sample: clarity
        * _compactness(mover.silhouette(sample))
        * min(areas[sample] / usual_px, usual_px / areas[sample])
        for sample, clarity in _clarities(mover, front).items()
        if clarity >= _MIN_CLARITY
    }
    edges = np.linspace(0, len(front.gap_THW), _NUM_FRAMES + 1).astype(int)
    spans = ([s for s in range(start, end) if s in worth] for start, end in pairwise(edges))
    best = [max(span, key=lambda sample: worth[sample]) for span in spans if span]
    least = _MIN_WORTH * max(worth[sample] for sample in best)
    return [(sample, worth[sample]) for sample in best if worth[sample] >= least]


def _compactness(mask_HW: Mask) -> float:
    """Share of a silhouette that is not thin: what is thin may be lost when it is cut out."""
    thick = disc(_THIN * float(np.sqrt(mask_HW.sum())))
    opened = cv2.morphologyEx(mask_HW.astype(np.uint8), cv2.MORPH_OPEN, thick)
    return float(opened.sum() / mask_HW.sum())


def _is_clear(mover: _Mover, front: Front) -> bool:
    return median(_clarities(mover, front).values()) >= _MIN_CLARITY


def _clarities(mover: _Mover, front: Front) -> dict[int, float]:
    """In each sample, the share of the edges along the outline that the background has not.

    Where a thing was for long and is no more, its outline is an edge of the background.
    """
    shares = {}
    for sample in mover.parts:
        outline = cv2.morphologyEx(
            mover.silhouette(sample).astype(np.uint8), cv2.MORPH_GRADIENT, disc(1.0)
        )
        gained = (front.edge_THW[sample] - front.edge_behind_THW[sample])[outline > 0]
        shares[sample] = float(np.maximum(gained, 0.0).sum() / (np.abs(gained).sum() + 1e-6))
    return shares


def _enlarge(mask_HW: Mask, size: Size) -> Mask:
    soft = cv2.resize(mask_HW.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft > 0.5)


def _box(mask_HW: Mask) -> Box:
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)
