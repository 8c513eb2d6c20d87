"""What is heard against what is seen: the tables, and the backends without a model."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avipipe.annotators import audioset
from avipipe.annotators.coco import NAMES
from avipipe.annotators.match.classes import explanation
from avipipe.annotators.match.table import (
    PLAYED,
    heard_sources,
    imagenet_nouns,
    makers,
    sources,
    things,
    things_named,
)
from avipipe.annotators.registry import BACKENDS, create, profile

UNSEEN = {"Alarm", "Smoke detector, smoke alarm", "Fire alarm", "Beep, bleep"}
"""Made by one thing that none of the tables' names shows."""


def match(
    matcher: Any, labels: list[str], heard: Mapping[str, float] | None = None
) -> list[float | None]:
    matcher.setup()
    found: list[float | None] = matcher.match(
        [np.zeros((2, 4, 4, 3), np.uint8)] * len(labels),
        labels=labels,
        heard=heard,
        fps=Fraction(24),
        wav_N=np.zeros(0, np.float32),
        sample_rate_hz=0,
    )
    return found


def test_every_class_of_audioset_has_its_sources_in_its_order() -> None:
    assert list(makers()) == list(audioset.classes())
    assert len(makers()) == 527
    for name, entry in audioset.classes().items():
        if entry.kind in ("ambience", "none"):
            assert not makers()[name] or name == "Hiss"
        elif entry.kind in ("instance", "many"):
            assert bool(makers()[name]) == (name not in UNSEEN), name


def test_the_tables_name_nothing_that_no_picture_shows() -> None:
    seen = {*NAMES, *imagenet_nouns().values(), "face", "hand"}
    assert things() <= seen
    assert set(imagenet_nouns().values()) <= things(), "nouns without a sound have no use"
    assert all(source.things for source in sources().values())
    used = {source.name for made_by in makers().values() for source in made_by}
    assert used == set(sources()), "a source that makes no sound has no use"


def test_imagenet_numbers_are_its_own() -> None:
    nouns = imagenet_nouns()
    assert set(nouns) <= set(range(1, 1001))
    numbers = (8, 161, 285, 341, 403, 542, 588, 595, 764, 817, 818, 890)
    expected = "cock dog cat zebra acoustic_guitar drum hammer harp revolver - car violin"
    found = [nouns.get(number, "-").replace(" ", "_") for number in numbers]
    assert found == expected.split()


@pytest.mark.parametrize(
    ("thing", "heard", "expected"),
    [
        ("dog", {"Bark": 0.9, "Animal": 0.9}, 1.0),
        ("dog", {"Animal": 0.6}, 1.0),
        ("dog", {"Bark": 0.3}, 0.5),
        ("cat", {"Bark": 0.9}, 0.0),
        ("bird", {"Chirp, tweet": 0.7}, 1.0),
        ("car", {"Idling": 0.8}, 1.0),
        ("train", {"Vehicle": 0.6, "Car": 0.1}, 1.0),
        ("person", {"Speech": 0.6}, 1.0),
        ("face", {"Singing": 0.6}, 1.0),
        ("harp", {"Music": 0.6}, 1.0),
        ("drum", {"Guitar": 0.9}, 0.0),
        ("person", {"Guitar": 0.9}, PLAYED),
        ("revolver", {"Gunshot, gunfire": 0.6}, 1.0),
        ("hammer", {"Tools": 0.6}, 1.0),
        ("toilet", {"Toilet flush": 0.6}, 1.0),
        ("person", {"Wind": 0.9, "Jazz": 0.9}, 0.0),
        ("traffic light", {"Car": 0.9}, None),
        ("a word", {"Car": 0.9}, None),
    ],
)
def test_how_well_a_thing_explains_what_is_heard(
    thing: str, heard: dict[str, float], expected: float | None
) -> None:
    found = explanation(thing, heard)
    assert found == (None if expected is None else pytest.approx(expected))


def test_the_best_of_what_a_thing_can_make_counts() -> None:
    heard = {"Speech": 0.2, "Guitar": 0.6, "Bark": 0.1}
    assert explanation("person", heard) == pytest.approx(max(0.2 / 0.6, PLAYED))
    assert heard_sources(heard) == {"guitar": 0.6, "voice": 0.2, "dog": 0.1}
    assert list(heard_sources(heard)) == ["guitar", "voice", "dog"]
    assert heard_sources({"Dog": 0.4, "Bark": 0.7, "Yip": 0.1}) == {"dog": 0.7}


def test_nouns_of_sounds_stand_for_things() -> None:
    assert things_named("dog") == {"dog"}
    assert "acoustic guitar" in things_named("person playing guitar")
    assert things_named("drum kit") >= {"drum", "drumstick"}
    assert "person" in things_named("singer")
    assert things_named("no such noun") == frozenset()
    lost = {
        noun
        for name, entry in audioset.classes().items()
        for noun in entry.nouns
        if makers()[name] and not things_named(noun)
    }
    assert lost == set()


def test_the_backend_says_how_well_each_thing_explains_the_sound() -> None:
    matcher = create("match", "classes")
    assert match(matcher, ["dog", "car", "vase"], {"Bark": 0.9}) == [1.0, 0.0, None]
    assert match(matcher, ["dog", "car"], {}) == [None, None]
    assert match(matcher, ["dog", "car"]) == [None, None]
    assert match(matcher, [], {"Bark": 0.9}) == []


def test_without_a_model_nothing_is_claimed() -> None:
    matcher = create("match", profile("embedded")["match"])
    assert match(matcher, ["dog", "car", "dog"], {"Bark": 0.9}) == [None, None, None]


@pytest.mark.parametrize("name", ["none", "classes"])
def test_what_does_not_listen_has_no_weights(name: str) -> None:
    matcher = create("match", name)
    assert (matcher.name, matcher.sample_rate_hz, dict(matcher.weights)) == (name, 0, {})
    assert name in BACKENDS["match"]
