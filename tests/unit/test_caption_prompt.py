"""What captioning models are shown and told."""

from typing import Any

import numpy as np
import pytest

from avipipe.annotators.base import Frames
from avipipe.annotators.full.caption_prompt import OUTLINE_RGB, hints, outline, question
from avipipe.errors import AnnotatorError

BOX = (0.25, 0.25, 0.75, 0.5)


def frames(count: int = 8) -> Frames:
    return np.full((count, 40, 80, 3), 50, np.uint8)


def evidence(**changed: Any) -> dict[str, Any]:
    listen = {"tags": {"animal": 0.8, "music": 0.1}, "tag_classes": {}, "speech": []}
    mask = {"boxes": [BOX] * 8, "box_step_frames": 6}
    given = {"listen": listen, "look": {"faces": None}, "cut": {"duration_s": 2.0}, "mask": mask}
    return {stage: facts | changed.get(stage, {}) for stage, facts in given.items()}


def test_every_other_frame_is_outlined_and_says_so() -> None:
    shown = frames()
    message = question(shown, evidence=evidence())
    *parts, text = message.content
    captions, pictures = parts[::2], parts[1::2]
    assert captions[:2] == ["0.1 s:", "0.4 s, instance outlined:"]
    assert len(pictures) == len(captions) == 8
    for index, picture in enumerate(pictures):
        assert isinstance(picture, np.ndarray)
        assert (picture == OUTLINE_RGB).all(axis=-1).any() == bool(index % 2)
    assert "magenta rectangle" in str(text)
    assert "8 frames of one video clip of 2.0 s" in str(text)
    assert (shown == 50).all(), "the frames given are left alone"


def test_the_outline_runs_along_the_box() -> None:
    drawn = (outline(frames(1)[0], BOX) == OUTLINE_RGB).all(axis=-1)
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max()) == (10, 19)
    assert (columns.min(), columns.max()) == (20, 59)
    assert not drawn[12:18, 22:58].any()


def test_where_it_is_not_seen_nothing_is_outlined() -> None:
    seen_late = evidence(mask={"boxes": [None] * 5 + [BOX] * 3})
    *parts, _ = question(frames(), evidence=seen_late).content
    marked = [str(part) for part in parts[::2] if "outlined" in str(part)]
    assert marked == ["1.4 s, instance outlined:", "1.9 s, instance outlined:"]
    unseen = question(frames(), evidence=evidence(mask={"boxes": []}))
    assert "magenta" not in str(unseen.content[-1])


def test_hints_tell_what_was_measured() -> None:
    assert list(hints(evidence())) == ["it sounds like animal (0.80)"]
    rich = evidence(
        listen={
            "tag_classes": {"Speech": 0.9, "Dog": 0.2},
            "speech": [{"start_s": 0.5, "end_s": 1.25, "label": "a"}],
        },
        look={"faces": [{"speech_score": 1.5}, {"speech_score": -2.0}, {"speech_score": None}]},
        mask={"label": "person"},
    )
    assert list(hints(rich)) == [
        "it sounds like Speech (0.90), Dog (0.20)",
        "speech is heard at 0.5-1.2 s",
        "faces seen: 3, of which seem to speak: 1",
        "the instance was found by looking for: person",
    ]


def test_no_frames_are_refused() -> None:
    with pytest.raises(AnnotatorError, match="no frames"):
        question(frames(0), evidence=evidence())
