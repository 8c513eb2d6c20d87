"""Trains a tiny Stable Diffusion and a tiny AudioLDM 2 on coloured shapes: minutes on a CPU.

    python -m examples.tiny.train_aved demo/aved
    avipipe edit … --method aved --model demo/aved/picture --set models.sound=demo/aved/sound

Both folders are as the hub has them, with a codec without weights in place of the VAE.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from diffusers.utils import logging as diffusers_logging

from avipipe.editor.aved.config import NATIVE_FPS
from avipipe.media.normalize import FPS
from examples.tiny import audioldm2, stable_diffusion, vocoder
from examples.tiny.audioldm2 import SoundLessons, TinySounds, train_sounds
from examples.tiny.learn import printed
from examples.tiny.shapes import draw_scene
from examples.tiny.stable_diffusion import GRID_SIDE, PictureLessons, TinyPictures, train_pictures
from examples.tiny.vocoder import train_vocoder

FRAMES = 2 * GRID_SIDE**2 * FPS // NATIVE_FPS
"""Of a video, 2 s: two grids of frames are edited."""

NUM_SCENES = 800
"""That are learnt from."""


def train_aved(folder: Path, seed: int = 0) -> None:
    """Train both, and write them into a folder as `picture` and `sound`, whole or not at all."""
    rng = np.random.default_rng(seed)
    scenes = [draw_scene(rng, num_frames=FRAMES) for _ in range(NUM_SCENES)]
    pictures, sounds = TinyPictures.random(seed), TinySounds.random(seed)
    lessons = PictureLessons.of(scenes, pictures)
    steps = stable_diffusion.STEPS
    train_pictures(pictures, lessons, steps, seed=seed, told=printed("pictures", steps))
    steps = audioldm2.STEPS
    heard = SoundLessons.of(scenes, sounds, seed)
    train_sounds(sounds, heard, steps, seed=seed, told=printed("sounds", steps))
    steps = vocoder.STEPS
    train_vocoder(sounds.vocoder, steps, seed=seed, told=printed("vocoder", steps))
    diffusers_logging.disable_progress_bar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        draft = Path(place) / folder.name
        pictures.save(draft / "picture")
        sounds.save(draft / "sound")
        draft.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train_aved(given.folder, given.seed)
    print(f"{given.folder}: a tiny Stable Diffusion and AudioLDM 2, for avipipe edit --method aved")


if __name__ == "__main__":
    main()
