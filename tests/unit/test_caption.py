"""Captions put together from evidence."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from avipipe.annotators.base import Frames, SceneCaption
from avipipe.annotators.embedded.caption import TemplateCaptioner
from avipipe.manifests.records import Keep, SourceLine
from avipipe.stages.base import Item
from avipipe.stages.caption import Caption, CaptionConfig
from avipipe.text import MAX_NAME_CHARS

NO_FRAMES = np.zeros((0, 1, 1, 3), np.uint8)


def evidence(
    *,
    tags: dict[str, float],
    boxes: list[list[float] | None],
    onsets_s: tuple[float, ...] = (),
    speech: tuple[tuple[float, float], ...] = (),
    classes: dict[str, float] | None = None,
    match: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    turns = [{"start_s": a, "end_s": b, "label": "speech"} for a, b in speech]
    ratio = sum(b - a for a, b in speech) / 4.0
    listen = {"tags": tags, "speech": turns, "speech_ratio": ratio, "onsets_s": list(onsets_s)}
    listen["tag_classes"] = classes or {}
    return {"listen": listen, "look": {"match": list(match)}, "mask": {"boxes": boxes}}


def caption(**given: Any) -> SceneCaption:
    return TemplateCaptioner().caption(NO_FRAMES, evidence=evidence(**given))


def boxes_at(*centres_x: float) -> list[list[float] | None]:
    return [[x - 0.05, 0.4, x + 0.05, 0.6] for x in centres_x]


class Rude:
    """A captioner of somebody's own, whose words are no text."""

    name, version, num_frames = "rude", 1, 0
    weights: ClassVar[dict[str, str]] = {}

    def setup(self) -> None: ...

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        return SceneCaption("A dog\x1b[2J barks\n\ud800.", "dog\x00" + "x" * 1000, 0.5)


def test_what_any_captioner_says_is_safe_to_store(tmp_path: Path) -> None:
    line = SourceLine(0, "clip.mp4", None, "list.txt:1")
    item = Item("x", line, None, {"cut": {"duration_s": 1.0}}, {})
    outcome = Caption(CaptionConfig(), captioner=Rude()).run(item, tmp_path)
    assert isinstance(outcome, Keep)
    assert outcome.evidence["text"] == r"A dog\x1b[2J barks \ud800."
    assert outcome.evidence["label"] == r"dog\x00" + "x" * (MAX_NAME_CHARS - 8) + "…"


def test_it_says_what_sounds_and_when() -> None:
    struck = caption(tags={"impact": 0.9}, boxes=boxes_at(0.5), onsets_s=(0.4, 2.1))
    assert struck.label == "striking object"
    assert "sharp impacts at 0.4, 2.1 s" in struck.text
    spoken = caption(tags={"speech": 0.8}, boxes=boxes_at(0.5), speech=((0.5, 2.0), (2.4, 3.5)))
    assert spoken.label == "speaker"
    assert "from 0.5 s to 3.5 s" in spoken.text


@pytest.mark.parametrize(
    ("centres_x", "words"),
    [
        ((0.1, 0.1), "on the left, staying in place"),
        ((0.9, 0.9), "on the right, staying in place"),
        ((0.35, 0.65), "in the middle, moving right"),
        ((0.65, 0.35), "in the middle, moving left"),
        ((0.5, 0.8, 0.5), "moving to and fro"),
    ],
)
def test_it_says_where_and_how_it_moves(centres_x: tuple[float, ...], words: str) -> None:
    assert words in caption(tags={"impact": 0.9}, boxes=boxes_at(*centres_x)).text


def test_what_is_unknown_is_not_named() -> None:
    vague = caption(tags={"impact": 0.3, "noise": 0.9}, boxes=[None, None])
    assert vague.label == "sounding object"
    assert vague.confidence is None
    assert "in the picture" in vague.text


@pytest.mark.parametrize(
    ("classes", "label", "sound"),
    [
        ({"Animal": 0.95, "Dog": 0.9, "Bark": 0.8}, "dog", "A dog in the middle"),
        ({"Dog": 0.9, "Speech": 0.4}, "dog", "makes dog sounds"),
        ({"Music": 0.95, "Violin, fiddle": 0.6}, "person playing violin", "makes music"),
        ({"Music": 0.95, "Speech": 0.6}, "person", "makes speech"),
        ({"Music": 0.95, "Wind": 0.6}, "sounding object", "makes its sound"),
        ({"Dog": 0.2}, "sounding object", "makes its sound"),
    ],
)
def test_a_tagger_that_knows_classes_gives_the_noun(
    classes: dict[str, float], label: str, sound: str
) -> None:
    named = caption(tags={"music": 0.9}, boxes=boxes_at(0.5), classes=classes)
    assert named.label == label
    assert sound in named.text


def test_it_is_deterministic_and_travels() -> None:
    captioner = pickle.loads(pickle.dumps(TemplateCaptioner()))
    captioner.setup()
    assert (captioner.num_frames, dict(captioner.weights)) == (0, {})
    given = evidence(tags={"speech": 0.8, "impact": 0.8}, boxes=boxes_at(0.2), onsets_s=(1.0,))
    assert captioner.caption(NO_FRAMES, evidence=given) == caption(
        tags={"impact": 0.8, "speech": 0.8}, boxes=boxes_at(0.2), onsets_s=(1.0,)
    )


def explained(source: str, thing: str | None, match: float) -> dict[str, Any]:
    return {"source": source, "heard": 0.6, "thing": thing, "match": match}


def test_what_is_seen_and_heard_is_named() -> None:
    found = caption(
        tags={},
        boxes=boxes_at(0.5, 0.5),
        onsets_s=(0.5, 1.2),
        classes={"Dog": 0.6, "Bark": 0.7, "Speech": 0.1},
        match=(explained("voice", "person", 0.1), explained("dog", "dog", 1.0)),
    )
    assert found.label == "dog"
    assert found.text == (
        "A dog in the middle, staying in place, makes dog sounds (bark) at 0.5, 1.2 s."
    )


@pytest.mark.parametrize(
    "match",
    [
        explained("dog", "dog", 0.2),
        explained("dog", None, 0.0),
        explained("voice", "face", 0.9),
    ],
)
def test_what_hardly_explains_the_sound_gives_no_name(match: dict[str, Any]) -> None:
    classes = {"Vehicle horn, car horn, honking": 0.8}
    plain = caption(tags={}, boxes=[], classes=classes)
    assert caption(tags={}, boxes=[], classes=classes, match=(match,)) == plain
