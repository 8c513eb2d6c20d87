"""Decisions in words."""

from pathlib import Path
from typing import Any

import pytest

from avipipe.manifests.evidence import FaceTrack, LookEvidence
from avipipe.manifests.records import DropReason
from avipipe.pipeline import words
from avipipe.pipeline.report import faces
from avipipe.pipeline.report.measures import deciding
from avipipe.pipeline.report.model import Stripe
from avipipe.stages.decide import CHECKS, DecideConfig, judge

DATASET_PAGE = Path(__file__).parents[2] / "docs" / "dataset.md"


def test_every_reason_and_every_check_has_words() -> None:
    assert set(words.REASONS) == set(DropReason)
    assert set(words.WORDINGS) == {check.threshold for check in CHECKS}
    page = DATASET_PAGE.read_text(encoding="utf-8")
    for reason, text in words.REASONS.items():
        assert f"| `{reason}` | {text} |" in page


@pytest.mark.parametrize(
    ("threshold", "value", "expected"),
    [
        ("max_lip_p_value", 0.03, "lips go with the voice: p 0.03 ≤ 0.1"),
        ("max_lip_p_value", 0.1, "lips go with the voice: p 0.1 ≤ 0.1"),
        ("max_lip_p_value", 0.4, "lips go with the voice: p 0.4 > 0.1"),
        ("min_clip_s", 1.5, "it is long enough: length 1.5 s < 2 s"),
        ("max_ambience", None, "things prevail over wind, water, noise: not asked, or unknown"),
    ],
)
def test_a_check_says_what_is_so(threshold: str, value: float | None, expected: str) -> None:
    (finding,) = judge({threshold: value}, DecideConfig())
    assert words.sentence(finding) == expected


def test_sounds_are_the_likeliest_classes_or_else_groups() -> None:
    classes = {f"class {n}": 0.1 * n for n in range(9)}
    heard = words.sounds({"tag_classes": classes, "tags": {"music": 1.0}})
    assert [name for name, _ in heard] == [f"class {n}" for n in (8, 7, 6, 5, 4)]
    assert words.sounds({"tag_classes": {}, "tags": {"music": 0.6, "impact": 0.01}}) == [
        ("music", 0.6)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"min_clip_s": 4.0, "max_speakers": 2.0, "max_music": 0.9}, "max_music"),
        ({"min_clip_s": 4.0, "max_speakers": 1.0, "max_p_value": 0.09}, "max_p_value"),
        ({"min_persistence": 1.0, "min_return_iou": 0.34}, "min_return_iou"),
        ({"max_speakers": 1.0, "max_music": None}, None),
    ],
)
def test_what_decides_is_what_fails_first_or_passes_most_narrowly(
    values: dict[str, Any], expected: str | None
) -> None:
    found = deciding(judge(values, DecideConfig()))
    assert (found and found.threshold) == expected


def track(**changes: Any) -> FaceTrack:
    """Seen from 1 s to 2.5 s; samples every half second."""
    plain = {
        "start_s": 1.0,
        "end_s": 2.5,
        "box": (0.5, 0.25, 0.75, 0.5),
        "score": 0.0,
        "boxes": [(0.5, 0.25, 0.75, 0.5)] * 3,
        "scores": [1.0, 1.0, -1.0],
        "box_step_frames": 12,
    }
    return FaceTrack.model_validate(plain | changes)


def test_a_face_is_told_as_far_as_it_is_known() -> None:
    assert words.face(track()) == "1.0–2.5 s"
    told = words.face(track(speech_score=-0.24, sync_p_value=0.034))
    assert told == "1.0–2.5 s, speaking score -0.2, lips p 0.034"


def test_a_face_is_marked_only_while_it_is_seen() -> None:
    def marked(frame: int) -> list[float]:
        return [m.score for m in faces.marks([track()], frame, width=80, height=40, left=100)]

    assert [marked(frame) for frame in (23, 24, 47, 48, 59, 60)] == [
        *([], [1.0], [1.0], [-1.0], [-1.0], [])
    ]
    (mark,) = faces.marks([track()], 30, width=80, height=40, left=100)
    assert (mark.x, mark.y, mark.width, mark.height) == (140.0, 10.0, 20.0, 10.0)


def test_faces_are_shown_longest_speakers_first_and_not_all() -> None:
    listeners = [track(scores=[-1.0] * 3)] * 9
    look = LookEvidence(
        num_frames=96,
        correlation=None,
        p_value=None,
        margin=None,
        lag_s=None,
        box=None,
        localization_confidence=None,
        sync_offset_s=None,
        sync_z=None,
        motion_px=None,
        measures={},
        faces=[*listeners, track()],
        backends={},
    ).model_dump(mode="json")
    rows = faces.rows(faces.tracks(look))
    assert [row.name for row in rows] == ["face 1", "face 2", "face 3", "face 4"]
    assert rows[0].stripes == (Stripe(1.0, 2.0, "speaks"), Stripe(2.0, 2.5, "silent"))
    assert rows[1].stripes == (Stripe(1.0, 2.5, "silent"),)
    assert faces.tracks(None) == faces.tracks(look | {"faces": None}) == []
