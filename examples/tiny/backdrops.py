"""Videos of a shape before a backdrop that has the colour of a tone, the louder the more of it.

    python -m examples.tiny.backdrops demo/backdrop --colour red --new blue

writes `video.mp4`, the mask of the shape as `shape.masks.json`, and another colour's tone, which
grows loud in its second half, as `new.wav`. A tiny network learns in minutes which tones stand for
which colours.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask, Wave
from avipipe.audio_agent.files import write_sound
from avipipe.audio_agent.tools import Sound
from avipipe.editor.edit.video import write_video
from avipipe.manifests import rle
from avipipe.media.normalize import FPS, SAMPLE_RATE_HZ
from examples.tiny.shapes import KINDS, PITCH_HZ, RGB, SIZE_PX, Shape, draw_shape

FRAMES = 16
"""Of a video, 2/3 s: half of them quiet, half of them loud."""

QUIET, STEADY, LOUD = 0.2, 0.6, 1.0
"""How loud a tone may be, which is how much of its colour the backdrop has."""

COURSES = ((QUIET, LOUD), (LOUD, QUIET), (STEADY, STEADY))
"""Loudness in both halves of a video; all are equally loud on average."""

_WALL = 90
"""Brightness of a backdrop without colour."""

GRAIN, GRAIN_PX = 20.0, 8
"""Standard deviation of what is added to all colours, of 255, and side of a grain. Networks of
noise lead what has no grain to noise that has none, which is unlike any that they know."""

_AMPLITUDE = 0.4
"""Of the loudest tone."""

Loudness = npt.NDArray[np.float64]
"""0 silent … 1 as loud as tones get."""


def course(halves: tuple[float, float], num_frames: int) -> Loudness:
    """Loudness of each frame, (F,)."""
    return np.repeat(halves, [num_frames // 2, num_frames - num_frames // 2])


def tone(colour: str, loudness_F: Loudness) -> Wave:
    """Of a colour, as long as the frames: (N,), float32 in [-1, 1], 48 kHz."""
    num_samples = len(loudness_F) * SAMPLE_RATE_HZ // FPS
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    middles_s = (np.arange(len(loudness_F)) + 0.5) / float(FPS)
    envelope_N = _AMPLITUDE * np.interp(time_s, middles_s, loudness_F)
    return np.asarray(envelope_N * np.sin(2 * np.pi * PITCH_HZ[colour] * time_s), np.float32)


def backdrop_colour(colour: str, loudness: Loudness) -> npt.NDArray[np.float64]:
    """RGB (…, 3) of backdrops of a colour, each as loud as said: (…)."""
    return np.asarray(_WALL + loudness[..., None] * (np.array(RGB[colour]) - _WALL))


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A shape before a backdrop that sounds.

    Attributes:
        colour: of the backdrop.
        loudness_F: of its tone, in each frame.
        seed: of the grain.
    """

    shape: Shape
    colour: str
    loudness_F: Loudness
    seed: int

    @property
    def mask(self) -> Mask:
        """Of the shape, bool (F, H, W)."""
        return self.shape.mask(len(self.loudness_F))

    def frames(self) -> Frames:
        """RGB, uint8 (F, H, W, 3)."""
        num_frames = len(self.loudness_F)
        frames_FHWC = np.empty((num_frames, *SIZE_PX, 3))
        frames_FHWC[:] = backdrop_colour(self.colour, self.loudness_F)[:, None, None]
        frames_FHWC[self.mask] = RGB[self.shape.colour]
        cells = (side // GRAIN_PX for side in SIZE_PX)
        grain = np.random.default_rng(self.seed).normal(0, GRAIN, (num_frames, *cells, 3))
        frames_FHWC += grain.repeat(GRAIN_PX, axis=1).repeat(GRAIN_PX, axis=2)
        return np.asarray(np.rint(frames_FHWC.clip(0, 255)), np.uint8)

    def tone(self) -> Wave:
        """Of the backdrop, as long as the frames, 48 kHz."""
        return tone(self.colour, self.loudness_F)

    def write(self, folder: Path) -> None:
        """Write the video and the shape's mask."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tone(folder / "own.wav", self.tone())
        write_video(folder / "video.mp4", self.frames(), folder / "own.wav", crf=4)
        rle.write_masks(folder / "shape.masks.json", map(rle.encode, self.mask), size=SIZE_PX)


def write_tone(path: Path, tone_N: Wave) -> None:
    """Write a tone as a sound file of two channels."""
    write_sound(path, Sound(np.stack([tone_N] * 2), SAMPLE_RATE_HZ))


def draw_backdrop(
    rng: np.random.Generator,
    *,
    colour: str | None = None,
    shape_colour: str | None = None,
    halves: tuple[float, float] | None = None,
    num_frames: int = FRAMES,
) -> Backdrop:
    """Draw a shape of one colour before a backdrop of another.

    Args:
        colour, shape_colour, halves: of the backdrop, the shape and the loudness; else drawn.
    """
    if colour is None:
        colour = str(rng.choice([each for each in RGB if each != shape_colour]))
    if shape_colour is None:
        shape_colour = str(rng.choice([each for each in RGB if each != colour]))
    if halves is None:
        halves = COURSES[int(rng.integers(len(COURSES)))]
    shape = draw_shape(rng, shape_colour, str(rng.choice(KINDS)), int(rng.integers(2)), num_frames)
    return Backdrop(shape, colour, course(halves, num_frames), int(rng.integers(2**32)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--colour", choices=RGB, default="red")
    parser.add_argument("--new", choices=RGB, default="blue")
    parser.add_argument("--shape", choices=RGB, default="yellow")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    scene = draw_backdrop(
        rng, colour=given.colour, shape_colour=given.shape, halves=(STEADY, STEADY)
    )
    scene.write(given.folder)
    write_tone(given.folder / "new.wav", tone(given.new, course((QUIET, LOUD), FRAMES)))
    print(f"{given.folder}: a {scene.shape.name} before {given.colour}, and a tone of {given.new}")


if __name__ == "__main__":
    main()
