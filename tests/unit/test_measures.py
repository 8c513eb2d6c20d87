"""What is heard against what is seen: measures on evidence whose meaning is plain."""

import copy
from typing import Any

import pytest

from avipipe.decision import explaining as told
from avipipe.decision import hearing as heard
from avipipe.decision import seeing as seen
from avipipe.decision.checks import KNOWN, measures

DURATION_S = 10.0


def known(**look: Any) -> dict[str, Any]:
    listen = {
        "duration_s": DURATION_S,
        "rms_dbfs": -20.0,
        "noise_floor_dbfs": -60.0,
        "tags": {"speech": 0.0, "dog": 0.8, "music": 0.0, "singing": 0.0},
        "tag_details": {"raw_genre": 0.0, "second_group_margin": 0.6},
        "tag_classes": {"Bark": 0.8},
        "speech_ratio": 0.0,
        "speech": [],
        "speakers": [],
        "num_speakers": 0,
        "onsets_s": [1.0, 2.0, 3.0],
    }
    base = {"faces": [], "things": [], "match": [], "measures": {}, "p_value": 0.01}
    return {"listen": listen, "look": {**base, **look}}


def explained(source: str, score: float, thing: str | None, match: float) -> dict[str, Any]:
    return {"source": source, "heard": score, "thing": thing, "match": match}


def thing(label: str, start_s: float, end_s: float, score: float = 1.0) -> dict[str, Any]:
    return {"label": label, "start_s": start_s, "end_s": end_s, "score": score}


def face(
    height: float, logit: float | None = None, start_s: float = 0.0, end_s: float = DURATION_S
) -> dict[str, Any]:
    box = [0.4, 0.2, 0.4 + height, 0.2 + height]
    return {
        "start_s": start_s,
        "end_s": end_s,
        "box": box,
        "score": -4.0 if logit is None else logit,
        "speech_score": logit,
        "scores": [logit or -4.0],
        "box_step_frames": 6,
        "sync_p_value": None,
    }


def speaking(evidence: dict[str, Any], share: float = 1.0) -> dict[str, Any]:
    spoken = copy.deepcopy(evidence)
    spoken["listen"]["speech_ratio"] = share
    spoken["listen"]["tags"] = {"speech": share, "dog": 0.0, "music": 0.0, "singing": 0.0}
    turn = {"start_s": 0.0, "end_s": share * DURATION_S, "label": "a"}
    spoken["listen"]["speech"] = spoken["listen"]["speakers"] = [turn]
    return spoken


def test_what_is_seen_explains_what_is_heard() -> None:
    dog = known(match=[explained("dog", 0.9, "dog", 1.0), explained("bird", 0.3, None, 0.0)])
    assert told.match(dog) == 1.0
    assert told.unexplained(dog) == pytest.approx(0.3)
    assert told.heard(dog) == 0.9
    none = known(match=[explained("dog", 0.9, None, 0.0)])
    assert (told.match(none), told.unexplained(none)) == (0.0, 0.9)
    assert told.match(known(match=None)) is None


def test_music_counts_unless_its_instrument_is_seen() -> None:
    guitar = known(match=[explained("guitar", 0.9, "guitar", 1.0)])
    guitar["listen"]["tags"]["music"] = 0.8
    assert told.music_unmatched(guitar) == 0.0
    guitar["look"]["match"] = []
    assert told.music_unmatched(guitar) == 0.8


def test_several_of_the_kind_that_is_heard_are_counted_by_how_long_they_are_seen() -> None:
    match = [explained("dog", 0.9, "dog", 1.0)]
    one = known(match=match, things=[thing("dog", 0, 10), thing("person", 0, 10)])
    assert told.several_alike(one) == 0.0
    three = known(
        match=match, things=[thing("dog", 0, 10), thing("dog", 0, 10), thing("dog", 5, 10)]
    )
    assert told.several_alike(three) == pytest.approx(1.5)
    assert told.num_people(one) == 1.0


@pytest.mark.parametrize(("logit", "most"), [(2.0, 0.1), (None, 1.0)])
def test_a_voice_wants_lips_that_make_it(logit: float | None, most: float) -> None:
    spoken = speaking(known(faces=[face(0.3, logit)]))
    unspoken = told.voice_unspoken(spoken)
    assert unspoken is not None
    assert most - 0.1 <= unspoken <= most
    assert told.voice_seen(spoken) == 1.0
    assert told.voice_unseen(spoken) == 0.0


def test_no_voice_wants_no_lips() -> None:
    assert told.voice_unspoken(known()) == 0.0
    assert told.voice_unspoken(known(faces=None)) is None
    assert seen.lips(known(faces=[face(0.3, 2.0)])) is None


def test_faces_of_bystanders_are_no_faces() -> None:
    crowd = speaking(known(faces=[face(0.03), face(0.04)]))
    assert told.face_share(crowd) == 0.0
    assert told.voice_unseen(crowd) == 1.0
    pair = speaking(known(faces=[face(0.3), face(0.2, end_s=4.0), face(0.1)]))
    assert told.second_face(pair) == pytest.approx(0.4)


def test_a_second_voice_counts_by_its_time() -> None:
    two = speaking(known())
    two["listen"]["speakers"] = [
        {"start_s": 0.0, "end_s": 6.0, "label": "a"},
        {"start_s": 6.0, "end_s": 9.0, "label": "b"},
    ]
    assert heard.second_voice(two) == pytest.approx(0.5)
    assert heard.second_voice(known()) == 0.0


def test_sounds_without_a_voice_are_measured_where_there_is_none() -> None:
    assert heard.onset_rate_hz(known()) == pytest.approx(0.3)
    assert heard.lead_without_voice(known()) == 0.6
    assert heard.onset_rate_hz(speaking(known())) is None
    assert heard.lead_without_voice(speaking(known())) is None


def test_a_song_is_a_voice_over_music() -> None:
    song = speaking(known())
    song["listen"]["tags"]["singing"] = 0.7
    assert heard.voice_over_music(song) == pytest.approx(0.7)
    assert heard.voice_over_music(known()) == 0.0


def test_what_the_camera_leaves_is_all_where_it_stands() -> None:
    def left(camera_px: float, residual: float | None) -> float | None:
        picture = {"camera_px": camera_px, "residual_ratio": residual, "still_ratio": 0.2}
        return told.left_by_camera(known(picture=picture))

    assert left(2.0, 0.1) == pytest.approx(0.1)
    assert left(0.0, 0.1) == 1.0
    assert left(2.0, None) is None
    assert told.left_by_camera(known()) is None


def test_chances_become_surprises() -> None:
    assert seen.surprise(known(p_value=0.01)) == pytest.approx(2.0)
    assert seen.surprise(known(p_value=None)) == 0.0
    assert seen.surprise(known(p_value=0.0)) == pytest.approx(2.52, abs=0.01)


def test_each_check_is_told_in_words_and_has_a_range() -> None:
    for name, check in KNOWN.items():
        low, high = check.span
        assert low < high, name
        assert check.claim, name
        assert check.quantity, name
        assert check.stage in ("listen", "look", "mask"), name


def test_measures_are_those_whose_evidence_is_there() -> None:
    listened = {"listen": {**known()["listen"], "silence_ratio": 0.1, "clipped_ratio": 0.0}}
    listened["listen"]["overlap_ratio"] = None
    found = measures(listened)
    assert found["overlap"] is None
    assert set(found) == {name for name, check in KNOWN.items() if check.stage == "listen"}
