"""What AudioScenic does to the backdrop of a shape, in figures, with tiny models that know tones.

Pictures are taken as they are decoded, without composite: nothing puts the source back where it
stays.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from avipipe.annotators.base import HEARING_HZ, Frames
from avipipe.annotators.signal import resample
from avipipe.editor.audio_scenic.method import AudioScenic, AudioScenicConfig
from avipipe.editor.audio_scenic.trained import FOLDER
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.method import Part, Scene
from avipipe.editor.edit.video import fit_sound
from avipipe.media.normalize import SAMPLE_RATE_HZ
from examples.tiny.backdrops import (
    FRAMES,
    LOUD,
    QUIET,
    STEADY,
    Backdrop,
    backdrop_colour,
    course,
    draw_backdrop,
    tone,
    write_tone,
)
from examples.tiny.shapes import RGB
from examples.tiny.train_audio_scenic import make
from tests.edit_models import Quiet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("one_thread"),
]

NUM_EDITS, NUM_UNTRAINED = 6, 2
SETTINGS = Path(__file__).parents[2] / "examples" / "tiny" / "audio_scenic.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's models, which have learnt from other videos."""
    made = tmp_path_factory.mktemp("tiny") / "scenic"
    make(made, lambda what, step, loss: None)
    return made


def load(folder: Path) -> AudioScenic:
    settings: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    names = ("diffusion", "controlnet", "depth", "clap")
    settings["models"] |= {name: folder / name for name in names}
    return AudioScenic.load(AudioScenicConfig.model_validate(settings))


@dataclass(frozen=True, slots=True)
class Edited:
    """A scene whose backdrop hears the tone of another colour, soft in its first half, then loud.

    Attributes:
        colour: that the tone stands for.
        source_FHWC: the scene as the codec leaves it.
        unmasked_FHWC: what comes of it where the shape hears, too.
    """

    scene: Backdrop
    colour: str
    source_FHWC: Frames
    frames_FHWC: Frames
    unmasked_FHWC: Frames

    def found(self, half: int) -> npt.NDArray[np.float64]:
        """Mean RGB of the backdrop in a half of the video."""
        frames = np.array_split(np.arange(FRAMES), 2)[half]
        pixels = self.frames_FHWC[frames][~self.scene.mask[frames]]
        return np.asarray(pixels.mean(0, dtype=np.float64))

    @property
    def nearest(self) -> str:
        """The colour whose loud backdrops are most like the loud half."""
        return min(
            RGB,
            key=lambda name: np.abs(backdrop_colour(name, np.array(LOUD)) - self.found(1)).sum(),
        )

    def share(self, half: int) -> float:
        """How much of the tone's colour the backdrop has in a half: 0 none, 1 as the loudest."""
        none, all_of_it = backdrop_colour(self.colour, np.array([0.0, LOUD]))
        way = all_of_it - none
        return float((self.found(half) - none) @ way / (way @ way))

    def change(self, half: int) -> float:
        """Of the backdrop in a half: mean of the absolute change, of 255."""
        frames = np.array_split(np.arange(FRAMES), 2)[half]
        change = np.abs(self.frames_FHWC.astype(float) - self.source_FHWC)
        return float(change[frames][~self.scene.mask[frames]].mean())

    def change_of_shape(self, *, is_masked: bool = True) -> float:
        """The same of the shape in all frames."""
        frames_FHWC = self.frames_FHWC if is_masked else self.unmasked_FHWC
        change = np.abs(frames_FHWC.astype(float) - self.source_FHWC)
        return float(change[self.scene.mask].mean())


