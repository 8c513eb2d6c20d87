"""What is known of AudioSet's classes, and what a tagger makes of their scores."""

import csv
from collections import defaultdict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from avipipe.annotators import audioset
from avipipe.annotators.audioset import Kind, classes, group_scores, kinds, may_be_one, nouns_of
from avipipe.annotators.base import Speech, Tags, Turn
from avipipe.annotators.tagging import tags_of, windows

YAMNET_MAP = Path(__file__).parents[3] / "shared" / "weights" / "yamnet_class_map.csv"
NAMES = audioset.yamnet_names()
RATE_HZ = 16_000


def test_every_class_of_audioset_is_there() -> None:
    assert len(classes()) == 527
    assert len(NAMES) == 521
    assert set(classes()) - set(NAMES) == audioset.NOT_IN_YAMNET
    assert all(name == entry.name for name, entry in classes().items())


def test_yamnet_has_them_in_this_order() -> None:
    if not YAMNET_MAP.is_file():
        pytest.skip(f"{YAMNET_MAP.name} is not here")
    with YAMNET_MAP.open(encoding="utf-8", newline="") as file:
        assert [row["display_name"] for row in csv.DictReader(file)] == NAMES


def test_every_group_is_of_one_kind_and_has_a_specific_class() -> None:
    of_group: dict[str, set[Kind]] = defaultdict(set)
    for entry in classes().values():
        of_group[entry.group].add(entry.kind)
        assert entry.kind in get_args(Kind)
    assert {group: {kind} for group, kind in kinds().items()} == of_group
    generic_only = set(kinds()) - {e.group for e in classes().values() if not e.over}
    assert generic_only == {"animal"}


def test_what_can_be_cut_out_and_nothing_else_has_nouns() -> None:
    for entry in classes().values():
        assert bool(entry.nouns) == (entry.kind in {"instance", "many"}), entry.name
        assert len(entry.nouns) <= 3
        assert all(noun == noun.lower().strip() for noun in entry.nouns)
        assert set(entry.over) <= set(kinds())


def test_instruments_have_families() -> None:
    for entry in classes().values():
        assert not entry.family or entry.group == "instrument"
        if entry.group == "instrument" and not entry.family:
            assert entry.name == "Musical instrument"


@pytest.mark.parametrize(
    ("heard", "groups"),
    [
        ({"Animal": 0.9, "Dog": 0.8, "Bark": 0.7}, {"dog": 0.8}),
        ({"Animal": 0.9, "Dog": 0.2, "Cat": 0.3}, {"animal": 0.9, "dog": 0.2, "cat": 0.3}),
        ({"Vehicle": 0.8, "Car": 0.6}, {"vehicle": 0.8}),
        ({"Vehicle": 0.8, "Helicopter": 0.6}, {"aircraft": 0.6}),
        ({"Music": 0.9, "Piano": 0.6}, {"instrument": 0.6}),
        ({"Music": 0.9, "Piano": 0.2}, {"music": 0.9, "instrument": 0.2}),
        ({"Music": 0.9, "Piano": 0.6, "Jazz": 0.4}, {"music": 0.4, "instrument": 0.6}),
        ({"Musical instrument": 0.7, "Music": 0.5}, {"instrument": 0.7, "music": 0.5}),
        ({"Speech": 0.9, "Music": 0.8}, {"speech": 0.9, "music": 0.8}),
    ],
)
def test_an_ancestor_is_no_second_group(heard: dict[str, float], groups: dict[str, float]) -> None:
    assert group_scores(heard) == groups


def test_one_thing_may_sound_in_several_ways() -> None:
    assert may_be_one("vehicle", "engine")
    assert may_be_one("dog", "animal")
    assert may_be_one("speech", "human")
    assert not may_be_one("dog", "cat")
    assert not may_be_one("speech", "music")


def test_nouns_come_by_score_and_are_specific() -> None:
    heard = {
        "Animal": 0.9,
        "Bark": 0.6,
        "Dog": 0.8,
        "Speech": 0.4,
        "Wind": 0.7,
        "Violin, fiddle": 0.2,
    }
    assert nouns_of(heard, 0.3) == ["dog", "person"]
    assert nouns_of(heard, 0.1) == ["dog", "person", "person playing violin", "violin"]
    assert nouns_of({"Animal": 0.9}, 0.3) == ["animal"]
    assert nouns_of({"Wind": 0.9, "Music": 0.8, "Silence": 0.7}, 0.3) == []


