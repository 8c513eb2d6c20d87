"""Edits are judged over a real endpoint by a judge that looks, one that is biased, and broken ones.

Sources are blue and edits are red, so what a judge ought to say is known.
"""

import base64
import io
import json
import re
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from avipipe.cli import cli
from avipipe.errors import ConfigError
from avipipe.evaluate.cases import Case, completed, write_cases
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.judge import KEY_ENV, MODEL_ENV, URL_ENV, EditJudge
from avipipe.evaluate.measuring import CaseScores, measure
from avipipe.evaluate.metrics.checklist_judge import FIDELITY, INSTRUCTION, ChecklistItem
from avipipe.evaluate.metrics.five_acc import FiveQuestions
from avipipe.services.http import RetryPolicy
from tests.integration import lavfi
from tests.integration.chat_server import KEY, Answer, ChatServer, chat_server, says

FIVE = [f"fiveacc.{name}" for name in ("mean", "yesno", "choice", "either", "both", "swapped")]
ALL = [*FIVE, "fiveacc.generated", "obj.judge", "checklist.generated"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        colour: lavfi.write(
            folder / f"{colour}.mp4",
            video=f"color=c={colour}:s=64x48:r=24:d=0.75",
            audio=lavfi.sound(duration_s=0.75) if colour == "blue" else None,
        )
        for colour in ("blue", "red")
    }


@pytest.fixture
def case(clips: dict[str, Path]) -> Case:
    questions = FiveQuestions(
        source="Is there a blue wall?",
        target="Is there a red wall?",
        choice="What colour is the wall? a) blue b) red",
    )
    (found,) = completed(
        [
            Case(
                name="wall",
                method="ours",
                source=clips["blue"],
                edit=clips["red"],
                source_prompt="a blue wall",
                target_prompt="a red wall",
                target_label="red wall",
                questions=questions,
            )
        ],
        "test",
    )
    return found


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URL_ENV, MODEL_ENV, KEY_ENV):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(EditJudge, "retries", RetryPolicy(max_attempts=2, backoff_s=0.01))


def use(server: ChatServer, monkeypatch: pytest.MonkeyPatch, model: str = "tiny-vl") -> None:
    monkeypatch.setenv(URL_ENV, server.url)
    monkeypatch.setenv(MODEL_ENV, model)
    monkeypatch.setenv(KEY_ENV, KEY)


def parts_of(body: Mapping[str, Any]) -> list[Any]:
    parts: list[Any] = body["messages"][0]["content"]
    return parts


def text_of(body: Mapping[str, Any]) -> str:
    text: str = parts_of(body)[-1]["text"]
    return text


def colours_of(body: Mapping[str, Any]) -> list[str]:
    """What each picture of a request shows."""
    found = []
    for part in parts_of(body):
        if part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].split(",")[1])
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert picture is not None
            red, _, blue = picture.mean(axis=(0, 1))
            found.append("red" if red > blue else "blue")
    return found


