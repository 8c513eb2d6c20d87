"""Corrects a carried mask by what is seen on the way, where it is in doubt and identity is sure.

A mask that is carried drifts, or goes on with a neighbour after a crossing. What a detector sees
is free of that, but its outline is poorer, and it may be the neighbour. So at each look the track
is asked first: does its box fit something that is seen, and does it still have its colours? Only
where it does not, a sight that surely is the thing takes over: it looks like the thing, is where it
may have got to, is of its size, and no other sight is nearly as good. It is carried on from there,
and back to where both tracks meet. What is left that has none of the thing's colours is a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from avipipe.annotators.base import (
    Box,
    Detection,
    FrameMask,
    Frames,
    Mask,
    PropagatedMasks,
    Propagator,
    Segmenter,
)
from avipipe.annotators.colours import Palette, likeness
from avipipe.annotators.mask_quality import bounding_box, box_overlap, overlap

MAX_CORRECTIONS = 4
"""Most corrections in each direction; a track that needs more is no track."""

_FITS, _FITS_BARELY = 0.55, 0.4
"""Overlap of boxes from which a sight speaks for the track, and under which none does."""
_SHRUNK = 0.65
"""Area over the whole one from which on a part of the thing may be lost."""
_LIKE = 0.7
"""Likeness to the seed's colours under which a mask is in doubt."""
_SURE = 0.75
"""Likeness that a sight needs to be the thing: of others 3 in a hundred have more."""
_STRANGE = 0.35
"""Likeness under which a mask shows something else: of masks below 0.4 in carried tracks, 99 in a
hundred had less than a tenth of the thing."""
_SPECK = 0.1
"""Area over the seed's under which a mask that is too small for colours is a remnant."""
_LEAD = 0.05
"""By how much it must be better than the carried mask or than any other sight."""
_PART = 0.6
"""Share of the carried mask in a sight's from which that may be the rest of it."""
_GROWTH = 1.6
"""Of the area from one look to a later one, or the other way; two things in one box have more."""
_RECENT = 4
"""Sure looks of which the one with the largest mask shows the whole thing: the last one before it
was hidden shows a part."""
_REACH = 0.25
"""Of the picture's diagonal: how far from where it should be a thing may be a quarter of a second
later."""
_MEET = 0.7
"""Overlap at which two tracks are one."""
_STEP_FRAMES = 6
"""A quarter of a second at 24 fps, in which `_REACH` is what a thing may move."""
_MIN_SCORE, _MIN_STRANGE_SCORE = 0.2, 0.3
"""Least score of a detection by the thing's name, and by another: small networks mix names up."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A detection whose mask took the track over from its frame on."""

    detection: Detection
    segment: FrameMask


@dataclass(frozen=True, slots=True)
class _Candidate:
    anchor: Anchor
    likeness: float
    worth: float


