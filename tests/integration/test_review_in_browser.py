"""A person at the review page: keys, undo, reload, export and import, in headless Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avipipe.manifests import rle
from avipipe.manifests.labels import ReviewLabel, read_labels
from avipipe.manifests.rle import MaskTrack, read_masks
from avipipe.pages.film import Film
from avipipe.pipeline.review.page import Page, PageClip, Point, render
from tests.browser import in_browser
from tests.integration.builds import avipipe
from tests.integration.masking import Drawing, box
from tests.integration.reviewing import ReviewPage, read_page
from tests.tab import Tab

pytestmark = in_browser

HOSTILE = """</script><script>window.owned = true</script><img src=x onerror="alert(1)">"""

TINT = """(([height, width]) => {
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(overlay, 0, 0, width, height);
  const { data } = copy.getImageData(0, 0, width, height);
  return Array.from({ length: width * height }, (_, n) => data[4 * n + 3]);
})"""
"""How opaque what is drawn over the video is, row by row, at a size of (height, width)."""


@pytest.fixture(scope="module")
def page_path(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("review") / "review.html"
    done = avipipe("review", built, "--out", path)
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="module")
def page(page_path: Path) -> ReviewPage:
    return read_page(page_path)


@pytest.fixture
def tab(tmp_path: Path, page_path: Path) -> Iterator[Tab]:
    with Tab(tmp_path / "browser") as tab:
        tab.open(page_path)
        yield tab
        assert tab.console == []
        others = [url for url in tab.requests if not url.startswith(("file://", "blob:"))]
        assert others == []


def shown(tab: Tab, name: str) -> str:
    """The text of an element; empty where it is hidden."""
    text: str = tab.run(f"(e => e.checkVisibility() ? e.innerText : '')(part('{name}'))")
    return text


def exported(tab: Tab, page: ReviewPage) -> list[ReviewLabel]:
    """What comes of the export key."""
    for earlier in tab.downloads.glob("*"):
        earlier.unlink()
    tab.press("e")
    return read_labels(downloaded(tab), page.clips)


def downloaded(tab: Tab) -> Path:
    return tab.downloaded("*.jsonl")


def verdicts(labels: list[ReviewLabel]) -> dict[str, str]:
    return {label.clip_id: label.verdict for label in labels}


def go_to(tab: Tab, page: ReviewPage, **wanted: Any) -> dict[str, Any]:
    """Press the arrow until the clip shown is as wanted."""
    for _ in page.clips:
        clip: dict[str, Any] = page.data["clips"][tab.run("state.at")]
        if all(clip[name] == value for name, value in wanted.items()):
            return clip
        tab.press("ArrowRight")
    raise AssertionError(f"no clip with {wanted}")


def test_keys_judge_undo_and_export(tab: Tab, page: ReviewPage) -> None:
    names = list(page.clips)
    assert shown(tab, "count") == "0 of 5"
    tab.press("k")
    assert (shown(tab, "count"), shown(tab, "place")) == ("1 of 5", "Clip 2 of 5")
    tab.press("d", "u", "z")
    assert (shown(tab, "count"), shown(tab, "place")) == ("2 of 5", "Clip 3 of 5")
    tab.press("d", "ArrowLeft", "ArrowLeft", "u")
    labels = exported(tab, page)
    assert verdicts(labels) == {names[0]: "keep", names[1]: "unsure", names[2]: "drop"}
    for label in labels:
        assert label.dataset == page.data["dataset"]
        assert label.dataset.startswith("dataset-")
        assert label.probability == page.clips[label.clip_id]["probability"]
        assert label.reviewer is None
    # Changing a verdict is one step, too.
    tab.press("z")
    assert verdicts(exported(tab, page))[names[1]] == "drop"


def test_a_reload_goes_on_and_can_still_undo(tab: Tab, page: ReviewPage) -> None:
    tab.run("part('reviewer').value = 'Ada'; part('reviewer').dispatchEvent(new Event('change'))")
    tab.press("k", "d", "u")
    tab.reload()
    assert (shown(tab, "count"), shown(tab, "place")) == ("3 of 5", "Clip 4 of 5")
    assert tab.run("document.title") == "3 of 5: dataset"
    labels = exported(tab, page)
    assert [label.verdict for label in labels] == ["keep", "drop", "unsure"]
    assert {label.reviewer for label in labels} == {"Ada"}
    tab.press("z")
    assert (shown(tab, "count"), shown(tab, "place")) == ("2 of 5", "Clip 3 of 5")


def test_wrong_mask_needs_a_mask(tab: Tab, page: ReviewPage) -> None:
    clip = go_to(tab, page, decision="drop")
    assert shown(tab, "no-mask") == clip["no_mask"] != ""
    tab.press("m")
    assert shown(tab, "count") == "0 of 5"
    tab.run("go(0)")
    clip = go_to(tab, page, decision="keep")
    assert shown(tab, "no-mask") == ""
    tab.press("m")
    assert verdicts(exported(tab, page)) == {clip["clip_id"]: "wrong_mask"}


def test_the_video_plays_with_sound_and_its_mask(tab: Tab, page: ReviewPage) -> None:
    clip = go_to(tab, page, decision="keep")
    assert shown(tab, "label") == clip["label"]
    assert shown(tab, "caption") == clip["caption"]
    if tab.run("video.paused"):
        # A browser plays sound only once somebody has pressed a key.
        assert shown(tab, "start") == "Play with sound Space"
        tab.press(" ")
    tab.wait("!video.paused && player.frame > 3")
    assert tab.run("video.webkitAudioDecodedByteCount") > 0
    assert tab.run("video.muted") is False
    tab.press(" ")
    tab.wait("video.paused")
    at = 10
    tab.run(f"seek({at})")
    tab.wait(f"player.frame === {at}")
    tab.press(".")
    tab.wait(f"player.frame === {at + 1}")
    assert tab.run("Math.floor(video.currentTime * 24)") == at + 1
    masks = page.masks[tab.run("state.at")]
    assert masks is not None
    tint_HW = np.array(tab.run(f"{TINT}({list(masks.size)})")).reshape(masks.size)
    # Tinted inside the mask of this very frame, with a rim around it, and nothing beyond.
    mask_HW = masks.mask(at + 1).astype(np.uint8)
    inner_HW = cv2.erode(mask_HW, np.ones((5, 5)), borderValue=1) > 0
    outer_HW = cv2.dilate(mask_HW, np.ones((25, 25))) > 0
    assert inner_HW.any()
    assert np.abs(tint_HW[inner_HW] - 0.4 * 255).max() < 12
    assert tint_HW[(outer_HW > 0) & (mask_HW == 0)].max() > 200
    assert (tint_HW[~outer_HW] == 0).all()
    covered = f"{TINT}([90, 160]).some((value) => value > 0)"
    assert tab.run(covered)
    tab.press("o")
    assert not tab.run(covered)
    tab.press("o", "s")
    assert tab.run(covered)
    assert tab.run("video.muted") is True


def test_a_wrong_mask_is_fixed_and_saved(tab: Tab, page: ReviewPage) -> None:
    clip = go_to(tab, page, decision="keep")
    masks = page.masks[tab.run("state.at")]
    assert masks is not None
    tab.press("m", "ArrowLeft")
    assert shown(tab, "mended") == ""
    tab.press("f")
    drawing = Drawing(tab)
    path = drawing.saved()
    assert path.name == f"{clip['clip_id']}.masks.json"
    assert read_masks(path) == masks
    drawing.at(5)
    drawing.drag((100, 50), (400, 300))
    drawing.at(7)
    # A corner is taken back by the key that would close the editor else.
    tab.press("g", "p")
    drawing.clicks((50, 50))
    tab.press("Escape")
    assert tab.run("mender.open")
    fixed = read_masks(drawing.saved())
    over = rle.encode(box(masks.size, 100, 50, 400, 300))
    assert fixed.frames == (*masks.frames[:5], over, over, *masks.frames[7:])
    # Keys of the review do nothing meanwhile.
    tab.press("k", "Escape")
    tab.wait("!mender.open")
    assert "worked on" in shown(tab, "mended")
    labels = exported(tab, page)
    assert verdicts(labels) == {clip["clip_id"]: "wrong_mask"}
    tab.press("ArrowRight")
    assert shown(tab, "mended") == ""
    tab.press("ArrowLeft")
    tab.reload()
    tab.press("f")
    assert read_masks(Drawing(tab).saved()).frames[5] == over


def test_what_the_build_thought_is_shown_when_asked_for(tab: Tab, page: ReviewPage) -> None:
    clip = go_to(tab, page, decision="drop")
    assert shown(tab, "because") == ""
    tab.press("i")
    assert shown(tab, "because") == clip["because"]
    assert shown(tab, "decision") == f"dropped: {clip['reason'].replace('_', ' ')}"
    against = [point["words"] for point in clip["points"] if point["sign"] < 0]
    told = [line for line in shown(tab, "against").splitlines() if not line.startswith("−")]
    assert told == against


def test_an_import_goes_on_from_an_export(tab: Tab, page: ReviewPage, tmp_path: Path) -> None:
    names = list(page.clips)
    tab.press("k", "d", "u")
    before = exported(tab, page)
    path = downloaded(tab)
    text = path.read_text()
    stranger = text.splitlines(keepends=True)[0].replace(names[0], "somebody-elses")
    path.write_text(stranger + text)
    tab.press("z", "z", "z", "d")
    tab.choose_file("#file", path)
    tab.wait("part('said').textContent.includes('imported')")
    said = shown(tab, "said")
    assert "2 of 4 labels imported" in said
    assert "1 are of clips that are not on this page" in said
    assert "1 say otherwise than what is judged here, which stays" in said
    expected = {**verdicts(before), names[0]: "drop"}
    after = exported(tab, page)
    assert verdicts(after) == expected
    assert [label.reviewed_at for label in after[1:]] == [label.reviewed_at for label in before[1:]]
    tab.press("z")
    assert shown(tab, "count") == "1 of 5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"clip_id": "a", "verdict": "keep", "revie', "ends in the middle of line 1"),
        ('{"clip_id": "a", "verdict": "good"}\n', "line 1 is not a label"),
        ("\nclip_id,verdict\n", "line 2 is not a label"),
    ],
)
def test_a_damaged_import_changes_nothing(tab: Tab, tmp_path: Path, text: str, said: str) -> None:
    tab.press("k")
    path = tmp_path / "labels.jsonl"
    path.write_text(text)
    tab.choose_file("#file", path)
    tab.wait("part('said').textContent.startsWith('Nothing was imported')")
    assert said in shown(tab, "said")
    assert shown(tab, "count") == "1 of 5"


def test_the_end_counts_and_exports(tab: Tab, page: ReviewPage) -> None:
    tab.press("k", "k", "d", "u", "d")
    tab.press(" ", ",", ".")
    assert tab.run("video.paused"), "there is no clip to play"
    assert tab.console == []
    assert shown(tab, "done-count") == "5 of 5 clips"
    assert shown(tab, "tally").split() == [
        "2",
        "keep",
        "2",
        "drop",
        "0",
        "wrong",
        "mask",
        "1",
        "unsure",
    ]
    tab.click("#export-all")
    assert len(read_labels(downloaded(tab), page.clips)) == 5
    tab.press("ArrowLeft")
    assert shown(tab, "place") == "Clip 5 of 5"
    tab.press("k")
    assert shown(tab, "done-count") == "5 of 5 clips"


def test_the_mouse_does_what_the_keys_do(tab: Tab) -> None:
    tab.click('[data-verdict="drop"]')
    assert (shown(tab, "count"), shown(tab, "place")) == ("1 of 5", "Clip 2 of 5")
    tab.click("#track li:nth-child(4) button")
    assert shown(tab, "place") == "Clip 4 of 5"
    tab.click("#undo")
    assert (shown(tab, "count"), shown(tab, "place")) == ("0 of 5", "Clip 1 of 5")


def test_typing_a_name_judges_nothing(tab: Tab) -> None:
    tab.click("#reviewer")
    tab.press("k", "d")
    assert shown(tab, "count") == "0 of 5"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "review.html"
    path.write_text(
        render(hostile_page(), [Film(64, 64, 24, "AAAA", MaskTrack((8, 8), 24, ("0`1",)))])
    )
    with Tab(tmp_path / "browser") as tab:
        tab.open(path)
        tab.press("i")
        for name in ("caption", "label", "because", "against", "for", "heard"):
            assert HOSTILE in shown(tab, name), name
        assert tab.run("document.querySelectorAll('img').length") == 0
        assert tab.run("window.owned === undefined")
        assert tab.run("document.querySelectorAll('script').length") == 4
        assert tab.console == []


def test_a_probability_and_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "review.html"
    path.write_text(render(hostile_page(), [Film(64, 64, 24, "AAAA")]))
    with Tab(tmp_path / "browser") as tab:
        tab.open(path)
        tab.press("i")
        assert shown(tab, "chance") == "37 % likely to be good"
        assert shown(tab, "against").split() == [*HOSTILE.split(), "−1.50"]
        assert shown(tab, "for").split() == [*HOSTILE.split(), "+0.25"]
        tab.press("d")
        tab.press("e")
        label = json.loads(downloaded(tab).read_text())
        assert label["probability"] == 0.37


def hostile_page() -> Page:
    clip = PageClip(
        clip_id=HOSTILE,
        decision="drop",
        reason="crowd",
        because=HOSTILE,
        probability=0.37,
        source=HOSTILE,
        start_s=0.0,
        end_s=1.0,
        label=HOSTILE,
        caption=HOSTILE,
        no_mask="",
        points=(Point(HOSTILE, -1, -1.5), Point(HOSTILE, 1, 0.25)),
        heard=((HOSTILE, 0.5),),
        width=64,
        height=64,
        num_frames=24,
    )
    return Page(HOSTILE, HOSTILE, 0, 1, (clip,))


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_window(tab: Tab, width: int) -> None:
    tab.resize(width, 800, mobile=width < 500)
    tab.press("i")
    assert tab.run("document.documentElement.scrollWidth") <= width
    for button in ("keep", "drop", "wrong_mask", "unsure"):
        place = f"document.querySelector('[data-verdict={button}]').getBoundingClientRect()"
        assert tab.run(f"{place}.bottom") <= 800
        assert tab.run(f"{place}.width") > 80
