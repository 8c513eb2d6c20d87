"""GrabCut on pictures in which colours alone would mislead it."""

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.embedded.segment import GrabCutSegmenter, grab_cut
from tests.pictures import overlap, texture

SIZE = (120, 160)
MIDDLE = 80, 60


def disc_mask(radius_px: int) -> Mask:
    drawn = cv2.circle(np.zeros(SIZE, np.uint8), MIDDLE, radius_px, 1, cv2.FILLED)
    return np.asarray(drawn > 0)


def open_ring() -> Frames:
    """A red ring whose inside has the colour of the wall, and is joined to it by a gap."""
    frame = texture(1, SIZE, hue=(60, 90, 130))
    ring = disc_mask(30) & ~disc_mask(14)
    ring[52:68, 80:] = False
    frame[ring] = texture(2, SIZE, hue=(190, 70, 50))[ring]
    return frame


def test_the_middle_of_a_silhouette_is_not_cut_away() -> None:
    rough_HW = disc_mask(30)
    found = GrabCutSegmenter().segment(open_ring(), box=(50, 30, 111, 91), rough_HW=rough_HW)
    assert found.mask_HW[MIDDLE[1], MIDDLE[0]]
    assert overlap(found.mask_HW, rough_HW) > 0.8


def test_a_silhouette_that_is_too_small_grows_to_the_thing() -> None:
    frame = texture(1, SIZE, hue=(60, 90, 130))
    thing_HW = disc_mask(30)
    frame[thing_HW] = texture(2, SIZE, hue=(190, 70, 50))[thing_HW]
    found = GrabCutSegmenter().segment(frame, box=(56, 36, 105, 85), rough_HW=disc_mask(24))
    assert overlap(found.mask_HW, thing_HW) > 0.95


def test_colours_are_learnt_from_what_is_typical_where_that_is_known() -> None:
    """Like hair: a little of it is known, and most of it lies where a thing is not expected."""
    frame = texture(1, SIZE, hue=(60, 90, 130))
    thing_HW, known_HW = disc_mask(40), disc_mask(22)
    frame[thing_HW] = texture(2, SIZE, hue=(60, 130, 60))[thing_HW]
    frame[disc_mask(20)] = texture(3, SIZE, hue=(190, 70, 50))[disc_mask(20)]
    labels = np.full(SIZE, cv2.GC_BGD, np.uint8)
    labels[disc_mask(44)] = cv2.GC_PR_BGD
    labels[known_HW] = cv2.GC_PR_FGD
    assert overlap(grab_cut(frame, labels.copy(), typical_HW=known_HW), thing_HW) > 0.9
    assert overlap(grab_cut(frame, labels), thing_HW) < 0.5


def test_a_thing_that_a_belt_cuts_in_two_is_kept_whole() -> None:
    """And what is as colourful, but mostly outside of the silhouette, is not."""
    frame = texture(1, SIZE, hue=(60, 90, 130))
    thing_HW, rough_HW = disc_mask(30), disc_mask(30)
    thing_HW[58:63] = False
    rough_HW[30:60, 110:114] = True
    other_HW = np.zeros_like(thing_HW)
    other_HW[30:60, 112:124] = True
    painted = thing_HW | other_HW
    frame[painted] = texture(2, SIZE, hue=(190, 70, 50))[painted]
    found = GrabCutSegmenter().segment(frame, box=(50, 30, 114, 91), rough_HW=rough_HW)
    assert overlap(found.mask_HW, thing_HW) > 0.85
    assert not found.mask_HW[30:60, 116:].any()
