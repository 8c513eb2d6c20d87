"""The dataset card: what comes from outside is shown, not obeyed."""

import re

import yaml

from avipipe.manifests.card import CardFacts, Tally, render_card
from avipipe.manifests.dataset import DatasetIndex

NASTY = "<img src=x onerror=alert(1)>|[here](javascript:x) ![](http://h/p) `a` **b** _c_ $d$ ~e~"


def card(title: str, label: str, licence: str) -> str:
    tally = Tally()
    row = {"decision": "keep", "reason": "", "start_s": 0.0, "end_s": 2.0}
    tally.add({**row, "caption.label": label, "licence": licence})
    facts = CardFacts(title, {"max_x": 1.0}, [("tag", "a_b")], [], {"train": 1.0}, {"ok": 1})
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
