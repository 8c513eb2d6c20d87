"""A person at the mask page in headless Chromium: what is drawn is what `avipipe edit` reads."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avipipe.manifests import rle
from tests.browser import in_browser
from tests.integration.masking import (
    NUM_FRAMES,
    Drawing,
    as_edited,
    between,
    box,
    disc,
    odd,
    polygon,
    read_saved,
    upright,
    write_page,
)
from tests.tab import Tab

pytestmark = in_browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of a video -> its page; `given` starts from masks."""
    folder = tmp_path_factory.mktemp("mask")
    videos = {"upright": upright(folder), "odd": odd(folder)}
    pages = {name: write_page(path, folder / f"{name}.html") for name, path in videos.items()}
    masks = folder / "first.masks.json"
    rle.write_masks(masks, [rle.encode(given(n)) for n in range(NUM_FRAMES)], size=(180, 320))
    pages["given"] = write_page(videos["upright"], folder / "given.html", "--mask", masks)
    return pages


def given(frame: int) -> np.ndarray:
    """Masks to start from: a disc that moves to the right."""
    return disc((180, 320), 60.3 + 2 * frame, 90.2, 30)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with Tab(tmp_path / "browser", width=1400, height=900) as tab:
        yield tab
        assert tab.console == []
        others = [url for url in tab.requests if not url.startswith(("file://", "blob:"))]
        assert others == []


def opened(tab: Tab, page: Path) -> Drawing:
    tab.open(page)
    return Drawing(tab)


def assert_same(path: Path, size: tuple[int, int], expected: list[np.ndarray]) -> None:
    """What was saved is that, pixel for pixel, to pycocotools and to `avipipe edit` alike; and its
    codes are the very letters that pycocotools writes."""
    for frame, (found, wanted) in enumerate(zip(read_saved(path), expected, strict=True)):
        assert np.array_equal(found, wanted), f"frame {frame}"
    assert json.loads(path.read_text())["frames"] == [rle.encode(mask) for mask in expected]
    track = as_edited(size, file=path).track
    assert all(np.array_equal(track.mask(n), mask) for n, mask in enumerate(expected))


