"""Plans that are read by rule from plain English."""

import numpy as np
import pytest

from avipipe.audio_agent.embedded.plan import RulePlanner
from avipipe.audio_agent.schema import EditPlan
from avipipe.audio_agent.tools import Sound, Task
from avipipe.errors import AnnotatorError, ConfigError

SOUND = Sound(np.zeros((1, 80_000), np.float32), 16_000)


def plan(instruction: str) -> EditPlan:
    return RulePlanner().plan(Task(SOUND, instruction), None)


@pytest.mark.parametrize(
    ("instruction", "mode", "removed", "made"),
    [
        ("remove the dog barking", "remove", [("dog barking", "sfx")], []),
        ("Get rid of the music.", "remove", [("music", "music")], []),
        ("keep only the speech", "keep", [("speech", "speech")], []),
        ("add a knock at 2 s", "remove", [], [("knock", "sfx")]),
        (
            "replace the sound of a dog's barking with a car horn",
            "remove",
            [("dog barking", "sfx")],
            [("car horn", "sfx")],
        ),
        (
            "remove the music and add rain",
            "remove",
            [("music", "music")],
            [("rain", "sfx")],
        ),
        (
            'make the man say "good morning"',
            "remove",
            [("speech", "speech")],
            [("good morning", "speech")],
        ),
    ],
)
def test_what_is_read(
    instruction: str, mode: str, removed: list[tuple[str, str]], made: list[tuple[str, str]]
) -> None:
    read = plan(instruction)
    assert read.mode == mode
    assert [(removal.query, removal.kind) for removal in read.c_sep] == removed
    assert [(new.prompt, new.kind) for new in read.c_gen] == made


def test_times_become_spans() -> None:
    assert [(s.start_s, s.end_s) for s in plan("add a knock at 1 s and 2.5 s").c_gen[0].spans] == [
        (1.0, 1.5),
        (2.5, 3.0),
    ]
    (removal,) = plan("remove the noise from 1 to 3.5 seconds").c_sep
    assert [(s.start_s, s.end_s) for s in removal.spans] == [(1.0, 3.5)]


@pytest.mark.parametrize("instruction", ["make it nicer", "hello", "remove it", "add 3"])
def test_what_names_nothing_is_refused_with_examples(instruction: str) -> None:
    with pytest.raises(AnnotatorError, match="say it like"):
        plan(instruction)


def test_times_after_the_end_are_refused() -> None:
    with pytest.raises(AnnotatorError, match=r"9 s, the audio lasts 5\.00 s"):
        plan("add a knock at 9 s")


def test_an_empty_instruction_is_refused() -> None:
    with pytest.raises(ConfigError, match="instruction is empty"):
        Task(SOUND, "  ")
