"""Masks as COCO run-length codes, and `masks.json`, the mask of every frame of a clip.

`counts` is the compressed ASCII form that pycocotools writes: column-major runs of zeros and ones.
Lengths, areas, boxes and intersections are read from the code without drawing the mask.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from avipipe.errors import ManifestError
from avipipe.files import write_whole
from avipipe.media.normalize import FPS

Mask = npt.NDArray[np.bool_]
Size = tuple[int, int]
"""Size of a mask: (height, width) in pixels."""

MAX_PIXELS = 8192 * 8192
"""Of a mask that is read: as of a source's pictures. A decoded one takes two bytes a pixel, 128 MiB
at most, and one is held at a time; counts of a few characters may stand for any number."""


def encode(mask_HW: Mask) -> str:
    """Encode a mask, bool (H, W), as run-length counts."""
    columns = np.asfortranarray(mask_HW, dtype=np.uint8)
    counts: bytes = coco.encode(columns)["counts"]
    return counts.decode("ascii")


def decode(counts: str, size: Size) -> Mask:
    """Decode run-length counts to a mask, bool (H, W).

    Raises:
        ManifestError: not run-length counts, or not of this size.
    """
    return np.ascontiguousarray(decode_by_columns(counts, size).T)


def decode_by_columns(counts: str, size: Size) -> Mask:
    """Decode to the transposed mask, bool (W, H): as it is coded, in a fraction of the time.

    Raises:
        ManifestError: as `decode`.
    """
    # pycocotools' own decoder warns under numpy 2, and leaves uninitialised what too short a code
    # does not cover.
    height, width = size
    runs = _checked_runs(counts, size)
    return np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(width, height)


def area(counts: str, size: Size) -> int:
    """Number of pixels in a mask."""
    return int(coco.area(_rle(counts, size)))


def box(counts: str, size: Size) -> tuple[int, int, int, int] | None:
    """Bounding box (x0, y0, x1, y1) of a mask, half-open; None for an empty one."""
    if area(counts, size) == 0:
        return None
    x0, y0, width, height = (int(value) for value in coco.toBbox(_rle(counts, size)))
    return x0, y0, x0 + width, y0 + height


def iou(a: str, b: str, size: Size) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    one, other = _rle(a, size), _rle(b, size)
    union = int(coco.area(coco.merge([one, other])))
    return int(coco.area(coco.merge([one, other], intersect=True))) / union if union else 1.0


@dataclass(frozen=True, slots=True)
class MaskTrack:
    """An encoded mask track, as `masks.json` holds it: one mask for each frame of a clip."""

    size: Size
    fps: int
    frames: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Any) -> "MaskTrack":
        """Parse the content of `masks.json`; nothing is decoded.

        Raises:
            ManifestError: it is not what the data contract says, or larger than `MAX_PIXELS`.
        """
        try:
            (height, width), fps, frames = data["size"], data["fps"], data["frames"]
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"expected an object with size, fps and frames, got {error!r}"
            ) from error
        numbers = [_whole(value) for value in (height, width, fps)]
        if min(numbers) < 1:
            raise ManifestError(
                "expected whole numbers above 0 for size and fps, found "
                f"{[height, width]!r:.60} and {fps!r:.30}"
            )
        height, width, fps = numbers
        if height * width > MAX_PIXELS:
            raise ManifestError(
                f"expected masks of at most {MAX_PIXELS} pixels, found {width}x{height}; scale "
                "them to the size of the video"
            )
        if not are_counts(frames):
            raise ManifestError("expected frames to be a list of run-length counts")
        return cls((height, width), fps, tuple(frames))

    def check(self) -> None:
        """Check the runs of all frames without drawing them.

        Raises:
            ManifestError: one is no run-length code of this size.
        """
        for counts in self.frames:
            _checked_runs(counts, self.size)

    def mask(self, frame: int) -> Mask:
        """Decode the mask of one frame, bool (H, W)."""
        return decode(self.frames[frame], self.size)


def write_masks(path: Path, frames: Iterable[str], *, size: Size) -> None:
    """Write `masks.json`. `frames` may be a generator, so a clip is never held as pixels."""
    write_json(path, {"size": list(size), "fps": int(FPS), "frames": list(frames)})


def read_masks(path: Path) -> MaskTrack:
    """Read `masks.json`.

    Raises:
        ManifestError: it is not what the data contract says.
    """
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"{path}: expected an object with size, fps and frames, got {error!r};"
            " run the mask stage again"
        ) from error
    try:
        return MaskTrack.from_json(data)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}; run the mask stage again") from error


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON, durable and whole or not at all."""
    write_whole(path, canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, ASCII, a final newline."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii") + b"\n"


def _checked_runs(counts: str, size: Size) -> npt.NDArray[np.int64]:
    """Lengths of the runs, zeros first, that fill a mask.

    Raises:
        ManifestError: not run-length counts, or not of this size.
    """
    height, width = size
    runs = _runs(counts)
    if runs.min() < 0 or runs.sum() != height * width:
        raise ManifestError(
            f"expected run-length counts of a {height}x{width} mask, found {counts[:40]!r};"
            " the file is damaged or its size is wrong"
        )
    return runs


def _runs(counts: str) -> npt.NDArray[np.int64]:
    """Lengths of the runs, zeros first; [-1] for text that is not run-length counts."""
    codes = np.frombuffer(counts.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        return np.array([-1])
    # Five bits a character, low ones first; bit 5 says "goes on", bit 4 of the last is the sign.
    last = np.flatnonzero((codes & 0x20) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    if place.max() > 8:
        return np.array([-1])
    runs = np.add.reduceat((codes & 0x1F) << (5 * place), first)
    runs -= (codes[last] >> 4 & 1) << (5 * (place[last] + 1))
    # From the fourth run on, each is stored as the difference to the one two before it.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _rle(counts: str, size: Size) -> dict[str, Any]:
    return {"size": list(size), "counts": counts.encode("ascii")}


def are_counts(frames: Any) -> bool:
    """Whether a JSON value is a list of what may be run-length counts."""
    return isinstance(frames, list) and all(isinstance(counts, str) for counts in frames)


def _whole(value: Any) -> int:
    """A JSON number that is whole; 0 for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and value == value // 1 else 0
