"""What a review page says of a clip, and what keeps it together."""

from dataclasses import replace
from typing import Any

import pytest

from avipipe.decision.model import shipped
from avipipe.manifests.samples import probability_of
from avipipe.pipeline.review.page import Page, PageClip, Point, no_mask_words, points
from avipipe.stages.decide import DecideConfig

CLIP = PageClip(
    clip_id="a",
    decision="keep",
    reason="",
    because="",
    probability=None,
    source="/a.mp4",
    start_s=0.0,
    end_s=1.0,
    label="",
    caption="",
    no_mask="",
    points=(),
    heard=(),
    width=64,
    height=64,
    num_frames=24,
)
PAGE = Page("set", "set-1", 0, 9, (CLIP, replace(CLIP, clip_id="b")))


def test_missed_limits_and_weights_speak_for_and_against() -> None:
    limits = DecideConfig(max_speakers=1).judge(shipped("light"))
    values = {"length": 4.0, "speakers": 2.0, "match": 0.8, "crowd": 0.0}
    decision = limits.judge(values, {}).to_json()
    decision["contributions"] = [
        {"measure": "crowd", "value": 1.2, "log_odds": -0.3, "by_prior": False},
        {"measure": "match", "value": 0.8, "log_odds": 0.5, "by_prior": True},
        {"measure": "people", "value": 1.0, "log_odds": 0.0, "by_prior": False},
    ]
    assert list(points(decision)) == [
        Point("few enough voices are heard: voices 2 > 1", -1, None),
        Point("something seen is what is heard: match 0.8", 1, 0.5),
        Point("in doubt: single things prevail over crowds: ratio 1.2", -1, -0.3),
    ]
    assert list(points({})) == []
    older = {"reason": "silent", "threshold": "min_sound_dbfs", "value": -60.0, "passed": False}
    assert list(points({"findings": [older]})) == []


def test_the_last_decision_gives_the_probability() -> None:
    evidence: dict[str, Any] = {"decide_listen": {"probability": 0.4}, "listen": {}}
    assert probability_of(evidence) == 0.4
    assert probability_of({**evidence, "decide_mask": {"probability": 0.9}}) == 0.9
    assert probability_of({**evidence, "decide_look": {"probability": None}}) is None
    assert probability_of({"decide_listen": {"findings": []}}) is None
    assert probability_of({}) is None


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (("listen",), "none was made of this clip"),
        (("listen", "look"), "none was made of this clip"),
        (("listen", "look", "mask"), "nothing was found that could be masked"),
    ],
)
def test_why_there_is_no_mask(stages: tuple[str, ...], said: str) -> None:
    assert said in no_mask_words({stage: {} for stage in stages})


def test_what_is_judged_is_kept_by_the_clips_of_a_page() -> None:
    surer = replace(PAGE, clips=tuple(replace(clip, probability=0.5) for clip in PAGE.clips))
    assert surer.page_id == PAGE.page_id
    for other in (replace(PAGE, dataset="set-2"), replace(PAGE, clips=PAGE.clips[:1])):
        assert other.page_id != PAGE.page_id
