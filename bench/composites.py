"""Clips whose masks are known by construction: real cut-outs that move over other real clips.

A thing is cut out of a DAVIS track with its true masks and laid over the pictures of a real clip on
a path of its own. Each kind adds one trouble; what the eye would still see of the thing is the
truth.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.tracking import find_cuts
from avipipe.errors import AvipipeError
from avipipe.media.decode import read_frames
from avipipe.media.normalize import FPS
from avipipe.media.probe import probe

KINDS = ("plain", "crossing", "behind", "occluded", "hidden", "shake", "blur")
"""`crossing` and `behind`: another thing of the same sort passes in front of it, or behind.
`occluded` and `hidden`: a pillar covers a part of it for a while, or all of it."""

SIZE = (240, 426)
NUM_FRAMES = 48
_MARGIN_PX = 16
_JPEG_QUALITY = 75
_LEAST_PX = 400
_HEIGHTS = (0.4, 0.75)
"""Of the thing, over the picture's: what a clip's main thing is like."""

Alpha = npt.NDArray[np.float32]
Picture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cutout:
    """A thing by itself: crops (h, w, 3) and how far it covers their pixels (h, w), over time."""

    name: str
    label: str
    frames: Sequence[tuple[Picture, Alpha]]


@dataclass(frozen=True)
class Track:
    """A clip and the true masks of its thing (T, H, W); only frames in `known` have one."""

    name: str
    source: str
    label: str
    frames_THWC: Frames
    truth_THW: Mask
    known: Sequence[int]


def davis_tracks(root: Path) -> list[Track]:
    """Every object of every DAVIS clip in a folder; the judoka have their truth once."""
    found = []
    for folder in sorted(root.glob("davis_*")):
        frames_THWC = _pictures(folder)
        indices = {int(path.stem): _indices(path) for path in (folder / "masks").glob("*.png")}
        for index in sorted({int(n) for index_HW in indices.values() for n in np.unique(index_HW)}):
            name = f"{folder.name.removeprefix('davis_')}-{index}"
            truth_THW = np.zeros(frames_THWC.shape[:3], np.bool_)
            for frame, index_HW in indices.items():
                truth_THW[frame, :, : index_HW.shape[1]] = index_HW == index
            known = sorted(frame for frame, each in indices.items() if (each == index).any())
            if index:
                found.append(Track(name, name, _label(name), frames_THWC, truth_THW, known))
    return found


def composites(tracks: Sequence[Track], clips: Path, seed: int) -> Iterator[Track]:
    """One of each kind for each of the tracks' things, always the same for a seed."""
    cutouts = [_cutout(track) for track in tracks]
    paths = _backgrounds(clips)
    for number, cutout in enumerate(cutouts):
        alike = [c for c in cutouts if c.label == cutout.label and c is not cutout]
        for kind in KINDS:
            random = np.random.default_rng([seed, number, KINDS.index(kind)])
            yield _composite(cutout, alike, kind, paths, random)


def _composite(
    cutout: Cutout,
    alike: Sequence[Cutout],
    kind: str,
    paths: Sequence[Path],
    random: np.random.Generator,
) -> Track:
    ground_THWC = _ground(paths, random)
    height, width = ground_THWC.shape[1:3]
    high = float(random.uniform(*_HEIGHTS)) * SIZE[0]
    path_T2 = _path(random, height, width)
    flipped = bool(random.integers(2))
    other = alike[int(random.integers(len(alike)))]
    other_flipped = bool(random.integers(2))
    other_high = high * float(random.uniform(0.9, 1.2))
    middle = NUM_FRAMES // 2
    # The other way through the place where the thing is half-way.
    other_T2 = path_T2[middle] + (path_T2[middle] - path_T2) * (1.2, 0.4)
    other_T2 = other_T2 + np.linspace(-0.2, 0.2, NUM_FRAMES)[:, None] * (width, 0.0)
    pillar_HW = _pillar(kind, path_T2[middle], high, (height, width))
    stuff_HWC = _ground(paths, random)[0].astype(np.float32)
    shake_T2 = np.cumsum(random.normal(0.0, 2.0, (NUM_FRAMES, 2)), axis=0)
    shake_T2 = np.clip(shake_T2 - shake_T2.mean(axis=0), -_MARGIN_PX, _MARGIN_PX)
    blur_T = 2.2 * np.sin(np.pi * np.arange(NUM_FRAMES) / (NUM_FRAMES - 1)) ** 2
    frames, truth = [], []
    for n in range(NUM_FRAMES):
        picture = ground_THWC[n].astype(np.float32)
        seen_HW = np.zeros((height, width), np.float32)
        layers = [(cutout, path_T2[n], high, flipped, True)]
        if kind in ("crossing", "behind"):
            layers.append((other, other_T2[n], other_high, other_flipped, False))
            if kind == "behind":
                layers.reverse()
        for thing, place, tall, mirrored, ours in layers:
            colours, cover = _placed(thing, n, place, tall, mirrored, (height, width))
            picture += cover[..., None] * (colours - picture)
            seen_HW = np.maximum(seen_HW, cover) if ours else seen_HW * (1.0 - cover)
        picture += pillar_HW[..., None] * (stuff_HWC - picture)
        seen_HW = seen_HW * (1.0 - pillar_HW)
        dx, dy = np.round(shake_T2[n]).astype(int).tolist() if kind == "shake" else (0, 0)
        window = np.s_[
            _MARGIN_PX + dy : _MARGIN_PX + dy + SIZE[0], _MARGIN_PX + dx : _MARGIN_PX + dx + SIZE[1]
        ]
        picture = picture[window]
        if kind == "blur" and blur_T[n] > 0.3:
            picture = cv2.GaussianBlur(picture, (0, 0), float(blur_T[n]))
        frames.append(_compressed(picture))
        truth.append(seen_HW[window] > 0.5)
    return Track(
        f"{cutout.name} {kind}",
        cutout.name,
        cutout.label,
        np.stack(frames),
        np.stack(truth),
        range(NUM_FRAMES),
    )