def tags(heard: list[dict[str, float]], level_dbfs: list[float], spoken: float = 0.0) -> Tags:
    """Of one window for each of `heard`."""
    scores_WK = np.array([[at.get(name, 0.0) for name in NAMES] for at in heard], np.float32)
    return tags_of(
        scores_WK,
        NAMES,
        level_dbfs_W=np.array(level_dbfs),
        speech_share_W=np.full(len(heard), spoken),
    )


def test_sparse_events_are_not_averaged_away() -> None:
    bark, hush = {"Animal": 0.95, "Dog": 0.9, "Bark": 0.8}, {"Silence": 0.9}
    found = tags([hush, bark, hush, hush, bark, hush], [-70, -20, -60, -60, -25, -70])
    assert found.scores == pytest.approx({**dict.fromkeys(found.scores, 0.0), "dog": 0.9})
    assert (found.details["num_sounding"], found.details["num_windows"]) == (2, 6)
    assert found.details["prevalence_dog"] == 1.0
    assert found.details["second_group_margin"] == pytest.approx(0.9)
    assert found.confidence == pytest.approx(0.95)
    assert next(iter(found.classes)) == "Animal"
    assert "silence" not in found.scores


def test_a_bed_under_the_events_shows() -> None:
    shot, bed = {"Gunshot, gunfire": 0.8}, {"Music": 0.9}
    found = tags([shot, bed, shot, bed], [-10, -35, -12, -36])
    assert found.scores["music"] == 0.0
    assert found.details["quiet_music"] == pytest.approx(0.9)
    assert "quiet_weapon" not in found.details


def test_music_and_instruments_are_told_apart() -> None:
    solo = tags([{"Music": 0.9, "Guitar": 0.8}], [-20]).details
    song = tags([{"Music": 0.95, "Pop music": 0.5, "Guitar": 0.2, "Drum": 0.15}], [-20]).details
    duo = tags([{"Music": 0.9, "Guitar": 0.6, "Flute": 0.5}], [-20]).details
    assert (solo["raw_music"], solo["raw_genre"]) == pytest.approx((0.9, 0.0))
    assert (song["raw_genre"], song["raw_instrument"]) == pytest.approx((0.5, 0.2))
    assert (duo["first_family"], duo["second_family"]) == pytest.approx((0.6, 0.5))
    assert solo["second_family"] == 0.0


def test_many_and_ambience_are_measured() -> None:
    details = tags([{"Crowd": 0.7, "Wind": 0.6}, {"Cheering": 0.5}], [-20, -22]).details
    assert details["kind_many"] == pytest.approx(0.6)
    assert details["kind_ambience"] == pytest.approx(0.3)
    assert details["kind_instance"] == 0.0


def test_what_sounds_beside_speech() -> None:
    heard = [{"Speech": 0.9, "Music": 0.4, "Laughter": 0.7}]
    assert tags(heard, [-20], spoken=0.8).details["beside_speech"] == pytest.approx(0.4)
    assert "beside_speech" not in tags(heard, [-20], spoken=0.2).details


def test_silence_has_no_tags() -> None:
    assert tags([{"Silence": 1.0}], [-90]) == Tags(scores={}, confidence=None)


def test_windows_reach_the_end() -> None:
    parts = windows(40_000, length=15_600, hop=7_680)
    assert parts.starts_W.tolist() == [0, 7_680, 15_360, 23_040, 24_400]
    assert windows(100, length=15_600, hop=7_680).starts_W.tolist() == [0]
    share_W = parts.speech_shares(
        Speech((Turn(1.0, 1.5),), 1.0), num_samples=40_000, sample_rate_hz=RATE_HZ
    )
    assert share_W[2] == pytest.approx(8_000 / 15_600)
    assert share_W[4] == 0.0


def test_rumble_does_not_count_as_level() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    parts = windows(RATE_HZ, length=RATE_HZ, hop=RATE_HZ)
    rumble_N, tone_N = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) for hz in (15.0, 440.0))
    assert parts.levels_dbfs(rumble_N, sample_rate_hz=RATE_HZ)[0] < -20
    assert parts.levels_dbfs(tone_N, sample_rate_hz=RATE_HZ)[0] == pytest.approx(-3.0, abs=0.5)
