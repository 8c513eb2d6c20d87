"""Cuts the thing in a box, or under a rough silhouette, out of a frame with GrabCut.

Source: Rother et al., GrabCut, SIGGRAPH 2004 (OpenCV).
"""

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Box, FrameMask, Frames, Mask
from avipipe.annotators.embedded.flow import fit_size, shrink
from avipipe.annotators.embedded.opencv import OpenCvAnnotator
from avipipe.errors import AnnotatorError

_WORK_SHORT_PX = 240
"""Finer than that GrabCut follows texture instead of things: 0.94 instead of 0.90 IoU on synthetic
clips of 360 px."""
_SURROUND = 0.4
"""Width of the surroundings that colours are learnt from, over the box's sides; a choice."""
_MIN_SURROUND_PX = 8
"""The least width for small boxes; a choice."""
_ITERATIONS = 3
"""Rounds of GrabCut, chosen with `_REACH` and `_CORE` on clips of known masks
(bench/results/light-2cpu.md)."""
_MIN_FILL = 0.05
"""Area of the cut over the box's or silhouette's under which nothing stands out; a choice."""
_MIN_OVERLAP = 0.25
"""Overlap with the rough silhouette under which that is kept instead of the cut; a choice."""
_REACH = 0.15
"""Over the root of the silhouette's area: how far the cut may go from its outline. See
`_ITERATIONS`."""
_CORE = 0.8
"""Of the silhouette's greatest depth: what lies deeper stays the thing's. See `_ITERATIONS`."""
_MOSTLY = 0.5
"""Share of a part inside the silhouette from which it is kept: more than half."""


class GrabCutSegmenter(OpenCvAnnotator):
    """GrabCut: colour models of the inside and the surroundings of a box, and a minimal cut."""

    name = "grabcut"
    version = 3

    def segment(
        self, frame_HWC: Frames, *, box: Box, rough_HW: Mask | None = None, label: str = ""
    ) -> FrameMask:
        """Cut the thing out of `box`; all false with score 0 where none stands out.

        With a rough silhouette (H, W) the colours are learnt from inside and outside of it, not of
        the box, and the cut stays close to it.

        The score is how far the colours of the thing and of its surroundings differ, in [0, 1].

        Raises:
            AnnotatorError: no pixel of the frame is in the box.
        """
        full = (frame_HWC.shape[1], frame_HWC.shape[0])
        size = fit_size(full, _WORK_SHORT_PX / min(full))
        x0, y0, x1, y1 = _whole_pixels(box, size[0] / full[0], size)
        if x1 <= x0 or y1 <= y0:
            raise AnnotatorError(message=f"expected a box inside a {full} frame, got {box}")
        pad_x = max(_MIN_SURROUND_PX, round(_SURROUND * (x1 - x0)))
        pad_y = max(_MIN_SURROUND_PX, round(_SURROUND * (y1 - y0)))
        left, top = max(0, x0 - pad_x), max(0, y0 - pad_y)
        window = np.s_[top : y1 + pad_y, left : x1 + pad_x]
        crop = np.ascontiguousarray(shrink(frame_HWC, size)[window])
        inside = np.zeros(crop.shape[:2], np.bool_)
        inside[y0 - top : y1 - top, x0 - left : x1 - left] = True
        labels = _labels_of_box(inside)
        if rough_HW is not None and rough_HW.any():
            inside = shrink(rough_HW.astype(np.float32), size)[window] > 0.5
            labels = _labels_of_silhouette(inside)
        cut = _in_place(grab_cut(crop, labels), inside, also=rough_HW is not None)
        score = _contrast(crop, cut, ~cut & _around(cut))
        if rough_HW is not None and (cut & inside).sum() < _MIN_OVERLAP * (cut | inside).sum():
            cut, score = inside, 0.0
        elif cut.sum() < _MIN_FILL * inside.sum():
            return FrameMask(np.zeros(full[::-1], np.bool_), 0.0)
        mask = np.zeros(size[::-1], np.uint8)
        mask[window] = 255 * cut
        return FrameMask(
            np.asarray(cv2.resize(mask, full, interpolation=cv2.INTER_LINEAR) > 127), score
        )


