"""Bad input to real models: each file has its reason, and costs the files beside it nothing."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from avipipe.pipeline.workspace import Workspace
from avipipe.synth import SynthClip, render, write_clip
from avipipe.synth.picture import Pose
from tests.decisions import LIMITS
from tests.integration.builds import assert_adds_up, build, light_runs, published, status

DURATION_S = 2.5
HEIGHT_PX = 160
FPS = 24
RATE_HZ = 48_000
GOOD = ("bounce", "strike")
EXPECTED = {
    "silent": "drop:silent",
    "clipped": "drop:no_visible_source",
    "not_a_number": "fail:annotator_failed",
    "short_sound": "drop:silent",
    "no_face": "drop:no_visible_source",
    "forty_faces": "drop:several_speakers",
    "comes_back": "drop:no_visible_source",
    "one_frame": "drop:too_short",
}
"""File -> what becomes of it."""

PLAIN_LIMITS = [
    word
    for name, limit in {**LIMITS, "min_probability": 1e-6, "min_predicted_jf": 0}.items()
    for word in ("--set", f"stages.decide.{name}={limit}")
    if not name.startswith("min_source")
]
"""Single measures decide: what the numbers make of made-up clips is not what is tested here."""

Pictures = npt.NDArray[np.uint8]
Wave = npt.NDArray[np.float32]


pytestmark = pytest.mark.skipif(not light_runs(), reason="the weights of `light` are not here")


def write(path: Path, frames_THWC: Pictures, wav_N: Wave) -> None:
    """A Matroska file with samples as they are, be they numbers or not."""
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.height, video.width = frames_THWC.shape[1:3]
        audio = container.add_stream("pcm_f32le", rate=RATE_HZ, layout="mono")
        for number, frame_HWC in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        samples = av.AudioFrame.from_ndarray(wav_N[None], format="flt", layout="mono")
        samples.sample_rate, samples.pts = RATE_HZ, 0
        container.mux([*video.encode(), *audio.encode(samples), *audio.encode()])


def pictures(clip: SynthClip) -> Pictures:
    return np.stack(list(clip.frames()))


def bad_clips() -> Iterator[tuple[str, Pictures, Wave]]:
    ball = render("bounce", 2, duration_s=DURATION_S, height_px=HEIGHT_PX)
    seen, heard_N = pictures(ball), ball.wav_CN.mean(axis=0)
    clock = np.arange(heard_N.size) / RATE_HZ
    yield "silent", seen, np.zeros_like(heard_N)
    yield "clipped", seen, np.sign(np.sin(2 * np.pi * 220 * clock)).astype(np.float32)
    yield "not_a_number", seen, np.where(np.arange(heard_N.size) % 1000 == 7, np.nan, heard_N)
    yield "short_sound", seen, heard_N[: RATE_HZ // 10]
    unseen = render("voice_over_motion", 2, duration_s=DURATION_S, height_px=HEIGHT_PX)
    yield "no_face", pictures(unseen), unseen.wav_CN.mean(axis=0)
    talker = render("speaker", 2, duration_s=DURATION_S, height_px=96)
    yield "forty_faces", np.tile(pictures(talker), (1, 5, 8, 1)), talker.wav_CN.mean(axis=0)
    yield "comes_back", pictures(comes_back(ball)), heard_N
    yield "one_frame", seen[:1], heard_N


def comes_back(clip: SynthClip) -> SynthClip:
    """The same, but the thing is out of the picture, and heard, for a third of the time."""
    (shot,) = clip.scene.shots
    (thing,) = shot.sprites
    width = clip.size[1] / clip.size[0]

    def motion(time_s: float) -> Pose:
        pose = thing.motion(time_s)
        away = np.clip(4 * np.sin(np.pi * time_s / DURATION_S) - 2, 0, 1)
        return replace(pose, x=float(pose.x + width * away))

    moved = replace(shot, sprites=(replace(thing, motion=motion),))
    return replace(clip, scene=replace(clip.scene, shots=(moved,)))


def build_all(folder: Path, names: tuple[str, ...]) -> Path:
    listing = folder / f"{len(names)}.txt"
    listing.write_text("".join(f"{name}\n" for name in names))
    out = folder / f"out-{len(names)}"
    build(listing, out, "--profile", "light", "--executor", "inline", *PLAIN_LIMITS)
    return out


def reasons(out: Path) -> dict[str, str]:
    """Stem of a file -> `status:reason` of where it, or its only clip, stopped."""
    found = {}
    with Workspace.at(str(out)).survey() as (survey, lines):
        for state in (*survey.sources(lines), *survey.clips(lines)):
            record = state.last.record
            assert record is not None
            found[Path(state.row.source.uri).stem] = f"{record.status}:{record.reason}"
    return found


def shards(out: Path) -> dict[str, str]:
    return {name: sha256 for name, sha256 in published(out).items() if name.startswith("shards/")}


@pytest.mark.slow
def test_each_bad_file_has_its_reason_and_costs_the_others_nothing(tmp_path: Path) -> None:
    for kind in GOOD:
        clip = render(kind, 2, duration_s=DURATION_S, height_px=HEIGHT_PX)
        write_clip(clip, tmp_path / f"{kind}.mp4")
    for name, frames_THWC, wav_N in bad_clips():
        write(tmp_path / f"{name}.mkv", frames_THWC, wav_N)
    first, last = (f"{kind}.mp4" for kind in GOOD)
    alone = build_all(tmp_path, (first, last))
    mixed = build_all(tmp_path, (first, *(f"{name}.mkv" for name in EXPECTED), last))
    assert reasons(mixed) == {**EXPECTED, **dict.fromkeys(GOOD, "keep:")}
    assert_adds_up(status(mixed))
    assert shards(mixed) == shards(alone)
