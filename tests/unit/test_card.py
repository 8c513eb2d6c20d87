"""The dataset card: what comes from outside is shown, not obeyed."""

import re
from collections.abc import Sequence

import pytest
import yaml

from avipipe.manifests.card import CardFacts, ClipTally, DecisionFacts, render_card
from avipipe.manifests.dataset import DatasetIndex

NASTY = "<img src=x onerror=alert(1)>|[here](javascript:x) ![](http://h/p) `a` **b** _c_ $d$ ~e~"


DECISION = DecisionFacts("light", "3 clips", 0.6, {"max_x": 1.0})


SIZES = {"look.source_short_side_px": 360.0, "cut.width": 1280, "cut.height": 720}


def card(title: str, label: str, licence: str) -> str:
    tally = ClipTally()
    row = {"decision": "keep", "reason": "", "start_s": 0.0, "end_s": 2.0} | SIZES
    tally.add({**row, "caption.label": label, "licence": licence})
    facts = CardFacts(title, DECISION, [("tag", "a_b")], [], {"train": 1.0}, {"ok": 1})
    return render_card(DatasetIndex(config_hash="0", versions={}), tally, facts)


def test_nothing_from_outside_is_markup() -> None:
    text = card(NASTY, NASTY, f"CC0\n\n# Not a heading\x1b[31m\ud800 {NASTY}")
    text.encode()
    body = text.split("---\n", 2)[2]
    assert "<" not in re.sub(r"```.*?```", "", body, flags=re.DOTALL)
    assert not re.search(r"(?m)^# Not a heading", body)
    assert "\x1b" not in body
    for line in (line for line in body.splitlines() if "alert" in line):
        assert not re.search(r"(?<!\\)[`*\[\]~$]", line), line
        assert not re.search(r"(?<![\\\w])_|(?<!\\)_(?!\w)", line), line
    rows = [line for line in body.splitlines() if line.startswith("|") and "alert" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [4, 3]


def decision(decided: DecisionFacts, probabilities: Sequence[float | None] = ()) -> str:
    """The card's section about it."""
    tally = ClipTally()
    for probability in probabilities:
        times = {"start_s": 0.0, "end_s": 2.0, "probability": probability}
        tally.add(
            {"decision": "keep", "reason": "", "caption.label": "dog", "licence": "CC0"}
            | times
            | SIZES
        )
    tally.add({"decision": "drop", "reason": "silent", "probability": 0.01})
    facts = CardFacts("t", decided, [], [], {}, {})
    text = render_card(DatasetIndex(config_hash="0", versions={}), tally, facts)
    return text.split("## The decision\n")[1].split("\n## ")[0]


def test_it_says_what_decides_and_how_far_that_holds() -> None:
    text = decision(
        DecisionFacts(
            "light",
            "261 clips of 125 repositories",
            0.62,
            {"min_clip_s": 2.0, "max_speakers": 1.0},
            {"keep_precision": "0.91 (0.86 to 0.95)"},
            ["tag (ast@1)", "vad (other@2)"],
        ),
        [0.9, 0.7, None],
    )
    assert "is at least **0.62**" in text
    assert "numbers are `light`, fitted on 261 clips of 125 repositories." in text
    assert "Expected precision: 0.80, the mean probability of the 2 kept clips that have" in text
    assert "Not calibrated for tag (ast@1), vad (other@2):" in text
    assert "| keep_precision | 0.91 (0.86 to 0.95) |" in text
    assert "| min_clip_s | 2 |\n| max_speakers | 1 |" in text


def test_what_is_not_known_of_the_decision_is_not_said() -> None:
    text = decision(DecisionFacts("mine", "twelve clips", 0.5))
    assert "No hard limit is set." in text
    for absent in ("Expected precision", "Not calibrated", "Cross-validated"):
        assert absent not in text


def test_numbers_from_a_file_are_no_markup() -> None:
    text = decision(DecisionFacts(NASTY, NASTY, 0.5, {}, {NASTY: NASTY}, [NASTY]))
    assert "<" not in re.sub(r"`[^`]*`", "", text)
    (line,) = (line for line in text.splitlines() if "numbers are" in line)
    name = line.split("`")[1]
    assert name.startswith("<img")
    assert "a'" in name


def test_the_header_is_yaml_whatever_the_title() -> None:
    for title in (NASTY, 'a "b": c\n- d', "\ud800\x00"):
        header = yaml.safe_load(card(title, "dog", "CC0").split("---\n", 2)[1])
        assert header["license"] == "other"
        assert set(header) == {"pretty_name", "license", "task_categories", "tags"}


def test_plain_words_stay_as_they_are() -> None:
    text = card("Dogs & cats 2", "a brown_dog (young)", "CC-BY-4.0")
    assert "# Dogs &amp; cats 2\n" in text
    assert "| a brown_dog (young) | 1 | 0.00 |" in text
    assert "| CC-BY-4.0 | 1 |" in text


def test_an_overlong_label_is_cut() -> None:
    assert max(map(len, card("t", "x" * 10_000, "CC0").splitlines())) < 1000


@pytest.mark.parametrize(
    ("source_px", "told"), [(360.0, "1 of 1"), (720.0, "0 of 1"), (None, "0 of 1")]
)
def test_it_says_how_much_was_scaled_up(source_px: float | None, told: str) -> None:
    tally = ClipTally()
    row = {"decision": "keep", "reason": "", "start_s": 0.0, "end_s": 2.0, "caption.label": "dog"}
    tally.add({**row, **SIZES, "licence": "", "look.source_short_side_px": source_px})
    facts = CardFacts("t", DECISION, [], [], {}, {})
    text = render_card(DatasetIndex(config_hash="0", versions={}), tally, facts)
    assert f"{told} kept clips" in text


def test_rows_that_an_older_avipipe_published_are_counted() -> None:
    tally = ClipTally()
    row = {"decision": "keep", "reason": "", "start_s": 0.0, "end_s": 2.0, "licence": ""}
    tally.add({**row, "caption.label": "dog", "cut.width": 1280, "cut.height": 720})
    assert (tally.num_upscaled, tally.num_judged) == (0, 0)
