"""Captioned videos of two coloured shapes that move a little, with a tone that goes with a colour.

    python -m examples.tiny.shapes demo/shapes --caption "a red square and a blue circle"

writes `video.mp4`, and the masks of both shapes as `first.masks.json` and `second.masks.json`.
A tiny network learns in minutes which words stand for which things.
"""

import argparse
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avipipe.annotators.base import Frames, Mask, Wave
from avipipe.audio_agent.files import write_sound
from avipipe.audio_agent.tools import Sound
from avipipe.editor.edit.video import write_video
from avipipe.manifests import rle
from avipipe.media.normalize import FPS, SAMPLE_RATE_HZ

RGB: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 230),
    "yellow": (230, 210, 50),
}
PITCH_HZ: Mapping[str, float] = {"red": 220.0, "green": 330.0, "blue": 495.0, "yellow": 742.5}
"""Of the tone of a colour; a fifth apart, so that mel spectrograms tell them apart as well."""

KINDS = ("square", "circle", "triangle")

FRAMES = 17
"""Of a video: 4 n + 1, about 0.7 s."""

SIZE_PX = (64, 96)
"""Height and width."""

_REACH_PX = (11.0, 15.0)
"""From the middle of a shape to its rim, least and most."""

_DRIFT_PX = 0.25
"""Most that a shape moves from frame to frame, in each direction."""

_WALL = (50, 100)
"""Brightness of what is behind them, darkest and lightest."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape, and how it moves.

    Attributes:
        middle_px: (x, y) in the first frame.
        drift_px: (x, y), by which it moves from frame to frame.
    """

    colour: str
    kind: str
    middle_px: tuple[float, float]
    drift_px: tuple[float, float]
    reach_px: float

    @property
    def name(self) -> str:
        """Such as `red square`."""
        return f"{self.colour} {self.kind}"

    def mask(self, num_frames: int) -> Mask:
        """Its pixels, bool (F, H, W)."""
        frame_F = np.arange(num_frames)[:, None, None]
        y, x = np.mgrid[: SIZE_PX[0], : SIZE_PX[1]] + 0.5
        right = (x - self.middle_px[0] - frame_F * self.drift_px[0]) / self.reach_px
        down = (y - self.middle_px[1] - frame_F * self.drift_px[1]) / self.reach_px
        match self.kind:
            case "square":
                return np.asarray(np.maximum(abs(right), abs(down)) < 0.9)
            case "circle":
                return np.asarray(right**2 + down**2 < 1)
            case _:
                return np.asarray((down < 0.9) & (2 * abs(right) < down + 1.1))


@dataclass(frozen=True, slots=True)
class Scene:
    """Two shapes before a wall; the first one sounds."""

    shapes: tuple[Shape, Shape]
    wall: int
    num_frames: int

    @property
    def caption(self) -> str:
        """Such as `a red square and a blue circle`."""
        return " and ".join(f"a {shape.name}" for shape in self.shapes)

    @property
    def masks(self) -> tuple[Mask, Mask]:
        """Of both shapes, bool (F, H, W)."""
        first, second = (shape.mask(self.num_frames) for shape in self.shapes)
        return first, second

    def frames(self) -> Frames:
        """RGB, uint8 (F, H, W, 3)."""
        frames_FHWC = np.full((self.num_frames, *SIZE_PX, 3), self.wall, np.uint8)
        for shape, mask_FHW in zip(self.shapes, self.masks, strict=True):
            frames_FHWC[mask_FHW] = RGB[shape.colour]
        return frames_FHWC

    def tone(self) -> Wave:
        """Of the first shape's colour, as long as the frames: (N,), float32 in [-1, 1], 48 kHz."""
        time_s = np.arange(self.num_frames * SAMPLE_RATE_HZ // FPS) / SAMPLE_RATE_HZ
        pitch_hz = PITCH_HZ[self.shapes[0].colour]
        return np.asarray(0.3 * np.sin(2 * np.pi * pitch_hz * time_s), dtype=np.float32)

    def write(self, folder: Path) -> Path:
        """Write the video and both masks; the path of the video."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place:
            sound = Path(place) / "tone.wav"
            write_sound(sound, Sound(np.stack([self.tone()] * 2), SAMPLE_RATE_HZ))
            write_video(folder / "video.mp4", self.frames(), sound, crf=4)
        for name, mask_FHW in zip(("first", "second"), self.masks, strict=True):
            counts = map(rle.encode, mask_FHW)
            rle.write_masks(folder / f"{name}.masks.json", counts, size=SIZE_PX)
        return folder / "video.mp4"


def draw_scene(
    rng: np.random.Generator,
    names: Sequence[tuple[str, str]] | None = None,
    *,
    num_frames: int = FRAMES,
) -> Scene:
    """Draw two shapes, the first on either side, each in its half of the picture.

    Args:
        names: colour and kind of each; else drawn as well; they may be alike.
    """
    if names is None:
        names = [
            (str(colour), str(kind))
            for colour, kind in zip(rng.choice(tuple(RGB), 2), rng.choice(KINDS, 2), strict=True)
        ]
    halves = rng.permutation(2)
    first, second = (
        draw_shape(rng, *name, int(half), num_frames)
        for name, half in zip(names, halves, strict=True)
    )
    return Scene((first, second), int(rng.integers(*_WALL)), num_frames)


def draw_shape(
    rng: np.random.Generator,
    colour: str,
    kind: str,
    half: int,
    num_frames: int,
) -> Shape:
    """All of it is in its half of the picture in all frames."""
    reach_px = float(rng.uniform(*_REACH_PX))
    way_px = rng.uniform(-_DRIFT_PX, _DRIFT_PX, 2) * (num_frames - 1)
    room_px = np.array([SIZE_PX[1] / 2, SIZE_PX[0]])
    least = reach_px - np.minimum(way_px, 0)
    most = room_px - reach_px - np.maximum(way_px, 0)
    x, y = rng.uniform(least, np.maximum(least, most))
    drift_px = way_px / max(1, num_frames - 1)
    middle_px = (float(x + half * room_px[0]), float(y))
    return Shape(colour, kind, middle_px, (float(drift_px[0]), float(drift_px[1])), reach_px)


def names_in(caption: str) -> list[tuple[str, str]]:
    """Colours and kinds of the two shapes of a caption.

    Raises:
        ValueError: it names something else.
    """
    found = re.findall(rf"({'|'.join(RGB)}) ({'|'.join(KINDS)})", caption)
    if len(found) != 2:
        raise ValueError(
            f"expected two of {', '.join(RGB)} {', '.join(KINDS)}, such as `a red square and a "
            f"blue circle`, got {caption!r}"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--caption", help="else drawn")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names = None if given.caption is None else names_in(given.caption)
    rng = np.random.default_rng(given.seed)
    scene = draw_scene(rng, names, num_frames=given.frames)
    print(f"{scene.write(given.folder)}: {scene.caption}")


if __name__ == "__main__":
    main()
