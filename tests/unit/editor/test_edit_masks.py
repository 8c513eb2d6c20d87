"""Masks as users give them."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from avipipe.annotators.base import Mask
from avipipe.editor.common.media import Take
from avipipe.editor.edit.job import MaskSpec
from avipipe.editor.edit.masks_in import UserMask, read_mask, turned
from avipipe.errors import ConfigError
from avipipe.manifests import rle
from avipipe.manifests.rle import MaskTrack
from avipipe.media.lossless import write_lossless

SHAPE = (200, 100)
"""Width and height of the picture; it is scaled to 128 x 64, of which the middle 96 are edited."""

TAKE = Take(
    start=0, num_frames=6, scaled_px=(64, 128), top_px=0, left_px=16, height_px=64, width_px=96
)
P = 4


def read(**options: object) -> UserMask:
    return read_mask(MaskSpec.model_validate(options), TAKE, SHAPE, max_precision=P)


def first(mask: UserMask) -> Mask:
    return mask.track.mask(0)


def square(height: int = 100, width: int = 200) -> Mask:
    """The middle of the picture."""
    mask = np.zeros((height, width), np.bool_)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    return mask


def disc() -> Mask:
    rows, columns = np.indices((100, 200))
    return np.asarray((rows - 50) ** 2 + (columns - 100) ** 2 < 30**2)


def video(path: Path, masks: list[Mask], fps: int = 24) -> Path:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *masks[0].shape, "gray"
        for number, mask in enumerate(masks):
            frame = av.VideoFrame.from_ndarray(255 * mask.astype(np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def codes(path: Path, masks: list[Mask]) -> Path:
    rle.write_masks(path, [rle.encode(mask) for mask in masks], size=masks[0].shape)
    return path


def image(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("box", [(50, 25, 100, 50), (0.25, 0.25, 0.5, 0.5)])
def test_a_box_is_told_in_pixels_or_shares(box: tuple[float, ...]) -> None:
    mask = read(box=box)
    expected = np.zeros((64, 96), np.bool_)
    expected[16:48, 32 - 16 : 96 - 16] = True
    assert np.array_equal(first(mask), expected)
    assert len(mask.track.frames) == 6
    assert (mask.kind, mask.precision) == ("box", P)


def test_a_polygon_is_filled() -> None:
    mask = read(polygon=[(50, 25), (150, 25), (150, 75), (50, 75)])
    box = first(read(box=(50, 25, 100, 50)))
    assert (first(mask) ^ box).sum() <= 2 * (32 + 64)
    assert mask.precision == P // 2


@pytest.mark.parametrize("given", [(100, 200), (50, 100), (400, 800)])
def test_an_image_of_any_scale_holds_for_all_frames(given: tuple[int, int], tmp_path: Path) -> None:
    round_one = cv2.resize(disc().astype(np.uint8), given[::-1], interpolation=cv2.INTER_NEAREST)
    mask = read(file=image(tmp_path / "m.png", 255 * round_one))
    expected = first(read(file=codes(tmp_path / "m.json", [disc()] * 6)))
    assert (first(mask) ^ expected).sum() < 0.1 * expected.sum()
    assert set(mask.track.frames) == {mask.track.frames[0]}
    assert mask.precision == P - 1


@pytest.mark.parametrize(
    ("kind", "white", "name"),
    [(np.uint16, 65_535, "m.png"), (np.float32, 1.0, "m.tiff")],
)
def test_white_is_that_of_the_images_type(
    kind: type, white: float, name: str, tmp_path: Path
) -> None:
    expected = first(read(file=image(tmp_path / "n.png", 255 * disc().astype(np.uint8))))
    grey: np.ndarray = np.where(disc(), white, 0.4 * white).astype(kind)
    assert np.array_equal(first(read(file=image(tmp_path / name, grey))), expected)
    if kind is np.uint16:
        opaque = np.dstack([np.zeros((100, 200, 3), kind), grey])
        assert np.array_equal(first(read(file=image(tmp_path / name, opaque))), expected)


def test_what_is_opaque_in_an_image_is_the_mask(tmp_path: Path) -> None:
    pixels = np.zeros((100, 200, 4), np.uint8)
    pixels[disc(), 3] = 255
    mask = read(file=image(tmp_path / "m.png", pixels))
    assert np.array_equal(
        first(mask), first(read(file=image(tmp_path / "n.png", 255 * disc().astype(np.uint8))))
    )


def test_codes_are_exact_and_videos_nearly(tmp_path: Path) -> None:
    masks = [np.roll(disc(), 4 * frame, axis=1) for frame in range(6)]
    exact, drawn = (
        read(file=codes(tmp_path / "m.json", masks)),
        read(file=video(tmp_path / "m.mkv", masks)),
    )
    assert exact.track == drawn.track
    assert len(set(exact.track.frames)) == 6
    assert (exact.precision, drawn.precision) == (0, 1)


def test_a_mask_that_is_a_box_is_known_for_one(tmp_path: Path) -> None:
    masks = [np.roll(square(), frame, axis=1) for frame in range(6)]
    assert read(file=codes(tmp_path / "m.json", masks)).precision == P
    assert read(file=codes(tmp_path / "m.json", masks), precision=1).precision == 1


def test_a_mask_video_of_another_rate_goes_by_time(tmp_path: Path) -> None:
    masks = [np.roll(disc(), 8 * frame, axis=1) for frame in range(3)]
    slow = read(file=video(tmp_path / "m.mkv", masks, fps=12))
    twice = [mask for mask in masks for _ in range(2)]
    assert slow.track == read(file=video(tmp_path / "n.mkv", twice)).track


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    given = read(file=codes(tmp_path / "m.json", [disc()] * 6))
    masks = (np.where(given.track.mask(n), 255, 0).astype(np.uint8) for n in range(6))
    write_lossless(tmp_path / "mask.mkv", masks, "gray")
    take = Take(0, 6, (64, 96), 0, 0, 64, 96)
    again = read_mask(MaskSpec(file=tmp_path / "mask.mkv"), take, (96, 64), max_precision=P)
    assert again.track == given.track


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    def refused(told: str, **options: object) -> None:
        with pytest.raises(ConfigError, match=told):
            read(**options)

    refused(r"200x100.*found 100x100", file=codes(tmp_path / "a.json", [square(100, 100)] * 6))
    refused(r"6 frames.*found 0\.083 s", file=codes(tmp_path / "b.json", [square()] * 2))
    refused(r"found 0\.500 s.*one image", file=video(tmp_path / "c.mkv", [square()] * 12))
    refused("empty", file=codes(tmp_path / "d.json", [np.zeros((100, 200), np.bool_)] * 6))
    refused("empty", box=(0, 0, 20, 100))  # cut off
    (tmp_path / "e.mp4").write_text("no video")
    refused("cannot be read", file=tmp_path / "e.mp4")
    (tmp_path / "f.json").write_text("[]")
    refused(r"masks\.json", file=tmp_path / "f.json")
    (tmp_path / "g.png").write_text("no image")
    refused("expected an image", file=tmp_path / "g.png")


def test_a_mask_of_what_stays_is_turned_around() -> None:
    masks = [np.zeros((4, 6), np.bool_), np.ones((4, 6), np.bool_), np.eye(4, 6, dtype=np.bool_)]
    track = MaskTrack((4, 6), 24, tuple(rle.encode(mask) for mask in masks))
    given = UserMask(track, 2, "polygon", ("a note",), {"score": 1})
    found = turned(given)
    for frame, mask in enumerate(masks):
        assert np.array_equal(found.track.mask(frame), ~mask)
    assert turned(found) == given
    full = replace(given, track=replace(track, frames=track.frames[1:2] * 3))
    with pytest.raises(ConfigError, match="nothing is left to edit"):
        turned(full)
