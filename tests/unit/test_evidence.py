"""Evidence holds numbers, and nothing else."""

import math

import pytest

from avipipe.errors import AnnotatorError, FailKind
from avipipe.manifests.evidence import FaceSeen

FACE = {
    "start_s": 0.0,
    "end_s": 1 / 3,
    "box": (0.1, 0.2, 0.3, 0.4),
    "score": -1.23456,
    "speech_score": None,
    "boxes": [(0.1, 0.2, 0.3, 0.4)],
    "scores": [2.0],
    "box_step_frames": 6,
}


def test_numbers_have_four_decimals() -> None:
    face = FaceSeen.model_validate(FACE)
    assert (face.end_s, face.score, face.speech_score) == (0.3333, -1.2346, None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["score", "speech_score", "scores"])
def test_what_is_no_number_fails_its_clip_instead_of_dropping_it(field: str, value: float) -> None:
    broken = [value] if field == "scores" else value
    with pytest.raises(AnnotatorError, match=f"{value} for `{field}`") as caught:
        FaceSeen.model_validate({**FACE, field: broken})
    assert caught.value.kind is FailKind.ANNOTATOR_FAILED
