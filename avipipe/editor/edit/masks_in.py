"""The user's mask, however it is given: counts of every frame at the size that is edited.

The precision factor p says how far a mask may be from the instance: 0 is exact, P its box. Without
one from the user it is told from the kind of mask, as `docs/edit.md` has it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Mask
from avipipe.editor.common.media import Take, cut_mask
from avipipe.editor.edit.given import is_image, opened, read_pixels
from avipipe.editor.edit.job import MaskSpec
from avipipe.errors import ConfigError, ManifestError
from avipipe.manifests import rle
from avipipe.manifests.rle import MaskTrack
from avipipe.manifests.samples import FPS

_SAME_SHAPE = 0.02
"""Logarithm of the ratio of two aspects: 2 % are what rounding to whole pixels makes of small
pictures. A choice."""
_WHITE = 127
"""Levels above this are mask: the middle of 0 to 255."""
_SLACK_PX = 1e-6
"""Error of corners from floats: what rounds to a pixel's edge is on it."""
_FRACTION_BITS = 8
"""Of corners, as OpenCV draws to parts of a pixel: 1/256."""


@dataclass(frozen=True, slots=True)
class UserMask:
    """The mask that a user gave, frame by frame.

    Attributes:
        track: a mask for each frame at the size that is edited.
        precision: the factor p.
        kind: how it was given.
        fallbacks: what was done instead of what was asked, in words.
        details: of how it came about.
    """

    track: MaskTrack
    precision: int
    kind: str
    fallbacks: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "UserMask":
        track = data["track"]
        size = tuple(track["size"])
        return cls(
            MaskTrack((size[0], size[1]), track["fps"], tuple(track["frames"])),
            data["precision"],
            data["kind"],
            tuple(data["fallbacks"]),
            data["details"],
        )


def whole_mask(size: tuple[int, int], num_frames: int) -> UserMask:
    """All pixels of a (height, width), where nothing says where and the method need not know."""
    counts = rle.encode(np.ones(size, dtype=bool))
    return UserMask(MaskTrack(size, FPS, (counts,) * num_frames), 0, "whole picture")


def read_mask(
    spec: MaskSpec, take: Take, shape: tuple[int, int], *, max_precision: int
) -> UserMask:
    """A box, a polygon or a file as a mask of every frame.

    Args:
        take: all frames, and the part of the scaled picture that is edited.
        shape: width and height of the original picture, in which pixels are told.
        max_precision: P.
    Raises:
        ConfigError: it is of another size or length, cannot be read, or is empty.
    """
    if spec.box is not None:
        kind, told = "box", max_precision
        track = _still(_box(spec.box, take, shape), take)
    elif spec.polygon is not None:
        kind, told = "polygon", max_precision // 2
        track = _still(_outline(spec.polygon, take, shape), take)
    else:
        assert spec.file is not None, "words are looked for elsewhere"
        kind, track = _read_file(spec.file, take, shape)
        told = max_precision - 1 if kind == "image" else 0 if kind == "run-length codes" else 1
        if _is_box(track):
            told = max_precision
    check_not_empty(track, kind)
    return UserMask(track, told if spec.precision is None else spec.precision, kind)


def check_not_empty(track: MaskTrack, kind: str) -> None:
    """Refuse a mask without a pixel.

    Raises:
        ConfigError: there is none in what is edited.
    """
    if not any(rle.area(counts, track.size) for counts in track.frames):
        raise ConfigError(
            f"the mask ({kind}) is empty in what is edited, {track.size[1]}x{track.size[0]} of the "
            "scaled picture: check its place, and that it is white there, or choose another size "
            "that cuts less off"
        )


def turned(mask: UserMask) -> UserMask:
    """The mask of all that a mask does not show.

    Raises:
        ConfigError: nothing is left.
    """
    size, fps, frames = mask.track.size, mask.track.fps, mask.track.frames
    rest = {counts: rle.encode(~rle.decode(counts, size)) for counts in set(frames)}
    track = MaskTrack(size, fps, tuple(rest[counts] for counts in frames))
    if not any(rle.area(counts, size) for counts in track.frames):
        raise ConfigError(
            f"the mask ({mask.kind}) shows what stays, and covers all that is edited, "
            f"{size[1]}x{size[0]} of the scaled picture: nothing is left to edit; give the mask of "
            "the foreground alone"
        )
    return replace(mask, track=track)


def at_times(fps: Fraction, num_frames: int) -> list[int]:
    """Which picture, of so many in a second, is on show in the middle of each frame of the video;
    where there are no more, the last one stays."""
    return [math.floor(Fraction(2 * frame + 1, 2 * FPS) * fps) for frame in range(num_frames)]


def check_length(num_given: int, fps: Fraction, num_frames: int, what: str) -> None:
    """Refuse pictures that do not last as long as the video.

    Raises:
        ConfigError: they last another time.
    """
    given_s, wanted_s = num_given / fps, Fraction(num_frames, FPS)
    if not num_given or abs(given_s - wanted_s) > Fraction(3, 2 * FPS):
        raise ConfigError(
            f"{what}: expected {float(wanted_s):.3f} s like the video ({num_frames} frames at "
            f"{FPS} fps), found {float(given_s):.3f} s ({num_given} at {float(fps):g} fps);"
            " cut it to the length of the video, or give one image for all frames"
        )


