"""What every annotator that sees must do, whatever its method; a new backend is tested by name.

Deterministic, the same after pickling and in every size of picture; whole and in range on still,
silent, black and very short clips.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avipipe.annotators.base import (
    ActiveSpeakers,
    Annotator,
    Detection,
    FrameMask,
    Frames,
    Localization,
    Mask,
    PropagatedMasks,
    SpeakerTrack,
    ThingFinder,
    ThingTrack,
    Wave,
)
from avipipe.annotators.registry import BACKENDS, create
from avipipe.errors import WeightsError
from tests.contract.test_annotators import plain
from tests.pictures import hops, square_on_wall, still
from tests.sounds import RATE_HZ, knocks

FPS = Fraction(24)
LANDINGS_S = (0.5, 1.2, 1.9)


@dataclass(frozen=True)
class Scene:
    frames: Frames
    masks: Mask
    wav_N: Wave

    @property
    def heat(self) -> Localization:
        heat_HW = self.masks.mean(axis=0, dtype=np.float32)
        return Localization(0.5, 0.01, 0.3, 0.0, heat_HW, None, 0.9)

    @property
    def speakers(self) -> ActiveSpeakers:
        """A face that speaks, in every sixth frame, as if there were one."""
        frames = tuple(range(0, len(self.frames), 6))
        boxes, scores = ((70.0, 45.0, 88.0, 69.0),) * len(frames), (1.0,) * len(frames)
        return ActiveSpeakers((SpeakerTrack(frames, boxes, scores),), 1.0)


def hopping(num_frames: int = 60) -> Scene:
    frames, masks = square_on_wall(hops(num_frames, [round(at * FPS) for at in LANDINGS_S]))
    return Scene(frames, masks, knocks(LANDINGS_S)[: round(num_frames * RATE_HZ / FPS)])


def odd_sized() -> Scene:
    scene = hopping(20)
    return Scene(scene.frames[:, :-3, :-7], scene.masks[:, :-3, :-7], scene.wav_N)


SEE: dict[str, Callable[[Any, Scene], Any]] = {
    "localize": lambda backend, scene: backend.localize(
        scene.frames, fps=FPS, wav_N=scene.wav_N, sample_rate_hz=RATE_HZ
    ),
    "active_speaker": lambda backend, scene: backend.score(
        scene.frames, fps=FPS, wav_N=scene.wav_N, sample_rate_hz=RATE_HZ
    ),
    "detect": lambda backend, scene: [
        *backend.detect(scene.frames, fps=FPS, prompts=["square"], localization=scene.heat),
        *backend.detect(
            scene.frames,
            fps=FPS,
            prompts=["person"],
            localization=scene.heat,
            speakers=scene.speakers,
        ),
    ],
    "classify": lambda backend, scene: (
        *backend.classify([scene.frames[0], scene.frames[-1, :40, :60]]),
        backend.locate(scene.frames[0], "dog"),
    ),
    "text": lambda backend, scene: backend.find([scene.frames[0], scene.frames[-1]]),
    "segment": lambda backend, scene: backend.segment(
        scene.frames[0], box=(60, 40, 100, 95), label="person"
    ),
    "propagate": lambda backend, scene: backend.propagate(
        scene.frames, seed_frame=len(scene.frames) // 2, seed_mask_HW=scene.masks[-1]
    ),
}
"""Role -> how a backend of it is called."""

SCENES: dict[str, Callable[[], Scene]] = {
    "hopping": hopping,
    "odd size": odd_sized,
    "still": lambda: Scene(still(30), hopping(30).masks, hopping(30).wav_N),
    "silent": lambda: Scene(hopping(30).frames, hopping(30).masks, np.zeros(20_000, np.float32)),
    "black": lambda: Scene(0 * still(30), hopping(30).masks, hopping(30).wav_N),
    "empty mask": lambda: Scene(hopping(30).frames, hopping(30).masks & False, hopping(30).wav_N),
    "one frame": lambda: hopping(1),
    "two frames": lambda: hopping(2),
}


@pytest.fixture(
    scope="module",
    params=[(role, name) for role in SEE for name in BACKENDS[role]],
    ids=lambda role_name: "-".join(role_name),
)
def role_backend(request: pytest.FixtureRequest) -> tuple[str, Annotator]:
    role, name = request.param
    backend = create(role, name)
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(f"{role} {name} cannot run here: {error}")
    return role, backend


def see(role: str, backend: Annotator, scene: Scene) -> Any:
    """What a backend gives, in a form that can be compared."""
    result = SEE[role](backend, scene)
    return plain(tuple(result) if isinstance(result, list) else result)


def check(result: Any, scene: Scene) -> None:
    """Shapes, types and ranges of what a backend gave."""
    size, num_frames = scene.frames.shape[1:3], len(scene.frames)
    match result:
        case Localization():
            assert result.heat_HW.shape == size
            assert result.heat_HW.dtype == np.float32
            assert 0.0 <= result.heat_HW.min() <= result.heat_HW.max() <= 1.0
            known = result.correlation is not None
            assert (result.box is not None) == known == bool(result.heat_HW.any())
            assert result.p_value is None or 0.0 < result.p_value <= 1.0
        case ActiveSpeakers():
            assert all(0 <= frame < num_frames for t in result.tracks for frame in t.frames)
        case (*classes, np.ndarray() as heat_HW):
            assert len(classes) == 2
            assert all(0.0 <= score <= 1.0 for scores in classes for score in scores.values())
            assert all(list(s.values()) == sorted(s.values(), reverse=True) for s in classes)
            assert heat_HW.shape == size
            assert heat_HW.dtype == np.float32
            assert 0.0 <= heat_HW.min() <= heat_HW.max() <= 1.0
        case None | [(), ()] | [(*_,), (*_,)]:
            for boxes in result or ():
                assert list(boxes) == sorted(boxes, key=lambda box: box[1])
                for x0, y0, x1, y1 in boxes:
                    assert 0 <= x0 < x1 <= size[1]
                    assert 0 <= y0 < y1 <= size[0]
        case list():
            for detection in result:
                assert isinstance(detection, Detection)
                x0, y0, x1, y1 = detection.box
                assert 0 <= x0 < x1 <= size[1]
                assert 0 <= y0 < y1 <= size[0]
                assert 0 <= detection.frame < num_frames
                assert 0.0 <= detection.score <= 1.0
        case FrameMask():
            assert result.mask_HW.shape == size
            assert result.mask_HW.dtype == np.dtype(np.bool_)
            assert result.score is None or 0.0 <= result.score <= 1.0
        case PropagatedMasks():
            assert result.masks_THW.shape == (num_frames, *size)
            assert result.masks_THW.dtype == np.dtype(np.bool_)
            assert result.quality_T.shape == (num_frames,)
            assert 0.0 <= result.quality_T.min() <= result.quality_T.max() <= 1.0
            assert (result.quality_T[~result.masks_THW.any(axis=(1, 2))] == 0.0).all()
        case _:
            raise AssertionError(f"no such result: {result!r}")


@pytest.mark.parametrize("scene", SCENES)
def test_results_are_whole_and_in_range(role_backend: tuple[str, Annotator], scene: str) -> None:
    role, backend = role_backend
    given = SCENES[scene]()
    result = SEE[role](backend, given)
    assert result is not None or role == "text", "only text finders may look for nothing"
    check(result, given)


@pytest.mark.parametrize(
    "name",
    [name for name in BACKENDS["detect"] if isinstance(create("detect", name), ThingFinder)],
)
def test_things_are_whole_and_in_range(name: str) -> None:
    backend = create("detect", name)
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(f"detect {name} cannot run here: {error}")
    for make in SCENES.values():
        scene = make()
        height, width = scene.frames.shape[1:3]
        tracks = backend.things(scene.frames, fps=FPS)
        assert tracks == backend.things(scene.frames, fps=FPS)
        for track in tracks:
            assert isinstance(track, ThingTrack)
            assert len(track.frames) == len(track.boxes) == len(track.scores) > 0
            assert list(track.frames) == sorted(set(track.frames))
            assert 0 <= track.frames[0] <= track.frames[-1] < len(scene.frames)
            assert all(0.0 <= score <= 1.0 for score in track.scores)
            for x0, y0, x1, y1 in track.boxes:
                assert 0 <= x0 < x1 <= width
                assert 0 <= y0 < y1 <= height


def test_the_same_input_gives_the_same_result(role_backend: tuple[str, Annotator]) -> None:
    role, backend = role_backend
    scene = hopping(40)
    first = see(role, backend, scene)
    SEE[role](backend, odd_sized())
    assert see(role, backend, scene) == first
    copy = pickle.loads(pickle.dumps(type(backend)()))
    copy.setup()
    assert see(role, copy, scene) == first


def test_the_input_is_left_alone(role_backend: tuple[str, Annotator]) -> None:
    role, backend = role_backend
    scene = hopping(20)
    for array in (scene.frames, scene.masks, scene.wav_N):
        array.setflags(write=False)
    SEE[role](backend, scene)