def _labels_of_box(inside_HW: Mask) -> Frames:
    labels: Frames = np.where(inside_HW, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if inside_HW.all():
        # A box that fills the picture leaves no background to learn from: take its rim.
        labels[:] = cv2.GC_BGD
        rim_y, rim_x = (max(1, n // 50) for n in labels.shape)
        labels[rim_y:-rim_y, rim_x:-rim_x] = cv2.GC_PR_FGD
    return labels


def _labels_of_silhouette(rough_HW: Mask) -> Frames:
    """Free within reach of the outline, but for the middle, which is the thing's."""
    rough = rough_HW.astype(np.uint8)
    near = cv2.dilate(rough, disc(max(2.0, _REACH * float(np.sqrt(rough_HW.sum()))))) > 0
    depth = cv2.distanceTransform(rough, cv2.DIST_L2, 3)
    labels: Frames = np.where(rough_HW, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[depth > _CORE * depth.max()] = cv2.GC_FGD
    labels[~near] = cv2.GC_BGD
    return labels


def disc(radius_px: float) -> Frames:
    """Round structuring element for morphology."""
    side = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def grab_cut(crop_HWC: Frames, labels_HW: Frames, *, typical_HW: Mask | None = None) -> Mask:
    """Run GrabCut: bool (H, W), given OpenCV's labels (H, W), which are refined in place.

    Colours are learnt from all pixels, doubtful ones too, and again after each cut; where
    `typical_HW` says which pixels show the thing, from these and the sure background alone.
    """
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        if typical_HW is None:
            cv2.grabCut(crop_HWC, labels_HW, None, *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
        else:
            colours, classes = _examples(crop_HWC, typical_HW, labels_HW == cv2.GC_BGD)
            cv2.grabCut(colours, classes, None, *models, 1, cv2.GC_INIT_WITH_MASK)
            cv2.grabCut(crop_HWC, labels_HW, None, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    except cv2.error:  # a class without pixels: nothing there to tell apart
        return np.zeros(labels_HW.shape, np.bool_)
    return np.asarray((labels_HW == cv2.GC_FGD) | (labels_HW == cv2.GC_PR_FGD))


def _examples(crop_HWC: Frames, thing_HW: Mask, rest_HW: Mask) -> tuple[Frames, Frames]:
    """The pixels of two regions in one row, and the labels that say which is which."""
    colours = np.concatenate([crop_HWC[thing_HW], crop_HWC[rest_HW]])[None]
    classes = np.full(colours.shape[:2], cv2.GC_BGD, np.uint8)
    classes[:, : int(thing_HW.sum())] = cv2.GC_FGD
    return np.ascontiguousarray(colours), classes


def _in_place(mask_HW: Mask, inside_HW: Mask, *, also: bool) -> Mask:
    """The connected part with most pixels inside, smoothed by a pixel, with its holes filled.

    `also` keeps the others that lie mostly inside: a belt or a shadow cuts a thing in two.
    """
    opened = cv2.morphologyEx(mask_HW.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(opened)
    if count == 1:
        return np.zeros_like(mask_HW)
    within = np.bincount(parts[inside_HW], minlength=count)
    kept = within > _MOSTLY * np.bincount(parts.ravel(), minlength=count) if also else within < 0
    kept[1 + int(within[1:].argmax())] = True
    kept[0] = False
    part = kept[parts].astype(np.uint8)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(part, outlines, -1, 1, cv2.FILLED)
    return np.asarray(part > 0)


def _around(mask_HW: Mask) -> Mask:
    reach = 2 * max(3, round(0.2 * float(np.sqrt(mask_HW.sum())))) + 1
    return np.asarray(cv2.dilate(mask_HW.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0)


def _contrast(crop_HWC: Frames, inside_HW: Mask, outside_HW: Mask) -> float:
    """Share of the colours of two regions that they do not have in common."""
    coarse = (crop_HWC >> 5).astype(np.int64) @ np.array([64, 8, 1])
    one, other = (_histogram(coarse[region]) for region in (inside_HW, outside_HW))
    return float(1.0 - np.minimum(one, other).sum())


def _histogram(values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.bincount(values, minlength=512) / max(1, values.size)


def _whole_pixels(box: Box, scale: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    x0, y0, x1, y1 = (edge * scale for edge in box)
    return (
        max(0, int(np.floor(x0))),
        max(0, int(np.floor(y0))),
        min(width, int(np.ceil(x1))),
        min(height, int(np.ceil(y1))),
    )
