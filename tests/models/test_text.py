"""PP-OCR's detector with its official weights on drawn text; how its maps become boxes."""

import cv2
import numpy as np
import pytest

from avipipe.annotators.base import Box, Frames
from avipipe.annotators.embedded.text import NoTextFinder
from avipipe.annotators.light.text import PpOcrTextFinder, lines
from avipipe.annotators.tracking import overlaps
from avipipe.errors import AnnotatorError, WeightsError
from tests.models.davis import dogs_jump
from tests.pictures import texture


@pytest.fixture(scope="module")
def finder() -> PpOcrTextFinder:
    backend = PpOcrTextFinder()
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


def write(frame: Frames, text: str, at: tuple[int, int]) -> Box:
    """Writes from the lower left corner `at` on, and tells the box of it."""
    cv2.putText(frame, text, at, cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 2, cv2.LINE_AA)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
    return float(at[0]), float(at[1] - height), float(at[0] + width), float(at[1])


def iou(box: Box, other: Box) -> float:
    return float(overlaps(np.array([box]), np.array([other]))[0, 0])


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (180, 500)])
def test_lines_are_found_where_they_are_written(
    finder: PpOcrTextFinder, size: tuple[int, int]
) -> None:
    frame = texture(1, size, hue=(60, 90, 130))
    plain = frame.copy()
    upper, lower = write(frame, "BREAKING NEWS", (20, 60)), write(frame, "a caption", (40, 160))
    found, nothing = finder.find([frame, plain])
    assert nothing == ()
    assert len(found) == 2
    assert iou(found[0], upper) > 0.6
    assert iou(found[1], lower) > 0.6


def test_pictures_without_text_have_none(finder: PpOcrTextFinder) -> None:
    frames, _ = dogs_jump()
    assert finder.find([frames[0], frames[30], frames[60]]) == [(), (), ()]
    assert finder.find([]) == []


def test_an_empty_picture_is_refused(finder: PpOcrTextFinder) -> None:
    with pytest.raises(AnnotatorError):
        finder.find([np.zeros((0, 10, 3), np.uint8)])


def test_the_inside_of_a_line_is_widened_to_the_line() -> None:
    probability = np.zeros((64, 160), np.float32)
    probability[20:30, 40:100] = 0.9
    probability[50:52, 10:90] = 0.9
    probability[40:48, 110:140] = 0.5
    # 10 by 60: area over perimeter is 600 / 140, times 1.5.
    assert [tuple(np.round(box, 2)) for box in lines(probability)] == [
        (40 - 6.43, 20 - 6.43, 100 + 6.43, 30 + 6.43)
    ]
    assert list(lines(0 * probability)) == []


def test_without_an_eye_for_text_nothing_is_claimed() -> None:
    assert NoTextFinder().find([texture(1, (20, 30), hue=(9, 9, 9))]) is None
