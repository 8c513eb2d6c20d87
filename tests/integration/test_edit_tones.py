"""What AvED does to a shape and its tone, in figures, with tiny models that have learnt both.

Pictures and sounds are taken as the models make them: nothing puts the source back. Nothing is said
of the cross-modal loss, which here changes next to nothing (docs/edit.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from avipipe.annotators.base import Wave
from avipipe.editor.aved.method import Aved, AvedConfig, native_frames
from avipipe.editor.edit.method import Part
from avipipe.media.normalize import FPS
from examples.tiny.shapes import KINDS, PITCH_HZ, RGB, Scene, draw_scene
from examples.tiny.train_aved import train_aved
from examples.tiny.vocoder import RATE_HZ, tone
from tests.edit_models import Quiet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("one_thread"),
]

NUM_EDITS = 6

FRAMES = 24
"""A second, of which one grid is edited."""

COLOURS = ("red", "green", "blue")
SETTINGS = Path(__file__).parents[2] / "examples" / "tiny" / "aved.yaml"


@pytest.fixture(scope="module")
def aved(tmp_path_factory: pytest.TempPathFactory) -> Aved:
    """AvED with the example's models, which have learnt from other scenes."""
    models = tmp_path_factory.mktemp("tiny") / "aved"
    train_aved(models)
    settings: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    settings["models"] |= {"picture": models / "picture", "sound": models / "sound"}
    return Aved.load(AvedConfig.model_validate(settings))


@dataclass(frozen=True, slots=True)
class Edited:
    """How far the first shape and its tone went from what they were, 0, to what was asked, 1.

    Attributes:
        colour: along the line between both colours.
        pitch: share of the asked one in the power of all four, each within a semitone.
        is_seen: whether the shape is nearer to the asked colour than to its own, and to the wall.
    """

    colour: float
    pitch: float
    is_seen: bool

    @property
    def is_heard(self) -> bool:
        """Whether the asked pitch sounds louder than all others."""
        return self.pitch > 0.5

    @property
    def lag(self) -> float:
        """How much further one went than the other, from 0 to 1."""
        colour, pitch = np.clip([self.colour, self.pitch], 0, 1)
        return float(abs(colour - pitch))


def edit(method: Aved, scene: Scene, seed: int, folder: Path) -> Edited:
    """Ask for another colour of the first shape, one that nothing has."""
    first, second = scene.shapes
    (colour,) = set(COLOURS) - {first.colour, second.colour}
    part = Part(
        frames_FHWC=scene.frames(),
        mask_FHW=scene.masks[0],
        precision=0,
        task="edit",
        prompt=scene.caption.replace(first.name, f"{colour} {first.kind}", 1),
        source_prompt=scene.caption,
        anchor_words=(),
        wave_N=tone(PITCH_HZ[first.colour], FRAMES * RATE_HZ // FPS),
        first_HWC=None,
        controls={},
        references=(),
        seed=seed,
    )
    found = method.edit(part, folder / f"{seed}.state", Quiet())
    assert found.native_FHWC is not None
    assert found.sound_N is not None
    mean = found.native_FHWC[scene.masks[0][native_frames(FRAMES)]].mean(0)
    own, asked, wall = (
        np.array(each, float) for each in (RGB[first.colour], RGB[colour], (scene.wall,) * 3)
    )
    way = asked - own
    powers = {each: _power(found.sound_N, pitch_hz) for each, pitch_hz in PITCH_HZ.items()}
    return Edited(
        colour=float((mean - own) @ way / (way @ way)),
        pitch=powers[colour] / sum(powers.values()),
        is_seen=min((own, asked, wall), key=lambda each: np.abs(mean - each).sum()) is asked,
    )


def _power(wave_N: Wave, pitch_hz: float) -> float:
    """What sounds within a semitone of a pitch."""
    spectrum = np.abs(np.fft.rfft(wave_N * np.hanning(len(wave_N)))) ** 2
    semitones = 12 * np.log2(np.fft.rfftfreq(len(wave_N), 1 / RATE_HZ)[1:] / pitch_hz)
    return float(spectrum[1:][np.abs(semitones) < 1].sum())


def scenes() -> list[Scene]:
    """Scenes with shapes of two colours and kinds; words of two alike are not told apart."""
    rng, drawn = np.random.default_rng(1), []
    for _ in range(NUM_EDITS):
        colours, kinds = rng.permutation(COLOURS)[:2], rng.permutation(KINDS)[:2]
        names = [(str(colour), str(kind)) for colour, kind in zip(colours, kinds, strict=True)]
        drawn.append(draw_scene(rng, names, num_frames=FRAMES))
    return drawn


def test_colour_and_tone_turn_together(aved: Aved, tmp_path: Path) -> None:
    found = [edit(aved, scene, seed, tmp_path) for seed, scene in enumerate(scenes())]
    assert sum(each.is_seen and each.is_heard for each in found) >= 4, found
    assert sum(each.is_heard for each in found) >= 5, found
    assert np.mean([each.lag for each in found]) < 0.35, found