@pytest.mark.parametrize(("name", "size"), [("upright", (180, 320)), ("odd", (427, 180))])
def test_boxes_move_between_key_frames(
    tab: Tab, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    drawing = opened(tab, pages[name])
    assert drawing.size == size
    drawing.at(6)
    drawing.drag((40, 30), (90, 60), (101, 90))
    drawing.at(26)
    # By its middle, then by a corner.
    drawing.drag((70, 60), (100, 80))
    drawing.drag((131, 110), (150, 130))
    drawing.at(40)
    tab.press("a")
    points = [(40.0, 30.0), (101.0, 90.0)], [(70.0, 50.0), (150.0, 130.0)]

    def expected(frame: int) -> np.ndarray:
        share = min(max((frame - 6) / 20, 0), 1)
        (x0, y0), (x1, y1) = between(*points, share)
        return box(size, x0, y0, x1, y1) & (frame < 40)

    path = drawing.saved()
    assert path.name == f"{name}.masks.json"
    assert drawing.option() == f"--mask {path.name}"
    assert_same(path, size, [expected(n) for n in range(NUM_FRAMES)])
    assert as_edited(size, file=path).precision == 4


def test_polygons_move_too_if_they_have_as_many_corners(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["upright"])
    size = drawing.size
    first = [(50.0, 40.0), (140.0, 30.0), (160.0, 120.0), (90.0, 70.0), (60.0, 140.0)]
    tab.press("p")
    drawing.clicks(*first, first[0])
    drawing.at(10)
    drawing.drag((160, 120), (200, 150))
    second = [(x, y) if (x, y) != (160.0, 120.0) else (200.0, 150.0) for x, y in first]
    drawing.at(30)
    other = [(220.0, 20.0), (300.0, 20.0), (260.0, 90.0)]
    drawing.clicks((5, 5), *other)
    tab.press("Escape")
    drawing.clicks(*other, (10, 170))
    tab.press("Backspace", "Enter")

    def expected(frame: int) -> np.ndarray:
        if frame >= 30:
            return polygon(size, other)
        return polygon(size, between(first, second, min(frame / 10, 1)))

    path = drawing.saved()
    assert drawing.option() == f"--mask {path.name} --precision 2"
    assert_same(path, size, [expected(n) for n in range(NUM_FRAMES)])


def test_what_is_undone_and_done_again_at_once_is_shown(tab: Tab, pages: dict[str, Path]) -> None:
    """However long a video takes to seek: nothing waits between the two."""
    drawing = opened(tab, pages["upright"])
    drawing.drag((40, 30), (100, 90))
    drawing.at(20)
    tab.press("k")
    undo, redo = "editor.turn_back('undo', 'redo')", "editor.turn_back('redo', 'undo')"
    tab.run(f"{undo}; {undo}; {redo}; {redo}")
    tab.wait("editor.player.target === null && !editor.player.video.seeking")
    assert tab.run("editor.player.frame") == 20
    tab.run(f"{undo}; {undo}")
    tab.wait("editor.player.frame === 0")


def test_paint_holds_until_the_next_key_frame(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["upright"])
    size = drawing.size
    tab.run("editor.set_width(40)")
    tab.press("r")
    drawing.clicks((100, 80))
    drawing.drag((150, 80), (150, 85), (150, 90))
    drawing.at(20)
    tab.press("e")
    drawing.clicks((110, 80))
    drawing.drag((250, 90), shift=True)
    tops = [disc(size, 150, y, 20) for y in range(80, 91)]
    first = disc(size, 100, 80, 20) | np.any(tops, axis=0)
    second = first & ~disc(size, 110, 80, 20) | disc(size, 250, 90, 20)
    path = drawing.saved()
    assert drawing.option() == f"--mask {path.name} --precision 1"
    assert_same(path, size, [first] * 20 + [second] * (NUM_FRAMES - 20))


def test_a_brush_makes_paint_of_a_shape(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["upright"])
    size = drawing.size
    drawing.drag((40, 30), (100, 90))
    tab.run("editor.set_width(40)")
    tab.press("e")
    drawing.at(9)
    drawing.clicks((40, 30))
    whole = box(size, 40, 30, 100, 90)
    rubbed = whole & ~disc(size, 40, 30, 20)
    assert_same(drawing.saved(), size, [whole] * 9 + [rubbed] * (NUM_FRAMES - 9))


def test_given_masks_are_painted_over_and_come_back(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["given"])
    size = drawing.size
    assert_same(drawing.saved(), size, [given(n) for n in range(NUM_FRAMES)])
    tab.run("editor.set_width(40)")
    drawing.at(10)
    tab.press("r")
    drawing.clicks((80, 60))
    drawing.drag((90, 120), shift=True)
    drawing.at(20)
    tab.press("g")
    drawing.at(30)
    tab.press("b")
    drawing.drag((20, 20), (60, 60))

    def expected(frame: int) -> np.ndarray:
        if frame >= 30:
            return box(size, 20, 20, 60, 60)
        if 10 <= frame < 20:
            return (given(frame) | disc(size, 80, 60, 20)) & ~disc(size, 90, 120, 20)
        return given(frame)

    path = drawing.saved()
    assert drawing.option() == f"--mask {path.name}"
    assert_same(path, size, [expected(n) for n in range(NUM_FRAMES)])


def test_one_shape_is_an_option(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["odd"])
    size = drawing.size
    drawing.at(12)
    # It begins outside the picture.
    drawing.drag((30, 20), (80, 70))
    drawing.drag((50, 50), (10, 50))
    assert drawing.option() == "--mask-box 0,20,40,50"
    saved = as_edited(size, file=drawing.saved()).track
    assert as_edited(size, box=(0, 20, 40, 50)).track == saved
    tab.press("x", "p")
    drawing.clicks((20, 20), (100, 20), (60, 90))
    tab.press("Enter")
    assert drawing.option() == "--mask-polygon '20,20 100,20 60,90'"
    told = as_edited(size, polygon=[(20, 20), (100, 20), (60, 90)]).track.mask(0)
    drawn = read_saved(drawing.saved())[0]
    # OpenCV takes in what an edge touches.
    assert not (drawn & ~told).any()
    assert (told ^ drawn).sum() < 80 + 81 + 81
    tab.press("c")
    tab.wait("part('m-said').textContent === 'Copied.'")


def test_undo_redo_delete_and_key_frames(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["upright"])
    assert drawing.option() == "–"
    drawing.drag((40, 30), (100, 90))
    drawing.at(20)
    tab.press("k")
    drawing.drag((70, 60), (90, 60))
    frames = "editor.track.frames()"
    assert tab.run(frames) == [0, 20]
    tab.press("z")
    assert drawing.option() == "--mask upright.masks.json"
    assert tab.run("editor.state.keys[20].points") == [[40, 30], [100, 90]]
    tab.press("z", "z")
    assert (tab.run(frames), drawing.option()) == ([], "–")
    tab.press("y", "y", "y")
    assert tab.run("editor.state.keys[20].points") == [[60, 30], [120, 90]]
    tab.wait("editor.player.frame === 20")
    drawing.at(10)
    assert "On its way from key frame 0 to 20." in tab.run("part('m-why').textContent")
    tab.press("Delete")
    assert "no key frame here" in drawing.said()
    tab.press("ArrowDown")
    tab.wait("editor.player.frame === 20")
    tab.press("Delete")
    assert tab.run(frames) == [0]
    assert drawing.option() == "--mask-box 40,30,60,60"
    tab.press("ArrowUp")
    tab.wait("editor.player.frame === 0")
    tab.press("x")
    assert tab.run(frames) == []


def test_a_reload_goes_on(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["upright"])
    drawing.drag((40, 30), (100, 90))
    drawing.at(30)
    tab.press("a", "r")
    before = drawing.saved().read_text()
    tab.reload()
    drawing = Drawing(tab)
    tab.wait("editor.player.frame === 30")
    assert drawing.saved().read_text() == before
    assert tab.run("editor.state.tool") == "brush"
    tab.press("z")
    assert drawing.option() == "--mask-box 40,30,60,60"
    # Another page has its own.
    assert opened(tab, pages["odd"]).option() == "–"


def test_an_empty_mask_is_not_saved(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["upright"])
    tab.press("a", "w")
    tab.wait("part('m-said').textContent.includes('empty in every frame')")
    assert not list(tab.downloads.glob("*"))
    assert tab.run("part('m-drop').disabled") is False
    assert "empty here" in tab.run("part('m-why').textContent")
    assert drawing.size == (180, 320)


def test_steps_are_exact_and_none_is_lost(tab: Tab, pages: dict[str, Path]) -> None:
    drawing = opened(tab, pages["odd"])
    drawing.at(0)
    tab.press(*"....,")
    tab.wait("editor.player.frame === 3")
    assert tab.run("Math.floor(editor.player.video.currentTime * 24)") == 3
    left, top, width = tab.run(
        "(b => [b.left, b.top + b.height / 2, b.width])(part('m-line').getBoundingClientRect())"
    )
    places = [(left + width * (frame + 0.5) / NUM_FRAMES, top) for frame in (10, 40, 24)]
    tab.drag(*places)
    tab.wait("editor.player.frame === 24")
    tab.press(" ")
    tab.wait("editor.player.frame > 26")
    tab.press(" ")
    tab.wait("editor.player.video.paused")


def test_codes_are_those_of_pycocotools(tab: Tab, pages: dict[str, Path]) -> None:
    opened(tab, pages["upright"])
    random = np.random.default_rng(0)
    masks = [random.random((7, 11)) < share for share in (0, 0.03, 0.3, 0.5, 0.97, 1)]
    masks += [np.kron(random.random((3, 4)) < 0.5, np.ones((90, 110))) > 0 for _ in range(4)]
    masks += [np.arange(2000 * 1500).reshape(2000, 1500) < 1_234_567, np.ones((1, 1), np.bool_)]
    for mask in masks:
        counts = rle.encode(mask)
        script = f"runs_from({json.dumps(counts)})"
        assert tab.run(f"counts_of({script})") == counts
        assert tab.run(f"counts_of(runs_of(mask_of({script}, {mask.size})))") == counts
        assert tab.run(f"num_pixels_in({script})") == mask.sum()


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_the_window(tab: Tab, pages: dict[str, Path], width: int) -> None:
    tab.resize(width, 800, mobile=width < 500)
    for name in ("upright", "odd"):
        opened(tab, pages[name])
        assert tab.run("document.documentElement.scrollWidth") <= width
        rect = "part('m-screen').getBoundingClientRect()"
        assert tab.run(f"{rect}.bottom") <= 800
        tab.press("?")
        assert tab.run("part('m-help').open")
        tab.press("Escape")