def check_shape(size: Sequence[int], shape: tuple[int, int], path: Path) -> None:
    """Refuse what is not of the video's size, larger or smaller though it may be.

    Args:
        size, shape: width and height of the picture and of the video.
    Raises:
        ConfigError: it has another shape.
    """
    if abs(math.log(size[0] * shape[1] / (size[1] * shape[0]))) > _SAME_SHAPE:
        raise ConfigError(
            f"{path}: expected the video's size, {shape[0]}x{shape[1]}, or its shape; found "
            f"{size[0]}x{size[1]}; make it from a frame of the video"
        )


def _read_file(path: Path, take: Take, shape: tuple[int, int]) -> tuple[str, MaskTrack]:
    if is_image(path):
        return "image", _still(_cut(_image_mask(path), take, shape, path), take)
    if path.suffix.lower() == ".json":
        return "run-length codes", _codes(path, take, shape)
    return "video", _video(path, take, shape)


def _codes(path: Path, take: Take, shape: tuple[int, int]) -> MaskTrack:
    try:
        track = rle.read_masks(path)
        masks = (track.mask(index) for index in range(len(track.frames)))
        counts = [_encoded(mask_HW, take, shape, path) for mask_HW in masks]
    except (OSError, ManifestError) as error:
        raise ConfigError(
            f"{path}: expected masks like a sample's masks.json, with size, fps and frames: {error}"
        ) from error
    return _track(counts, Fraction(track.fps), take, path)


def _video(path: Path, take: Take, shape: tuple[int, int]) -> MaskTrack:
    with opened(path) as (container, stream):
        fps = Fraction(stream.average_rate or FPS)
        masks = (
            np.asarray(frame.to_ndarray(format="gray") > _WHITE)
            for frame in container.decode(stream)
        )
        counts = [_encoded(mask_HW, take, shape, path) for mask_HW in masks]
    return _track(counts, fps, take, path)


def _track(counts: Sequence[str], fps: Fraction, take: Take, path: Path) -> MaskTrack:
    check_length(len(counts), fps, take.num_frames, str(path))
    order = [min(number, len(counts) - 1) for number in at_times(fps, take.num_frames)]
    return MaskTrack(_size(take), FPS, tuple(counts[index] for index in order))


def _image_mask(path: Path) -> Mask:
    pixels = read_pixels(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2:
        grey = pixels
    elif pixels.shape[2] == 4 and pixels[..., 3].min() < pixels[..., 3].max():
        grey = pixels[..., 3]
    else:
        grey = pixels[..., :3].max(axis=2)
    half = np.iinfo(grey.dtype).max // 2 if np.issubdtype(grey.dtype, np.integer) else 0.5
    return np.asarray(grey > half)


def _encoded(mask_HW: Mask, take: Take, shape: tuple[int, int], path: Path) -> str:
    return rle.encode(_cut(mask_HW, take, shape, path))


def _cut(mask_HW: Mask, take: Take, shape: tuple[int, int], path: Path) -> Mask:
    """From a mask of the whole picture to that of what is edited of it."""
    check_shape(mask_HW.shape[::-1], shape, path)
    return cut_mask(mask_HW, take, 1)


def _box(box: tuple[float, float, float, float], take: Take, shape: tuple[int, int]) -> Mask:
    x, y, width, height = box
    if max(box) <= 1:
        corners = [(x, y), (x + width, y + height)]
    else:
        corners = [(x / shape[0], y / shape[1]), ((x + width) / shape[0], (y + height) / shape[1])]
    (x0, y0), (x1, y1) = _placed(corners, take)
    mask_HW = np.zeros(_size(take), np.bool_)
    rows = slice(max(0, math.floor(y0 + _SLACK_PX)), max(0, math.ceil(y1 - _SLACK_PX)))
    mask_HW[rows, max(0, math.floor(x0 + _SLACK_PX)) : max(0, math.ceil(x1 - _SLACK_PX))] = True
    return mask_HW


def _outline(corners: Sequence[tuple[float, float]], take: Take, shape: tuple[int, int]) -> Mask:
    points = np.array(corners, np.float64)
    if points.max() > 1:
        points /= shape
    drawn = np.zeros(_size(take), np.uint8)
    # OpenCV takes whole numbers for the middles of pixels.
    fixed = np.round((_placed(points, take) - 0.5) * (1 << _FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(drawn, [fixed], 1, shift=_FRACTION_BITS)
    return np.asarray(drawn > 0)


def _placed(points: npt.ArrayLike, take: Take) -> npt.NDArray[np.float64]:
    """From shares of the picture to pixels of what is edited of it."""
    scaled = np.asarray(points, np.float64) * (take.scaled_px[1], take.scaled_px[0])
    return np.asarray(scaled - (take.left_px, take.top_px))


def _still(mask_HW: Mask, take: Take) -> MaskTrack:
    return MaskTrack(_size(take), FPS, (rle.encode(mask_HW),) * take.num_frames)


def _size(take: Take) -> tuple[int, int]:
    return take.height_px, take.width_px


def _is_box(track: MaskTrack) -> bool:
    """Whether every mask fills its bounding box."""
    for counts in set(track.frames):
        box = rle.box(counts, track.size)
        if box is not None:
            x0, y0, x1, y1 = box
            if rle.area(counts, track.size) < (x1 - x0) * (y1 - y0):
                return False
    return True
