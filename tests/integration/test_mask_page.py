"""`avipipe mask`: a page of the very frames that `avipipe edit` sees, or a refusal that helps."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from avipipe.editor.edit.method import Canvas
from avipipe.editor.edit.video import prepare
from avipipe.manifests import rle
from tests.damage import SPOILT
from tests.integration import lavfi
from tests.integration.builds import avipipe
from tests.integration.masking import NUM_FRAMES, odd, silent, upright, write_page

SIZE = (180, 320)


def parts(page: Path) -> dict[str, str]:
    found = re.findall(r'<script type="[a-z/]+" id="([a-z]+)">(.*?)</script>', page.read_text())
    return dict(found)


def decoded(page: Path, folder: Path) -> list[np.ndarray]:
    """The pictures of a page's film, RGB."""
    path = folder / "film.mp4"
    path.write_bytes(base64.b64decode(parts(page)["film"], validate=True))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 24
        frames = list(container.decode(video=0))
        assert [round(24 * (frame.time or 0.0)) for frame in frames] == list(range(len(frames)))
        return [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return upright(tmp_path_factory.mktemp("mask"))


def masks_file(path: Path, *, size: tuple[int, int] = SIZE, num_frames: int = NUM_FRAMES) -> Path:
    mask = np.zeros(size, np.bool_)
    mask[40:90, 60:120] = True
    rle.write_masks(path, [rle.encode(mask)] * num_frames, size=size)
    return path


def refused(video: Path, folder: Path, *options: str | Path) -> tuple[int, str]:
    page = folder / "page.html"
    done = avipipe("mask", video, "--out", page, *options)
    assert not page.exists()
    assert "Traceback" not in done.err
    return done.code, done.err


@pytest.mark.parametrize("make", [upright, odd, silent])
def test_its_frames_are_those_that_edit_sees(make: Callable[[Path], Path], tmp_path: Path) -> None:
    video = make(tmp_path)
    page = write_page(video, tmp_path / "page.html")
    shown = decoded(page, tmp_path)
    data = json.loads(parts(page)["data"])
    source = prepare(video, tmp_path / "work", lambda shape: Canvas(320, 192, 81, 4))
    assert (data["width"], data["height"]) == source.shape
    assert data["num_frames"] == len(shown) == source.take.num_frames == NUM_FRAMES
    edited = source.footage.read(range(NUM_FRAMES))
    take = source.take
    for n, frame_HWC in enumerate(shown):
        whole = cv2.resize(frame_HWC, take.scaled_px[::-1], interpolation=cv2.INTER_AREA)
        apart = [
            np.abs(whole[take.window].astype(int) - edited[other]).mean()
            for other in range(max(n - 1, 0), min(n + 2, NUM_FRAMES))
        ]
        assert apart[min(n, 1)] < 6
        assert apart[min(n, 1)] == min(apart)


def test_the_file_needs_nothing_else(video: Path, tmp_path: Path) -> None:
    html = write_page(video, tmp_path / "page.html").read_text()
    assert not re.search(r"https?://|file://|@import|url\(", html)
    assert re.findall(r'\b(?:src|href|srcset|action)="', html) == []
    assert "default-src 'none'" in html
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names)), "an id stands twice"
    assert parts(tmp_path / "page.html")["masks"] == "null"


def test_the_same_video_gives_the_same_page(video: Path, tmp_path: Path) -> None:
    pages = [write_page(video, tmp_path / name) for name in ("a.html", "b.html")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_given_masks_are_on_it(video: Path, tmp_path: Path) -> None:
    masks = masks_file(tmp_path / "dog.masks.json")
    page = write_page(video, tmp_path / "page.html", "--mask", masks)
    found, given = json.loads(parts(page)["masks"]), json.loads(masks.read_text())
    assert (found["size"], found["frames"]) == (given["size"], given["frames"])
    assert "from dog.masks.json" in page.read_text()
    other = write_page(video, tmp_path / "bare.html")
    ids = [json.loads(parts(path)["data"])["page_id"] for path in (page, other)]
    assert ids[0] != ids[1]


def test_a_small_page_has_a_coarse_film(tmp_path: Path) -> None:
    noise = "testsrc2=s=1280x720:r=24:d=1,noise=alls=20:allf=t"
    video = lavfi.write(tmp_path / "a.mp4", video=noise, audio=lavfi.sound(duration_s=1))
    fine = write_page(video, tmp_path / "fine.html")
    coarse = write_page(video, tmp_path / "coarse.html", "--max-mb", "0.5")
    assert coarse.stat().st_size <= 500_000 < fine.stat().st_size
    shapes = [decoded(page, tmp_path)[0].shape[:2] for page in (fine, coarse)]
    assert shapes[0] == (720, 1280)
    assert shapes[1] == (360, 640)
    # Masks are drawn in the source's pixels all the same.
    assert json.loads(parts(coarse)["data"])["height"] == 720


def test_a_video_that_cannot_fit_is_refused_soon(tmp_path: Path) -> None:
    noise = "testsrc2=s=640x360:r=24:d=40,noise=alls=60:allf=t"
    video = lavfi.write(tmp_path / "a.mp4", video=noise, audio=lavfi.sound(duration_s=40))
    code, said = refused(video, tmp_path, "--max-mb", "0.5")
    assert code == 2
    assert "a film of 40.0 s" in said
    assert "cut the video" in said
    assert "--max-mb" in said


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    code, said = refused(tmp_path / "none.mp4", tmp_path)
    assert (code, "found none at" in said) == (1, True)
    sound = lavfi.write(tmp_path / "sound.mp4", video=None)
    code, said = refused(sound, tmp_path)
    assert (code, "found only audio" in said) == (1, True)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    code, said = refused(text, tmp_path)
    assert (code, "expected a media file" in said) == (1, True)


def test_a_damaged_video_is_refused(video: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(video.read_bytes()[:3000])
    code, said = refused(damaged, tmp_path)
    assert (code, "damaged" in said) == (1, True)


@pytest.mark.parametrize(
    ("size", "num_frames", "found"),
    [
        ((90, 160), NUM_FRAMES, "48 frames of 160x90"),
        ((320, 180), NUM_FRAMES, "48 frames of 180x320"),
        (SIZE, NUM_FRAMES - 1, "47 frames of 320x180"),
    ],
)
def test_masks_of_another_video_are_refused(
    video: Path, tmp_path: Path, size: tuple[int, int], num_frames: int, found: str
) -> None:
    masks = masks_file(tmp_path / "m.json", size=size, num_frames=num_frames)
    code, said = refused(video, tmp_path, "--mask", masks)
    assert code == 2
    assert f"48 frames of 320x180 at 24 fps; found {found}" in said


@pytest.mark.parametrize("kind", sorted(SPOILT))
def test_masks_that_came_to_harm_are_refused(video: Path, tmp_path: Path, kind: str) -> None:
    masks = masks_file(tmp_path / "m.json")
    left = SPOILT[kind](masks.read_bytes())
    masks.unlink() if left is None else masks.write_bytes(left)
    code, said = refused(video, tmp_path, "--mask", masks)
    assert code == 2
    assert "expected masks" in said


def test_a_page_in_no_folder_is_refused(video: Path, tmp_path: Path) -> None:
    done = avipipe("mask", video, "--out", tmp_path / "none" / "page.html")
    assert done.code == 2
    assert "make it first" in done.err
