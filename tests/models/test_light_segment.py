"""MediaPipe's selfie network and DeepLab with their official weights on real frames; skipped
without either."""

import numpy as np
import pytest

from avipipe.annotators.base import Box, Frames, Mask
from avipipe.annotators.embedded.segment import GrabCutSegmenter
from avipipe.annotators.light.segment import DeeplabSegmenter, SelfieSegmenter, refined
from avipipe.annotators.mask_quality import overlap
from avipipe.errors import WeightsError
from tests.models.davis import box_of, dogs_jump, judo
from tests.pictures import square_on_wall


def ready(backend: SelfieSegmenter) -> SelfieSegmenter:
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


@pytest.fixture(scope="module")
def selfie() -> SelfieSegmenter:
    return ready(SelfieSegmenter())


@pytest.fixture(scope="module")
def deeplab() -> SelfieSegmenter:
    return ready(DeeplabSegmenter())


def people() -> list[tuple[Frames, Mask]]:
    frames, masks = judo()
    return [(np.ascontiguousarray(frames[n]), masks[n] > 0) for n in sorted(masks)]


def shifted(box: Box) -> Box:
    """A box that is a tenth of its width too far to the right, as a detector's may be."""
    dx = 0.1 * (box[2] - box[0])
    return box[0] + dx, box[1], box[2] + dx, box[3]


def test_people_are_cut_out_far_better_than_by_colours(selfie: SelfieSegmenter) -> None:
    by_colours, moved = [], []
    for frame, truth in people():
        box = box_of(truth)
        found = selfie.segment(frame, box=box, label="person")
        assert overlap(found.mask_HW, truth) > 0.8
        assert found.score is not None
        assert found.score > 0.7
        by_colours.append(overlap(GrabCutSegmenter().segment(frame, box=box).mask_HW, truth))
        askew = selfie.segment(frame, box=shifted(box), label="person")
        moved.append(overlap(askew.mask_HW, truth))
    assert np.mean(by_colours) < 0.6
    assert np.mean(moved) > 0.7


def test_what_is_no_person_is_cut_out_by_colours(
    selfie: SelfieSegmenter, deeplab: SelfieSegmenter
) -> None:
    frames, masks = dogs_jump()
    frame, box = frames[0], box_of(masks[0] == 2)
    expected = GrabCutSegmenter().segment(frame, box=box)
    for label in ("", "dog", "drum"):
        for segmenter in (selfie, deeplab):  # the dog is too small for DeepLab
            found = segmenter.segment(frame, box=box, label=label)
            assert np.array_equal(found.mask_HW, expected.mask_HW)
            assert found.score == expected.score


def test_a_person_that_is_none_is_cut_out_by_colours(selfie: SelfieSegmenter) -> None:
    frames, masks = square_on_wall([(65.0, 45.0)])
    rough = masks[0]
    found = selfie.segment(frames[0], box=box_of(masks[0]), rough_HW=rough, label="person")
    assert overlap(found.mask_HW, masks[0]) > 0.9


def test_deeplab_cuts_out_animals_of_normal_size(deeplab: SelfieSegmenter) -> None:
    frames, masks = dogs_jump()
    x0, y0, x1, y1 = map(int, box_of(masks[0] == 2))
    rows, columns = slice(y0 - 20, y1 + 20), slice(x0 - 20, x1 + 20)
    scale = np.ones((4, 4, 1), np.uint8)
    frame = np.kron(frames[0][rows, columns], scale)
    truth = np.kron(masks[0][rows, columns] == 2, scale[..., 0]).astype(np.bool_)
    found = deeplab.segment(frame, box=box_of(truth), label="dog")
    assert overlap(found.mask_HW, truth) > 0.6
    person, whole = people()[2]
    assert overlap(deeplab.segment(person, box=box_of(whole), label="person").mask_HW, whole) > 0.8


def test_refining_settles_what_is_not_sure_by_its_colours() -> None:
    frames, masks = square_on_wall([(65.0, 45.0)])
    (y0, x0), (y1, x1) = (edge(np.nonzero(masks[0]), axis=1) for edge in (np.min, np.max))
    unsure = np.full(masks[0].shape, 0.0, np.float32)
    unsure[y0 - 8 : y1 + 9, x0 - 8 : x1 + 9] = 0.55
    unsure[y0 + 8 : y1 - 7, x0 + 8 : x1 - 7] = 1.0
    box = float(x0 - 8), float(y0 - 8), float(x1 + 9), float(y1 + 9)
    assert overlap(unsure > 0.5, masks[0]) < 0.6
    assert overlap(refined(frames[0], unsure, box), masks[0]) > 0.95
    nothing = refined(frames[0], np.zeros_like(unsure), box)
    assert not nothing.any()
