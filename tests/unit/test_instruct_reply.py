"""What a model that proposes edits must answer."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from avipipe.annotators.full.instruct_prompt import edit_question
from avipipe.annotators.full.instruct_reply import parse_edits, request_edits
from avipipe.manifests.edits import EDIT_KINDS, EditKind
from avipipe.services.reply import BrokenReplyError, Message, ReplyError

CAPTION = {"text": "A brown dog barks in a park.", "label": "brown dog", "backend": "x@1"}
GOOD: dict[str, Any] = {
    "kind": "other_class",
    "target_caption": "A cat meows in a park.",
    "target_label": "cat",
    "instruction": "Replace the dog with a cat.",
    "sound_instruction": "Let a cat meow.",
}
DELETED: dict[str, Any] = {
    "kind": "delete",
    "target_caption": "A park, empty and quiet.",
    "target_label": None,
    "instruction": "Remove the dog.",
    "sound_instruction": "Remove the barking.",
}


def answer(*edits: dict[str, Any]) -> str:
    return json.dumps({"edits": list(edits)})


def parsed(text: str, kinds: Sequence[EditKind] = ("other_class",)) -> list[str | None]:
    return [each.target_label for each in parse_edits(text, caption=CAPTION, kinds=kinds)]


def test_good_edits_come_in_the_order_they_were_asked_for() -> None:
    text = f"```json\n{answer(DELETED, GOOD)}\n```"
    assert parsed(text, ("other_class", "delete")) == ["cat", None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "insert"}, "expected one edit each of other_class, found insert"),
        ({"kind": "resize"}, "kind"),
        ({"target_label": None}, "target_label must name what is there"),
        ({"target_label": "galaxy"}, "must be a common thing that sounds, not 'galaxy'"),
        ({"target_label": "puppy"}, "of another class than the dog"),
        ({"target_label": "horse"}, "the target caption must name the horse"),
        ({"target_caption": CAPTION["text"]}, "must differ from the caption"),
        ({"target_caption": "Cat."}, "must be an English sentence"),
        ({"instruction": "Replace it with a cat."}, "must name the dog"),
        ({"instruction": "Replace the dog."}, "must name the cat"),
        ({"instruction": ""}, "must not be empty"),
        ({"instruction": "the dog " * 100}, "a sentence of at most 300"),
        ({"sound_instruction": None}, "sound_instruction must say how"),
    ],
)
def test_what_names_things_that_are_not_there_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReplyError, match=message):
        parsed(answer({**GOOD, **change}))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({**DELETED, "target_label": "dog"}, "target_label must be null"),
        ({**DELETED, "target_caption": "A park without a dog."}, "must not name the dog"),
        (
            {**GOOD, "kind": "attribute", "target_label": "dog"},
            "the sound stays, so sound_instruction must be null",
        ),
        ({**GOOD, "kind": "insert"}, "target_label must name a dog"),
    ],
)
def test_an_edit_goes_with_its_kind(edit: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        parsed(answer(edit), (edit["kind"],))


def test_a_bad_reply_is_sent_back_once_with_what_is_wrong() -> None:
    heard: list[str] = []

    def model(messages: Sequence[Message]) -> str:
        heard.append(str(messages[-1].content[0]))
        return answer(GOOD if len(heard) == 2 else {**GOOD, "instruction": "Do it."})

    question = Message("user", ("Propose edits.",))
    (found,) = request_edits(model, question, caption=CAPTION, kinds=["other_class"])
    assert found.target_caption == "A cat meows in a park."
    assert "`other_class`: the instruction must name the dog" in heard[1]
    with pytest.raises(BrokenReplyError, match="no usable edits in two replies"):
        request_edits(lambda said: "No.", question, caption=CAPTION, kinds=["other_class"])


def test_the_question_shows_the_instance_and_names_the_kinds() -> None:
    evidence = {
        "caption": CAPTION,
        "cut": {"duration_s": 2.0},
        "mask": {"boxes": [[0.2, 0.2, 0.6, 0.6]] * 9, "box_step_frames": 6},
    }
    frames_THWC = np.zeros((4, 36, 64, 3), np.uint8)
    content = edit_question(frames_THWC, evidence=evidence, kinds=EDIT_KINDS).content
    assert sum(isinstance(part, np.ndarray) for part in content) == 4
    assert "instance outlined" in content[2]
    for said in (CAPTION["text"], "the brown dog", *EDIT_KINDS):
        assert said in content[-1]
