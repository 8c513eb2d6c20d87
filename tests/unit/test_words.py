"""Decisions in words."""

import math
from pathlib import Path
from typing import Any

import pytest

from avipipe.decision.checks import CHECKS, KNOWN
from avipipe.decision.judge import Judge
from avipipe.decision.model import Contribution
from avipipe.manifests.evidence import FaceSeen, LookEvidence
from avipipe.manifests.records import DropReason
from avipipe.pipeline import words
from avipipe.pipeline.report import faces
from avipipe.pipeline.report.measures import deciding, verdict
from avipipe.pipeline.report.model import Stripe
from tests.decisions import GOOD, changed, limit, model, strict

DATASET_PAGE = Path(__file__).parents[2] / "docs" / "dataset.md"


def test_every_reason_and_every_check_has_words() -> None:
    assert set(words.REASONS) == set(DropReason)
    assert len(KNOWN) == len(CHECKS), "a name stands twice"
    for check in CHECKS:
        assert check.claim, check.name
        assert check.quantity, check.name
        assert check.reason in words.REASONS
    page = DATASET_PAGE.read_text(encoding="utf-8")
    for reason, text in words.REASONS.items():
        assert f"| `{reason}` | {text} |" in page


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_lip_p_value", 0.03, "lips go with the voice: p 0.03 ≤ 0.1"),
        ("max_lip_p_value", 0.1, "lips go with the voice: p 0.1 ≤ 0.1"),
        ("max_lip_p_value", 0.4, "lips go with the voice: p 0.4 > 0.1"),
        ("min_clip_s", 1.5, "it is long enough: length 1.5 s < 2 s"),
        ("max_ambience", None, "things prevail over wind, water, noise: not asked, or unknown"),
    ],
)
def test_a_hard_limit_says_what_is_so(name: str, value: float | None, expected: str) -> None:
    asked = {"max_lip_p_value": 0.1, "min_clip_s": 2.0, "max_ambience": 1.0}[name]
    judge = limit(name, asked)
    (measure,) = judge.limits
    (finding,) = judge.judge({measure: value}, {}).findings
    assert words.sentence(finding) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            Contribution("lips", 1.84, 0.618, by_prior=False),
            "lips move as the voice does: speaking score 1.84 (+0.62)",
        ),
        (
            Contribution("music", 0.7, -1.2, by_prior=True),
            "in doubt: no music is laid over it: score 0.7 (-1.20, by prior)",
        ),
    ],
)
def test_an_argument_says_what_it_weighs(found: Contribution, expected: str) -> None:
    assert words.argument(found) == expected


def test_sounds_are_the_likeliest_classes_or_else_groups() -> None:
    classes = {f"class {n}": 0.1 * n for n in range(9)}
    heard = words.sounds({"tag_classes": classes, "tags": {"music": 1.0}})
    assert [name for name, _ in heard] == [f"class {n}" for n in (8, 7, 6, 5, 4)]
    assert words.sounds({"tag_classes": {}, "tags": {"music": 0.6, "impact": 0.01}}) == [
        ("music", 0.6)
    ]


def test_what_decides_is_the_limit_that_is_missed_or_what_is_most_against_it() -> None:
    assert deciding(strict(), GOOD) == ""
    still = changed(look__motion_px=0.001, listen__num_speakers=3)
    expected = "Not passed: something moves: motion 0.001 px/frame < 0.02 px/frame"
    assert deciding(strict(max_speakers=9), still) == expected
    terms = {"level": (-0.5, 0.0), "surprise": (-2.0, 1.5)}
    judge = Judge(model(terms, backends={"localize": "eye@1"}), {}, 0.5)
    assert deciding(judge, GOOD) == ""
    quiet = changed(look__p_value=1.0, listen__rms_dbfs=-90.0)
    told = deciding(judge, quiet)
    assert told == (
        "Most against it: motion and sound agree by more than accident: -log10 p 0 (-2.00)"
    )


def test_what_is_shown_of_a_clip_adds_up() -> None:
    terms = {"level": (-3.0, 3.0), "surprise": (-1.0, 1.0), "clipping": (0.01, 0.0)}
    judge = Judge(model(terms, intercept=-0.25), {"length": 2.0}, 0.5)
    shown = verdict(judge, {"fetch": {}, "probe": {}, **GOOD})
    assert shown is not None
    assert [argument.claim for argument in shown.strong] == [
        "it is loud enough",
        "motion and sound agree by more than accident",
    ]
    assert [argument.claim for argument in shown.weak] == ["the sound is not cut off at full scale"]
    odds = shown.start + sum(each.log_odds for each in shown.strong + shown.weak)
    assert shown.probability == pytest.approx(1 / (1 + math.exp(-odds)))
    assert [(m.value, m.limit, m.passed) for m in shown.limits] == [(5.0, 2.0, True)]
    assert shown.scale == max(each.log_odds for each in shown.strong)
    heard = verdict(judge, {"listen": GOOD["listen"]})
    assert heard is not None
    assert heard.best_probability > heard.probability
    assert verdict(judge, {"fetch": {}, "probe": {}}) is None


def test_what_shows_names_those_who_were_not_fitted_on() -> None:
    terms = {"surprise": (-1.0, 1.0), "music": (0.0, -1.0)}
    judge = Judge(model(terms, backends={"localize": "eye@1"}), {}, 0.5)
    shown = verdict(judge, GOOD)
    assert shown is not None
    assert shown.uncalibrated == ("tag (ear@1)", "vad (ear@1)")
    by_claim = {each.claim: each.by_prior for each in shown.strong + shown.weak}
    assert by_claim["motion and sound agree by more than accident"] is False
    assert by_claim["no music is laid over it"] is True


def track(**changes: Any) -> FaceSeen:
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
    return FaceSeen.model_validate(plain | changes)


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
