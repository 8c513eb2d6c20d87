"""What captioning models say, read strictly; and the one chance that they get to mend it."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avipipe.annotators.base import SceneCaption
from avipipe.annotators.full.caption_reply import (
    MAX_CAPTION_CHARS,
    MAX_LABEL_CHARS,
    Reply,
    parse,
    request_caption,
)
from avipipe.errors import AnnotatorError, FailKind
from avipipe.services.reply import MAX_REPLY_CHARS, Message, ReplyError

TEXT = "A brown dog barks beside a fence."
GOOD = json.dumps({"caption": TEXT, "label": "brown dog", "sounding": 0.75})
CAPTION = SceneCaption(TEXT, "brown dog", 0.75)
QUESTION = Message("user", ("What is it?",))


def reply(**changed: object) -> str:
    return json.dumps(json.loads(GOOD) | changed)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here is the JSON {{as you asked}}:\n{GOOD}\nAnything else?",
        f"<think>A dog? {{'caption': }} {reply(caption='A cat meows loudly.')}</think>\n{GOOD}",
        json.dumps({"answer": json.loads(GOOD)}),
        reply(note="more than was asked for"),
        reply(caption=f"  {TEXT.replace(' ', chr(10) + chr(9), 1)} "),
        reply(label="A brown dog."),
        f'{{"caption": "...", "label": "..."}}\n{GOOD}',
    ],
)
def test_the_object_is_found_in_what_surrounds_it(text: str) -> None:
    assert parse(text) == CAPTION


def test_a_model_may_not_know_what_sounds() -> None:
    assert parse(reply(sounding=None)).confidence is None
    assert parse(json.dumps({"caption": TEXT, "label": "dog"})).confidence is None
    assert parse(reply(sounding=1)).confidence == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "reply is empty"),
        ("<think>all thought and no answer</think>", "reply is empty"),
        ("A brown dog barks.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        (GOOD[:-5], "is broken"),
        (GOOD.replace('"', "'"), "is broken"),
        ('{"about": {"label": "dog"}, "caption": "A dog barks and then', "is broken"),
        ('{"a":' * 3000, "is broken"),
        (f"{{{'9' * 5000}}}", "is broken"),
        ('{"caption": ' + "9" * 5000 + "}", "is broken"),
        ("{}", "`caption`: Field required"),
        (reply(caption="  \n "), "`caption`: must not be empty"),
        (reply(caption=None), "`caption`: Input should be a valid string"),
        (reply(caption=["A dog", "barks"]), "`caption`: Input should be a valid string"),
        (reply(caption="..."), "`caption`: must be an English sentence"),
        (reply(caption="dog dog " * 200), f"at most {MAX_CAPTION_CHARS} characters"),
        (reply(caption="A dog \x1b[31m barks loudly."), "`caption`: must not hold control"),
        (reply(caption="A dog \ud83d barks loudly."), "`caption`: must not hold control"),
        (reply(caption="A dog in a magenta rectangle barks."), "found 'magenta rectangle'"),
        (reply(label=""), "`label`: must not be empty"),
        (reply(label="the ..."), "`label`: must name the instance"),
        (reply(label="dog " * 30), f"at most {MAX_LABEL_CHARS} characters"),
        (reply(label=7), "`label`: Input should be a valid string"),
        (reply(sounding="high"), "`sounding`: Input should be a valid number"),
        (reply(sounding=True), "`sounding`: Input should be a valid number"),
        (reply(sounding=1.5), "`sounding`: Input should be less than or equal to 1"),
        (reply(sounding=float("nan")), "`sounding`"),
        (reply(caption="", label=""), "`label`: must not be empty"),
        ("{" * MAX_REPLY_CHARS * 2, "characters long"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, message: str) -> None:
    with pytest.raises(ReplyError) as caught:
        parse(text)
    assert message in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PIECES = st.sampled_from(["{", "}", '"', "```json", "<think>", "</think>", ",", GOOD, TEXT])


@given(
    st.lists(PIECES | st.text(max_size=20), max_size=12).map("".join)
    | st.fixed_dictionaries({"caption": JSON, "label": JSON, "sounding": JSON}).map(json.dumps)
)
def test_whatever_comes_is_a_caption_or_a_named_fault(text: str) -> None:
    try:
        caption = parse(text)
    except ReplyError:
        assert text != GOOD
    else:
        assert caption.text == caption.text.strip()
        assert 0 < len(caption.text.encode()) <= 4 * MAX_CAPTION_CHARS
        assert 0 < len(caption.label) <= MAX_LABEL_CHARS
        assert caption.confidence is None or 0 <= caption.confidence <= 1


class Script:
    """A model that says what it is told to, and remembers what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[Sequence[Message]] = []

    def __call__(self, messages: Sequence[Message]) -> str:
        self.asked.append(messages)
        return self.replies.pop(0)


def test_a_good_reply_needs_no_second_one() -> None:
    model = Script(GOOD)
    assert request_caption(model, QUESTION) == CAPTION
    assert model.asked == [[QUESTION]]


def test_a_bad_reply_is_told_why_once() -> None:
    model = Script(reply(label=7), GOOD)
    assert request_caption(model, QUESTION) == CAPTION
    question, said, complaint = model.asked[1]
    assert question == QUESTION
    assert (said.role, said.content) == ("assistant", (reply(label=7),))
    assert complaint.role == "user"
    assert "`label`: Input should be a valid string" in str(complaint.content)


def test_two_bad_replies_are_the_items_failure() -> None:
    model = Script("woof \x1b[31m", reply(caption=""), GOOD)
    with pytest.raises(AnnotatorError) as caught:
        request_caption(model, QUESTION)
    assert caught.value.kind is FailKind.ANNOTATOR_FAILED
    assert "no JSON object" in str(caught.value)
    assert "`caption`: must not be empty" in str(caught.value)
    assert "woof" in caught.value.log_tail
    assert "\x1b" not in caught.value.log_tail
    assert model.replies == [GOOD], "there is no third attempt"


def test_the_schema_is_what_strict_servers_want() -> None:
    schema = Reply.model_json_schema()
    assert schema["additionalProperties"] is False
    assert sorted(schema["required"]) == sorted(schema["properties"])