class Anchoring:
    """Corrects the mask track of one clip, by the thing's colours and two backends."""

    def __init__(
        self,
        frames_THWC: Frames,
        sights: Sequence[Detection],
        *,
        seed: Detection,
        seed_mask_HW: Mask,
        segmenter: Segmenter,
        propagator: Propagator,
    ) -> None:
        self._frames_THWC = frames_THWC
        self._palette = Palette(frames_THWC)
        self._seed_frame, self._label = seed.frame, seed.label
        self._seed_px = int(seed_mask_HW.sum())
        self._known = [self._palette.of(seed.frame, seed_mask_HW)]
        self._segmenter = segmenter
        self._propagator = propagator
        self._sights: dict[int, list[Detection]] = {}
        for sight in sights:
            named = sight.label == seed.label
            if sight.score >= (_MIN_SCORE if named else _MIN_STRANGE_SCORE):
                self._sights.setdefault(sight.frame, []).append(sight)

    def correct(self, track: PropagatedMasks) -> tuple[PropagatedMasks, list[Anchor]]:
        """Correct a track; return it with parts replaced, and the anchors that replaced them."""
        anchors: list[Anchor] = []
        for way in (1, -1):
            of_way = [frame for frame in self._sights if way * (frame - self._seed_frame) > 0]
            sure, corrections = [self._seed_frame], 0
            for frame in sorted(of_way, reverse=way < 0):
                mask_HW = track.masks_THW[frame]
                whole_HW = _largest(track.masks_THW, sure[-_RECENT:])
                if self._is_sure(frame, mask_HW, whole_HW):
                    self._known.append(self._palette.of(frame, mask_HW))
                    sure.append(frame)
                elif corrections < MAX_CORRECTIONS:
                    anchor = self._anchor(frame, track, sure[-1], whole_HW)
                    if anchor is not None:
                        track = self._taken_over(track, anchor, sure[-1], way)
                        anchors.append(anchor)
                        sure.append(frame)
                        corrections += 1
        return self._with_gaps(track), anchors

    def _like(self, frame: int, mask_HW: Mask) -> float:
        """To what the thing looked like where the track was sure; a thing turns in the light."""
        colours = self._palette.of(frame, mask_HW)
        return max(likeness(colours, known) for known in self._known)

    def _with_gaps(self, track: PropagatedMasks) -> PropagatedMasks:
        """Without the masks that show something else, where the thing must be hidden or away."""
        if self._known[0] is None:
            return track
        masks_THW, quality_T = track.masks_THW.copy(), track.quality_T.copy()
        for frame, mask_HW in enumerate(masks_THW):
            colours = self._palette.of(frame, mask_HW)
            if colours is None:
                strange = mask_HW.sum() < _SPECK * self._seed_px
            else:
                strange = max(likeness(colours, known) for known in self._known) < _STRANGE
            if strange:
                mask_HW[:] = False
                quality_T[frame] = 0.0
        return replace(track, masks_THW=masks_THW, quality_T=quality_T)

    def _is_sure(self, frame: int, mask_HW: Mask, whole_HW: Mask) -> bool:
        box = bounding_box(mask_HW)
        if box is None or self._like(frame, mask_HW) < _LIKE:
            return False
        fit = max(box_overlap(box, sight.box) for sight in self._sights[frame])
        shrunk = mask_HW.sum() < _SHRUNK * whole_HW.sum()
        return fit >= (_FITS if shrunk else _FITS_BARELY)

    def _anchor(
        self, frame: int, track: PropagatedMasks, last: int, whole_HW: Mask
    ) -> Anchor | None:
        """The one sight in a frame that must be the thing; None where that cannot be told."""
        mask_HW = track.masks_THW[frame]
        last_box, whole_box = bounding_box(track.masks_THW[last]), bounding_box(whole_HW)
        if last_box is None or whole_box is None:
            return None
        steps = max(1.0, abs(frame - last) / _STEP_FRAMES)
        reach_px = _REACH * float(np.hypot(*mask_HW.shape)) * steps
        found: list[_Candidate] = []
        for sight in self._sights[frame]:
            away = _distance(sight.box, last_box) / reach_px
            if away > 1.0:
                continue
            segment = self._segmenter.segment(
                self._frames_THWC[frame],
                box=sight.box,
                rough_HW=_moved(whole_HW, whole_box, sight.box),
                label=self._label,
            )
            if 1.0 / _GROWTH <= segment.mask_HW.sum() / whole_HW.sum() <= _GROWTH:
                like = self._like(frame, segment.mask_HW)
                found.append(_Candidate(Anchor(sight, segment), like, like - 0.1 * away))
        if not found:
            return None
        best = max(found, key=lambda each: each.worth)
        rivals = [
            each.worth
            for each in found
            if box_overlap(each.anchor.detection.box, best.anchor.detection.box) < 0.5
        ]
        if best.likeness < _SURE or best.worth < max(rivals, default=0.0) + _LEAD:
            return None
        return best.anchor if self._is_better(best, frame, mask_HW) else None

    def _is_better(self, candidate: _Candidate, frame: int, mask_HW: Mask) -> bool:
        """Than the carried mask: more like the seed, or the whole of which that is a part."""
        lead = candidate.likeness - self._like(frame, mask_HW)
        if abs(lead) >= _LEAD:
            return lead > 0.0
        shared = int((candidate.anchor.segment.mask_HW & mask_HW).sum())
        return bool(shared >= _PART * mask_HW.sum())

    def _taken_over(
        self, track: PropagatedMasks, anchor: Anchor, last: int, way: int
    ) -> PropagatedMasks:
        """Carried from the anchor outwards, and inwards to where it meets the track."""
        frame = anchor.detection.frame
        end = len(track.masks_THW) - 1 if way > 0 else 0
        low, high = min(last, end), max(last, end)
        new = self._propagator.propagate(
            self._frames_THWC[low : high + 1],
            seed_frame=frame - low,
            seed_mask_HW=anchor.segment.mask_HW,
        )
        between = range(last + way, frame, way)
        overlaps = [overlap(track.masks_THW[f], new.masks_THW[f - low]) for f in between]
        # From the frame in which both agree best; nowhere at all, from half-way.
        start = frame
        if overlaps:
            best = int(np.argmax(overlaps))
            start = between[best] if overlaps[best] >= _MEET else between[len(overlaps) // 2]
        masks_THW, quality_T = track.masks_THW.copy(), track.quality_T.copy()
        for f in range(start, end + way, way):
            masks_THW[f], quality_T[f] = new.masks_THW[f - low], new.quality_T[f - low]
        return replace(
            track, masks_THW=masks_THW, quality_T=quality_T, confidence=float(quality_T.mean())
        )


def _largest(masks_THW: Mask, frames: Sequence[int]) -> Mask:
    best: Mask = max((masks_THW[frame] for frame in frames), key=lambda mask_HW: mask_HW.sum())
    return best


def _moved(mask_HW: Mask, box: Box, to: Box) -> Mask:
    """A mask from one box scaled into another."""
    scale = np.array([(to[2] - to[0]) / (box[2] - box[0]), (to[3] - to[1]) / (box[3] - box[1])])
    at = np.array(
        [[scale[0], 0.0, to[0] - scale[0] * box[0]], [0.0, scale[1], to[1] - scale[1] * box[1]]]
    )
    size = (mask_HW.shape[1], mask_HW.shape[0])
    return np.asarray(
        cv2.warpAffine(mask_HW.astype(np.uint8), at, size, flags=cv2.INTER_NEAREST) > 0
    )


def _distance(one: Box, other: Box) -> float:
    """Between the middles of two boxes."""
    across, down = one[0] + one[2] - other[0] - other[2], one[1] + one[3] - other[1] - other[3]
    return float(np.hypot(across, down)) / 2
