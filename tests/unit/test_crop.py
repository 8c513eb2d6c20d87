"""Which coded pixels are kept of a part of the upright picture."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from avipipe.manifests.evidence import LookEvidence, PictureSeen
from avipipe.manifests.records import SourceLine
from avipipe.media.crop import WHOLE, Crop, in_crop
from avipipe.media.probe import VideoInfo
from avipipe.media.reference import cells_within, cropped_grey, small_grey
from avipipe.stages.base import Item
from avipipe.stages.look import look_of_cut
from tests.pictures import texture

VIDEO = VideoInfo(
    index=0,
    codec="h264",
    width=320,
    height=180,
    rotation_deg=0,
    mirrored=False,
    sar=Fraction(1),
    fps=Fraction(24),
    is_vfr=False,
    pix_fmt="yuv420p",
    trc="bt709",
    primaries="bt709",
    matrix="bt709",
    range="tv",
    interlaced=False,
    start_s=0.0,
    last_s=1.0,
    end_s=1.0,
    num_packets=24,
)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_a_part_of_the_upright_picture_is_found_in_the_coded_one(
    rotation_deg: int, mirrored: bool
) -> None:
    video = replace(VIDEO, rotation_deg=rotation_deg, mirrored=mirrored)
    number_HW = np.arange(320 * 180).reshape(180, 320)
    upright_HW = np.rot90(number_HW, -rotation_deg // 90)
    upright_HW = upright_HW[:, ::-1] if mirrored else upright_HW
    height, width = upright_HW.shape
    content = (40 / width, 20 / height, 1.0, 160 / height)
    crop = Crop.within(video, content)
    kept_HW = number_HW[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    assert set(kept_HW.ravel()) == set(upright_HW[20:160, 40:].ravel())
    assert crop.shares(video) == pytest.approx(content, abs=1e-5)
    assert crop.of(video).shape == (Fraction(width - 40), Fraction(140))


def test_the_whole_picture_stays_whole_whatever_its_size() -> None:
    for width, height in [(320, 180), (321, 181), (1, 1)]:
        video = replace(VIDEO, width=width, height=height)
        crop = Crop.within(video, WHOLE)
        assert crop.is_whole(video)
        assert crop.shares(video) == WHOLE


def test_rounded_shares_lose_no_pixels_and_odd_ones_keep_no_bar() -> None:
    video = replace(VIDEO, width=1280, height=720)
    crop = Crop.within(video, (round(37 / 320, 4), 0.0, round(283 / 320, 4), 1.0))
    assert (crop.left, crop.width) == (148, 1132 - 148)
    crop = Crop.within(video, (0.0, 101 / 720, 1.0, 619 / 720))
    assert (crop.top, crop.top + crop.height) == (102, 618)


def test_boxes_are_moved_into_what_is_left() -> None:
    crop = (0.25, 0.0, 0.75, 1.0)
    assert in_crop((0.25, 0.1, 0.5, 0.9), crop) == pytest.approx((0.0, 0.1, 0.5, 0.9))
    assert in_crop((0.0, 0.1, 0.5, 0.9), crop) == pytest.approx((0.0, 0.1, 0.5, 0.9))
    assert in_crop((0.0, 0.1, 0.2, 0.9), crop) == pytest.approx((0.0, 0.1, 0.0, 0.9))
    assert in_crop((0.1, 0.2, 0.3, 0.4), WHOLE) == (0.1, 0.2, 0.3, 0.4)


def test_what_look_found_is_told_in_the_cut_picture() -> None:
    track = {"start_s": 0.0, "end_s": 1.0, "score": 0.9}
    there, bar = [0.5, 0.2, 0.7, 0.4], [0.0, 0.2, 0.1, 0.4]
    things = [
        {**track, "label": label, "box": box, "boxes": [box], "scores": [0.9], "box_step_frames": 6}
        for label, box in (("dog", there), ("logo", bar))
    ]
    evidence = LookEvidence.model_validate(
        {
            **dict.fromkeys(LookEvidence.model_fields),
            "num_frames": 24,
            "box": there,
            "measures": {},
            "faces": [{**track, "box": there, "boxes": [there], "scores": [0.9]}],
            "things": things,
            "classes": [{"label": "dog", "score": 0.9, "box": there}],
            "backends": {},
            "picture": {
                **dict.fromkeys(PictureSeen.model_fields, 0),
                "content_box": [0.25, 0, 0.75, 1],
                "overlays": [there, bar],
            },
        }
    ).model_dump(mode="json")
    known = {"look": evidence, "cut": {"crop": [0.25, 0.0, 0.75, 1.0]}}
    seen = look_of_cut(Item("a", SourceLine(0, "a", None, "list.txt:1"), None, known, {}))
    moved = pytest.approx((0.5, 0.2, 0.9, 0.4))
    assert seen.box == moved
    assert [thing.label for thing in seen.things or []] == ["dog"]
    (thing,), (face,), (named,) = seen.things or [], seen.faces or [], seen.classes or []
    assert [*thing.boxes, *face.boxes] == [moved, moved]
    assert thing.box == face.box == named.box == moved
    assert seen.picture is not None
    assert seen.picture.content_box == WHOLE
    assert seen.picture.overlays == [moved]


def test_a_cropped_picture_has_the_means_of_its_place_in_the_whole() -> None:
    whole = cv2.resize(texture(3, (9, 16), hue=(90, 120, 80)), (640, 360))
    part = whole[47:360, 128:518]
    exact = (128 / 640, 47 / 360, 518 / 640, 1.0)
    cells = cells_within(exact)
    assert 100 < cells.sum() < 256
    assert cropped_grey(part, exact) == pytest.approx(small_grey(whole)[cells], abs=1.5)
    assert cropped_grey(whole, WHOLE) == pytest.approx(small_grey(whole))
    other = (0.3, 47 / 360, 0.91, 1.0)
    away = cropped_grey(part, other) - small_grey(whole)[cells_within(other)]
    assert np.square(away).mean() > 9