def _placed(
    cutout: Cutout,
    n: int,
    place: npt.NDArray[np.float64],
    high: float,
    flipped: bool,
    size: tuple[int, int],
) -> tuple[Picture, Alpha]:
    """The cut-out on a canvas, its middle at a place (x, y)."""
    back_and_forth = [*range(len(cutout.frames)), *range(len(cutout.frames) - 2, 0, -1)]
    colours, cover = cutout.frames[(back_and_forth or [0])[n % len(back_and_forth or [0])]]
    tall, wide = cover.shape
    scale = high / max(c.shape[0] for _, c in cutout.frames)
    way = -1.0 if flipped else 1.0
    at = np.array(
        [
            [way * scale, 0.0, place[0] - way * scale * wide / 2],
            [0.0, scale, place[1] - scale * tall / 2],
        ]
    )
    if len(cutout.frames) == 1:
        colours, cover = _swayed(colours, cover, n)
    height, width = size
    drawn = cv2.warpAffine(colours, at, (width, height), flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(cover, at, (width, height), flags=cv2.INTER_LINEAR)
    return drawn, alpha


def _swayed(colours: Picture, cover: Alpha, n: int) -> tuple[Picture, Alpha]:
    """A still that moves in itself, its upper half against its lower, as a body does."""
    tall, wide = cover.shape
    columns, rows = np.meshgrid(
        np.arange(wide, dtype=np.float32), np.arange(tall, dtype=np.float32)
    )
    turn = 2 * np.pi * n / 24
    across = 0.06 * tall * np.sin(turn) * np.cos(np.pi * rows / tall)
    down = 0.04 * tall * np.sin(0.7 * turn) * np.sin(2 * np.pi * columns / wide)
    at = (columns + across).astype(np.float32), (rows + down).astype(np.float32)
    return (
        cv2.remap(colours, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        cv2.remap(cover, *at, cv2.INTER_LINEAR, borderValue=0.0),
    )


def _path(random: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float64]:
    """Through the picture and a little back (T, 2), in pixels."""
    turn = np.linspace(0.0, 1.0, NUM_FRAMES)
    way = 1.0 if random.integers(2) else -1.0
    x = 0.5 + way * float(random.uniform(0.2, 0.3)) * np.sin(2 * np.pi * 0.6 * (turn - 0.5))
    y = float(random.uniform(0.45, 0.6)) + 0.06 * np.sin(2 * np.pi * (turn + random.uniform()))
    return np.stack([x * width, y * height], axis=1)


def _pillar(kind: str, place: npt.NDArray[np.float64], high: float, size: tuple[int, int]) -> Alpha:
    """What stands in the way at a place (x, y); nothing in most kinds."""
    cover_HW = np.zeros(size, np.float32)
    half_px = {"occluded": 0.1, "hidden": 0.6}.get(kind, 0.0) * high
    if half_px:
        cover_HW[:, round(place[0] - half_px) : round(place[0] + half_px)] = 1.0
    return cover_HW


def _compressed(picture: Picture) -> Frames:
    rgb = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _backgrounds(clips: Path) -> list[Path]:
    with (clips / "labels.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["verdict"] != "odd"]
    return [clips / row["file"] for row in rows]


def _ground(paths: Sequence[Path], random: np.random.Generator) -> Frames:
    """Two seconds of a shot of some clip (T, H, W, 3), with a margin to shake in."""
    height, width = SIZE[0] + 2 * _MARGIN_PX, SIZE[1] + 2 * _MARGIN_PX
    while True:
        path = paths[int(random.integers(len(paths)))]
        try:
            frames_THWC = read_frames(
                path,
                probe(path),
                start_s=0.0,
                end_s=(NUM_FRAMES + 1) / float(FPS),
                fps=FPS,
                height_px=height,
            )[:NUM_FRAMES]
        except AvipipeError:
            continue
        if len(frames_THWC) == NUM_FRAMES and not find_cuts(frames_THWC):
            return np.stack([_filled(frame, (width, height)) for frame in frames_THWC])


def _filled(frame_HWC: Frames, size: tuple[int, int]) -> Frames:
    """Scaled so that it covers the size, and cropped in the middle."""
    width, height = size
    scale = max(width / frame_HWC.shape[1], height / frame_HWC.shape[0])
    whole = np.ceil(np.array(frame_HWC.shape[1::-1]) * scale).astype(int)
    large = cv2.resize(frame_HWC, whole.tolist(), interpolation=cv2.INTER_AREA)
    left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
    return np.asarray(large[top : top + height, left : left + width])


def _cutout(track: Track) -> Cutout:
    frames = []
    for frame in track.known:
        mask_HW = track.truth_THW[frame]
        if mask_HW.sum() < _LEAST_PX:
            continue
        x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
        window = np.s_[max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4]
        # A pixel less, so that none of what was behind it comes along.
        inner = cv2.erode(mask_HW.astype(np.float32), np.ones((3, 3), np.uint8))
        cover = cv2.GaussianBlur(inner, (0, 0), 0.7)[window]
        frames.append((track.frames_THWC[frame][window].astype(np.float32), cover))
    return Cutout(track.name, track.label, frames)


def _pictures(folder: Path) -> Frames:
    if (folder / "frames.mp4").exists():
        with av.open(str(folder / "frames.mp4")) as container:
            return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    paths = sorted((folder / "frames").glob("*.jpg"))
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def _indices(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def _label(name: str) -> str:
    return "dog" if name in ("dogs-jump-1", "dogs-jump-2") else "person"