def edit(method: AudioScenic, scene: Backdrop, colour: str, seed: int, folder: Path) -> Edited:
    """Tune the network on a scene, and edit it."""
    folder.mkdir()
    footage = Footage(folder / "frames")
    footage.write_all(iter(scene.frames()))
    write_tone(folder / "own.wav", scene.tone())
    fit_sound(folder / "own.wav", FRAMES, folder / "own.flac")
    own = Scene(footage, folder / "own.flac", has_sound=True)
    method.fit(own, folder / "fit", Quiet(), seed=seed)
    new_N = tone(colour, course((QUIET, LOUD), FRAMES))
    part = Part(
        frames_FHWC=scene.frames(),
        mask_FHW=~scene.mask,
        precision=0,
        task="edit",
        prompt="",
        source_prompt=None,
        anchor_words=(),
        wave_N=resample(new_N, from_hz=SAMPLE_RATE_HZ, to_hz=HEARING_HZ),
        first_HWC=None,
        controls={},
        references=(),
        seed=seed,
    )
    source_FHWC = method.components.decode(method.components.encode(part.frames_FHWC))
    masked, unmasked = (
        method.edit(replace(part, mask_FHW=mask_FHW), folder / name, Quiet()).frames_FHWC
        for name, mask_FHW in (("masked", ~scene.mask), ("unmasked", np.ones_like(scene.mask)))
    )
    return Edited(scene, colour, source_FHWC, masked, unmasked)


@pytest.fixture(scope="module")
def edits(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Edited]:
    return edit_scenes(load(folder), NUM_EDITS, tmp_path_factory.mktemp("edits"))


def edit_scenes(method: AudioScenic, count: int, folder: Path) -> list[Edited]:
    """Edit scenes that are steadily loud, each by the tone of another colour."""
    rng, names, made = np.random.default_rng(1), tuple(RGB), list[Edited]()
    for number in range(count):
        old, new = (names[(number + step) % len(names)] for step in (0, 1 + number % 3))
        shape = next(name for name in names if name not in (old, new))
        scene = draw_backdrop(rng, colour=old, shape_colour=shape, halves=(STEADY, STEADY))
        made.append(edit(method, scene, new, number, folder / str(number)))
        print(told(made[-1]), flush=True)
    return made


def told(made: Edited) -> str:
    """Its figures; `pytest -s` shows them."""
    shares, changes = (
        f"{name} {of_half(0):.2f}, {of_half(1):.2f}"
        for name, of_half in (("shares", made.share), ("changes", made.change))
    )
    shape, unmasked = (made.change_of_shape(is_masked=each) for each in (True, False))
    return (
        f"{made.scene.colour} -> {made.colour}: nearest to {made.nearest}; {shares}; {changes}; of "
        f"the {made.scene.shape.name} {shape:.2f}, {unmasked:.2f} where it hears"
    )


def test_the_backdrop_gets_the_colour_of_the_new_tone(edits: list[Edited]) -> None:
    assert sum(made.nearest == made.colour for made in edits) >= NUM_EDITS - 1


def test_it_changes_more_where_the_tone_is_louder(edits: list[Edited]) -> None:
    quiet, loud = (np.array([made.share(half) for made in edits]) for half in (0, 1))
    assert (loud > quiet).all()
    assert (loud - quiet).mean() > 0.3
    soft, strong = (np.mean([made.change(half) for made in edits]) for half in (0, 1))
    assert strong > 1.5 * soft


def test_the_shape_is_left(edits: list[Edited]) -> None:
    shape, unmasked = (
        np.mean([made.change_of_shape(is_masked=each) for made in edits]) for each in (True, False)
    )
    backdrop = np.mean([made.change(1) for made in edits])
    assert shape < 0.5 * backdrop
    assert shape < 0.75 * unmasked


def test_without_what_was_trained_a_tone_means_nothing(folder: Path, tmp_path: Path) -> None:
    """The network is tuned on the video alone, as in the paper."""
    shutil.copytree(folder, tmp_path / "scenic")
    shutil.rmtree(tmp_path / "scenic" / "diffusion" / FOLDER)
    made = edit_scenes(load(tmp_path / "scenic"), NUM_UNTRAINED, tmp_path)
    assert all(edited.nearest == edited.scene.colour for edited in made)
