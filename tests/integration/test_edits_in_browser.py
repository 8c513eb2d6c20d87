"""A person at the edit pairs of a review page: correct, reject, take back, hand on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from avipipe.manifests.corrections import Corrections, read_corrections
from avipipe.manifests.labels import read_labels
from avipipe.pages.film import Film
from avipipe.pipeline.review.page import Page, PageClip, render
from tests.browser import in_browser
from tests.edit_pairs import edit_pair
from tests.tab import Tab

pytestmark = in_browser

HOSTILE = """</script><script>window.owned = true</script><img src=x onerror="alert(1)">"""
CAT = edit_pair(sound_instruction="replace the barking with meowing", precision=2)
GONE = edit_pair("delete", instruction=HOSTILE)
VOICE = edit_pair("sound", target_caption=CAT.source_caption)
KNOWN = ("clip-1", "clip-2")


def page_of(*clips: PageClip) -> str:
    return render(Page("set", "set-1", 0, 9, clips), [Film(64, 64, 24, "AAAA") for _ in clips])


def page_clip(name: str, edits: tuple[dict[str, object], ...]) -> PageClip:
    return PageClip(
        clip_id=name,
        decision="keep",
        reason="",
        because="",
        probability=None,
        source="/a.mp4",
        start_s=0.0,
        end_s=1.0,
        label="dog",
        caption="A dog barks in a garden.",
        no_mask="No mask.",
        points=(),
        heard=(),
        width=64,
        height=64,
        num_frames=24,
        edits=edits,
        max_precision=4,
    )


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    edits = tuple(pair.model_dump() for pair in (CAT, GONE, VOICE))
    path = tmp_path / "review.html"
    path.write_text(page_of(page_clip("clip-1", edits), page_clip("clip-2", ())))
    with Tab(tmp_path / "browser") as tab:
        tab.open(path)
        yield tab
        assert tab.console == []
        assert tab.run("window.owned === undefined")


def card(tab: Tab, name: str) -> str:
    text: str = tab.run(f"""document.querySelector('[data-pair="{name}"]').innerText""")
    return text


def press_button(tab: Tab, pair: str, words: str) -> None:
    tab.run(
        f"""[...document.querySelectorAll('[data-pair="{pair}"] button')]"""
        f".find((button) => button.textContent === '{words}').click()"
    )


def write(tab: Tab, **fields: str) -> None:
    for name, text in fields.items():
        tab.run(f"corrector_form.elements.{name}.value = {json.dumps(text)}")


def exported(tab: Tab) -> Corrections:
    for earlier in tab.downloads.glob("*"):
        earlier.unlink()
    tab.press("x")
    return read_corrections(tab.downloaded("edits-set-1-*.jsonl"), KNOWN)


def said(tab: Tab) -> str:
    text: str = tab.run("part('said').innerText")
    return text


def test_what_is_corrected_and_rejected_is_handed_on(tab: Tab) -> None:
    assert "replace the dog with a cat" in card(tab, "same_class-1")
    assert "dog \u2192 cat \u00b7 mask p = 2" in card(tab, "same_class-1")
    assert "Sound: replace the barking with meowing" in card(tab, "same_class-1")
    assert "dog \u2192 nothing" in card(tab, "delete-1")
    assert HOSTILE in card(tab, "delete-1")
    assert "Sound: stays" in card(tab, "sound-1")
    tab.press("x")
    assert said(tab) == "No edit is corrected or rejected yet."

    tab.run("part('reviewer').value = 'Ada'")
    press_button(tab, "same_class-1", "Correct")
    assert tab.run("corrector.open")
    write(tab, target_caption="A lion roars in a  garden. ", target_label="lion", precision="4")
    write(tab, sound_instruction="")
    tab.press("k")  # keys of the review do nothing meanwhile
    tab.click("#corrector-save")
    assert not tab.run("corrector.open")
    press_button(tab, "delete-1", "Reject")
    changes = {"target_caption": "A lion roars in a garden.", "target_label": "lion"}
    mended = CAT.model_copy(
        update={**changes, "precision": 4, "sound_instruction": None, "made_by": "person"}
    )
    assert exported(tab) == {"clip-1": {"same_class-1": mended, "delete-1": None}}
    lines = [json.loads(line) for line in tab.downloaded("*.jsonl").read_text().splitlines()]
    assert {line["reviewer"] for line in lines} == {"Ada"}
    assert "lion" in card(tab, "same_class-1")
    assert "rejected" in card(tab, "delete-1")

    # It stays, and is taken back: by undo, or one by one.
    tab.reload()
    assert "corrected" in card(tab, "same_class-1")
    tab.press("z")
    assert "rejected" not in card(tab, "delete-1")
    press_button(tab, "same_class-1", "As it was")
    tab.press("x")
    assert said(tab) == "No edit is corrected or rejected yet."
    tab.press("z")
    assert exported(tab) == {"clip-1": {"same_class-1": mended}}


def test_verdicts_are_a_file_of_their_own(tab: Tab) -> None:
    press_button(tab, "delete-1", "Reject")
    tab.press("k")
    assert tab.run("part('edits').hidden"), "the next clip has none"
    tab.press("e")
    (label,) = read_labels(tab.downloaded("labels-*.jsonl"), KNOWN)
    assert (label.clip_id, label.verdict) == ("clip-1", "keep")
    assert exported(tab) == {"clip-1": {"delete-1": None}}


def test_what_is_no_pair_is_not_saved(tab: Tab) -> None:
    cases = [
        ({"instruction": " "}, "Say the instruction."),
        ({"target_label": ""}, "Say what it becomes."),
        ({"target_caption": CAT.source_caption}, "The captions have to differ."),
        ({"precision": "5"}, "The precision is a whole number from 0 to 4."),
        ({"precision": ""}, "The precision is a whole number from 0 to 4."),
    ]
    for fields, wrong in cases:
        press_button(tab, "same_class-1", "Correct")
        write(tab, **fields)
        tab.click("#corrector-save")
        assert tab.run("part('corrector-wrong').innerText") == wrong
        tab.press("Escape")
        tab.wait("!corrector.open")
        assert "corrected" not in card(tab, "same_class-1")


def test_an_import_goes_on_from_an_export(tab: Tab, tmp_path: Path) -> None:
    press_button(tab, "delete-1", "Reject")
    press_button(tab, "sound-1", "Reject")
    exported(tab)
    path = tab.downloaded("*.jsonl")
    text = path.read_text()
    path.write_text(text + text.replace("sound-1", "sound-9").splitlines()[1] + "\n")
    press_button(tab, "delete-1", "As it was")
    press_button(tab, "sound-1", "As it was")
    press_button(tab, "delete-1", "Correct")
    write(tab, instruction="remove the dog")
    tab.click("#corrector-save")
    tab.choose_file("#file", path)
    tab.wait("part('said').textContent.includes('imported')")
    assert "1 of 3 lines imported" in said(tab)
    assert "1 say otherwise" in said(tab)
    assert "rejected" in card(tab, "sound-1")
    assert "corrected" in card(tab, "delete-1")


def test_the_edits_fit_a_small_window(tab: Tab) -> None:
    tab.resize(360, 800, mobile=True)
    assert tab.run("document.documentElement.scrollWidth") <= 360
    press_button(tab, "same_class-1", "Correct")
    assert tab.run("corrector.getBoundingClientRect().right") <= 360
    assert tab.run("corrector_form.scrollWidth <= corrector_form.clientWidth")