def edited_of(body: Mapping[str, Any]) -> list[str]:
    """What the edited video's pictures show, in a message about both."""
    texts = [part.get("text", "[picture]") for part in parts_of(body)]
    before = texts[: texts.index("This is the edited video.")].count("[picture]")
    return colours_of(body)[before : before + texts.count("[picture]") // 2]


def looks(body: Mapping[str, Any], number: int) -> Answer:
    """A judge that sees the colour, and is not taken in by the order of anything."""
    text = text_of(body)
    if "response_format" in body:
        (colour,) = set(edited_of(body))
        answers = {"Q01": f"a {colour} wall" in text, "Q02": True}
        return listed({name: "Yes" if is_so else "No" for name, is_so in answers.items()})
    (colour,) = set(colours_of(body))
    options = re.search(r"a\) (.+) b\) (.+)", text)
    if options:
        return says("A" if colour in options[1] else "(b) that one")
    return says("Yes." if colour in text else "no")


def listed(answers: Mapping[str, str]) -> Answer:
    found = [{"question_id": name, "answer": answer} for name, answer in answers.items()]
    return says(json.dumps({"evaluations": found}))


def values(found: CaseScores) -> dict[str, float | None]:
    assert {score.status for score in found.scores.values()} == {"ok"}, found.scores
    return {name: score.value for name, score in found.scores.items()}


def test_a_judge_that_looks_tells_an_edit_from_a_copy(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = [each for each in controls_of([case], seed=0) if not each.problem]
    with chat_server(looks) as server:
        use(server, monkeypatch)
        own, *unedited = measure([case, *controls], ALL, tmp_path)
        num_asked = len(server.requests)
    # "(b) that one" is wrong by its first letter, and right by what it says.
    first_letters = {"fiveacc.mean": 0.5, "fiveacc.choice": 0.0, "fiveacc.both": 0.0}
    assert values(own) == {**dict.fromkeys(ALL, 1.0), **first_letters}
    assert [each.case.control for each in unedited] == ["copy", "frozen", "shifted"]
    assert [values(each) for each in unedited] == [dict.fromkeys(ALL, 0.0)] * 3
    assert num_asked == 2 * (4 + 4 + 1 + 2), "what looks alike is asked about once"
    assert [colours_of(body) for body in server.requests[:1]] == [["red"] * 3]
    assert server.requests[0]["temperature"] == 0
    orders = [colours_of(b) for b in server.requests if "response_format" in b][:2]
    assert orders == [["blue"] * 3 + ["red"] * 3, ["red"] * 3 + ["blue"] * 3]


def test_a_judge_with_a_liking_wins_only_where_nothing_is_swapped(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def likes(body: Mapping[str, Any], number: int) -> Answer:
        """Option b), and whatever comes last."""
        if "response_format" in body:
            texts = [part.get("text") for part in parts_of(body)]
            is_last = texts.index("This is the edited video.") > 0
            return listed({"Q01": "Yes" if is_last else "No", "Q02": "Yes"})
        if "a)" in text_of(body):
            return says("b")
        return says("yes" if "red" in text_of(body) else "no")

    names = ["fiveacc.choice", "fiveacc.mean", "fiveacc.swapped", "checklist.generated"]
    with chat_server(likes) as server:
        use(server, monkeypatch)
        (found,) = measure([case], names, tmp_path)
    assert list(values(found).values()) == [1.0, 1.0, 0.75, 0.5]


def test_a_second_run_asks_nothing_and_has_the_same_answers(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(looks) as server:
        use(server, monkeypatch)
        (first,) = measure([case], ALL, tmp_path)
        num_asked = len(server.requests)
        (second,) = measure([case], ALL, tmp_path)
        assert len(server.requests) == num_asked == 4 + 4 + 1 + 2
        assert values(second) == values(first)
        assert second.answers == first.answers
        assert len(first.answers) == num_asked
        assert first.answers[0].question.count("[picture]") == 3
        assert {each.answer for each in first.answers} >= {"Yes.", "no", "A", "(b) that one"}
        use(server, monkeypatch, model="other-vl")
        (third,) = measure([case], ALL, tmp_path)
        assert len(server.requests) == 2 * num_asked
        assert {each.judge for each in third.answers} == {"other-vl"}
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in stored


def test_without_a_judge_it_says_how_to_have_one(case: Case, tmp_path: Path) -> None:
    (found,) = measure([case], ALL, tmp_path)
    assert {score.status for score in found.scores.values()} == {"skipped"}
    assert all(f"{URL_ENV} and {MODEL_ENV}" in score.reason for score in found.scores.values())


def test_what_a_case_does_not_bring_is_told(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = case.model_copy(
        update={"questions": None, "source_prompt": "A red wall ", "target_prompt": "a red wall"}
    )
    names = ["fiveacc.mean", "checklist.given", "fiveacc.generated"]
    with chat_server(looks) as server:
        use(server, monkeypatch)
        (found,) = measure([bare], names, tmp_path)
        assert not server.requests
    statuses = {name: (each.status, each.reason) for name, each in found.scores.items()}
    assert statuses["fiveacc.mean"] == ("skipped", "the case has no questions of a benchmark")
    assert statuses["checklist.given"] == ("skipped", "the case has no checklist")
    assert statuses["fiveacc.generated"][0] == "undefined"
    assert "nothing to choose" in statuses["fiveacc.generated"][1]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Answer(503, b"busy"), "HTTP 503"),
        (says("  "), "empty answer"),
        (Answer(body=b"<html>"), "not a chat completion"),
    ],
)
def test_what_failed_is_asked_again_and_what_was_answered_is_not(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Answer, reason: str
) -> None:
    def fails_at_choices(body: Mapping[str, Any], number: int) -> Answer:
        return broken if "a)" in text_of(body) else looks(body, number)

    with chat_server(fails_at_choices) as server:
        use(server, monkeypatch)
        (found,) = measure([case], ["fiveacc.mean"], tmp_path)
        assert found.scores["fiveacc.mean"].status == "failed"
        assert reason in found.scores["fiveacc.mean"].reason
        assert len(found.answers) == 2, "they are kept"
        server.requests.clear()
        server.respond = looks
        (mended,) = measure([case], ["fiveacc.mean"], tmp_path)
        assert mended.scores["fiveacc.mean"].status == "ok"
        assert ["a)" in text_of(body) for body in server.requests] == [True]


def test_an_answer_that_says_neither_is_undefined(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(lambda body, number: says("I cannot\x1b tell.")) as server:
        use(server, monkeypatch)
        (found,) = measure([case], ["fiveacc.swapped", "fiveacc.mean"], tmp_path)
    swapped = found.scores["fiveacc.swapped"]
    assert (swapped.status, found.scores["fiveacc.mean"].value) == ("undefined", 0.0)
    assert "neither yes nor no" in swapped.reason
    assert "\x1b" not in swapped.reason


def test_a_list_may_ask_about_the_sound(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = (
        ChecklistItem("A", "Is the wall red?", INSTRUCTION, "video"),
        ChecklistItem("B", "Is the beep still there?", FIDELITY, "audio"),
    )

    def hears(body: Mapping[str, Any], number: int) -> Answer:
        sounds = [part["input_audio"] for part in parts_of(body) if part["type"] == "input_audio"]
        if not sounds:
            return listed({"A": "Yes"})
        (sound,) = sounds
        with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as wav:
            assert (wav.getframerate(), wav.getnchannels(), wav.getnframes()) == (16000, 1, 12000)
        assert not colours_of(body)
        assert {"type": "text", "text": "It has no sound."} in parts_of(body)
        # Once yes and once no: the judge contradicts itself.
        first = parts_of(body)[0]["text"]
        return listed({"B": "Yes" if first == "This is the source video." else "No"})

    names = ["checklist.given", "checklist.intent", "checklist.agreement"]
    with chat_server(hears) as server:
        use(server, monkeypatch)
        given = case.model_copy(update={"checklist": items})
        (found,) = measure([given], names, tmp_path)
        assert len(server.requests) == 4
    assert list(values(found).values()) == [0.75, 0.5, 0.5]


def test_a_list_that_cannot_be_read_may_be_mended_once(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mends(body: Mapping[str, Any], number: int) -> Answer:
        return looks(body, number) if len(body["messages"]) > 1 else says("It looks fine.")

    with chat_server(mends) as server:
        use(server, monkeypatch)
        (found,) = measure([case], ["checklist.generated"], tmp_path)
        assert values(found) == {"checklist.generated": 1.0}
        server.respond = lambda body, number: says("It looks fine.")
        worse = case.model_copy(update={"target_prompt": "a green wall"})
        (found,) = measure([worse], ["checklist.generated"], tmp_path)
    assert found.scores["checklist.generated"].status == "failed"
    assert "two replies" in found.scores["checklist.generated"].reason


@pytest.mark.parametrize("status", [401, 404])
def test_what_every_question_would_get_stops_the_run(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with chat_server(lambda body, number: Answer(status, b"no")) as server:
        use(server, monkeypatch)
        with pytest.raises(ConfigError, match=f"HTTP {status}") as caught:
            measure([case, case], ALL, tmp_path)
        assert len(server.requests) == 1
    assert (KEY_ENV if status == 401 else MODEL_ENV) in str(caught.value)
    assert KEY not in str(caught.value)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["eval", *words])


def test_the_command_keeps_the_answers_beside_the_report(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(out: Path) -> Result:
        asked = ("--metric=fiveacc.swapped", "--no-controls", "--workers=1")
        return invoke("run", f"--cases={tmp_path / 'cases.jsonl'}", f"--out={out}", *asked)

    write_cases(tmp_path / "cases.jsonl", [case])
    one, two = tmp_path / "one", tmp_path / "two"
    with chat_server(lambda body, number: Answer(401, b"no")) as server:
        use(server, monkeypatch)
        refused = judged(one)
        assert isinstance(refused.exception, ConfigError), refused.output
        server.respond = looks
        for out, model in ((one, "tiny-vl"), (two, "large-vl")):
            use(server, monkeypatch, model)
            assert judged(out).exit_code == 0
    lines = [json.loads(line) for line in (one / "judge.jsonl").read_text().splitlines()]
    assert [(line["name"], line["method"], line["judge"]) for line in lines] == [
        ("wall", "ours", "tiny-vl")
    ] * 4
    assert {line["answer"] for line in lines} == {"no", "Yes.", "A", "(b) that one"}
    facts = json.loads((one / "run.json").read_text())["metrics"]["fiveacc.swapped"]
    assert (facts["judge"], facts["weights"]) == ("tiny-vl", [])
    (change,) = json.loads(invoke("diff", str(one), str(two), "--json").output)
    assert change["difference"] is None
    assert "judge" in change["reason"]
    monkeypatch.delenv(MODEL_ENV)
    assert invoke("merge", str(one), f"--out={tmp_path / 'merged'}").exit_code == 0
    for name in ("judge.jsonl", "clips.parquet"):
        assert (tmp_path / "merged" / name).read_bytes() == (one / name).read_bytes()
    merged = json.loads((tmp_path / "merged/run.json").read_text())
    assert merged["metrics"]["fiveacc.swapped"]["judge"] == "tiny-vl"
