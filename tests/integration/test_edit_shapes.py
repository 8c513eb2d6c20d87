"""What FlowAnchor does to one of two shapes, in figures, with a tiny Wan that has learnt shapes.

Pictures are taken as they are decoded, without composite: nothing puts the source back around the
mask.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from avipipe.annotators.base import Frames, Mask
from avipipe.editor.edit.method import Part
from avipipe.editor.flow_anchor.method import FlowAnchor, FlowAnchorConfig
from examples.tiny.shapes import KINDS, RGB, Scene, draw_scene
from examples.tiny.train_wan import NUM_SCENES, STEPS, Lessons, TinyWan, train
from tests.edit_models import Quiet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("one_thread"),
]

NUM_EDITS, FRAMES = 10, 9

COLOURS = ("red", "green", "blue")
FLOW_EDIT = {"sar": False, "amm": False}
SETTINGS = Path(__file__).parents[2] / "examples" / "tiny" / "flow_anchor.yaml"


@pytest.fixture(scope="module")
def anchoring(tmp_path_factory: pytest.TempPathFactory) -> FlowAnchor:
    """FlowAnchor with the example's Wan, which has learnt from other scenes."""
    rng, parts = np.random.default_rng(0), TinyWan.random()
    train(parts, Lessons.of([draw_scene(rng) for _ in range(NUM_SCENES)], parts), STEPS)
    wan = tmp_path_factory.mktemp("tiny") / "wan"
    parts.save(wan)
    settings: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    settings["models"]["wan"] = wan
    return FlowAnchor.load(FlowAnchorConfig.model_validate(settings))


def changed(method: FlowAnchor, **flow: Any) -> FlowAnchor:
    """The same models with other settings."""
    settings = method.config.flow_anchor.model_copy(update=flow)
    return FlowAnchor(method.components, method.config.model_copy(update={"flow_anchor": settings}))


class Edited:
    """A scene whose first shape is asked to be of another colour, and how far it went.

    Distances are of mean colours inside of a mask, absolute, of 255.
    """

    def __init__(self, method: FlowAnchor, scene: Scene, seed: int, folder: Path) -> None:
        first, second = scene.shapes
        others = [colour for colour in COLOURS if colour not in (first.colour, second.colour)]
        self.scene, self.colour = scene, others[seed % len(others)]
        part = Part(
            frames_FHWC=scene.frames(),
            mask_FHW=scene.masks[0],
            precision=0,
            task="edit",
            prompt=scene.caption.replace(first.name, f"{self.colour} {first.kind}", 1),
            source_prompt=scene.caption,
            anchor_words=(),
            wave_N=None,
            first_HWC=None,
            controls={},
            references=(),
            seed=seed,
        )
        models, state = method.components, folder / "state.pt"
        self.source_FHWC = models.decode(models.encode_video(part.frames_FHWC))
        self.frames_FHWC = method.edit(part, state, Quiet()).frames_FHWC
        state.unlink()

    @property
    def is_turned(self) -> bool:
        """Whether the first shape is nearer to the asked colour than to its own."""
        first_FHW, own = self.scene.masks[0], self.scene.shapes[0].colour
        found = self.frames_FHWC
        return _distance(found, first_FHW, self.colour) < _distance(found, first_FHW, own)

    @property
    def change_of_other(self) -> float:
        """Of the pixels of the second shape, absolute, of 255."""
        change = np.abs(self.frames_FHWC.astype(float) - self.source_FHWC)
        return float(change[self.scene.masks[1]].mean())


def _distance(frames_FHWC: Frames, mask_FHW: Mask, colour: str) -> float:
    return float(np.abs(frames_FHWC[mask_FHW].mean(0) - RGB[colour]).mean())


def scenes(*, are_twins: bool) -> list[Scene]:
    """Scenes with shapes of two colours and any kinds; or of one colour and kind."""
    rng, drawn = np.random.default_rng(1), []
    for _ in range(NUM_EDITS):
        first, second = rng.permutation(COLOURS)[:2]
        kind, other = rng.choice(KINDS, 2)
        names = [(first, kind), (first, kind) if are_twins else (second, other)]
        drawn.append(draw_scene(rng, names, num_frames=FRAMES))
    return drawn


def edited(method: FlowAnchor, given: list[Scene], folder: Path) -> list[Edited]:
    return [Edited(method, scene, seed, folder) for seed, scene in enumerate(given)]


def test_the_named_shape_gets_the_colour(anchoring: FlowAnchor, tmp_path: Path) -> None:
    found = edited(anchoring, scenes(are_twins=False), tmp_path)
    assert sum(edit.is_turned for edit in found) >= 0.8 * NUM_EDITS


def test_of_two_alike_only_the_mask_tells_which(anchoring: FlowAnchor, tmp_path: Path) -> None:
    """FlowEdit alone cannot know; anchored words go where they shall, and leave the other alone.

    Without the magnified change (AMM), by which the other one changes more as well.
    """
    given = scenes(are_twins=True)
    anchored = edited(changed(anchoring, amm=False), given, tmp_path)
    plain = edited(changed(anchoring, **FLOW_EDIT), given, tmp_path)
    assert sum(edit.is_turned for edit in anchored) >= 0.7 * NUM_EDITS
    assert sum(edit.is_turned for edit in plain) <= 0.5 * NUM_EDITS
    moved, astray = (
        float(np.mean([edit.change_of_other for edit in found])) for found in (anchored, plain)
    )
    assert moved < astray
