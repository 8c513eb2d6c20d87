"""YuNet and LR-ASD with their official weights on real clips; skipped without either."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avipipe.annotators.base import ActiveSpeakers, Frames, Wave
from avipipe.annotators.faces.speaker import FaceSpeaker
from avipipe.annotators.signal import resample
from avipipe.errors import AnnotatorError, WeightsError
from avipipe.media.decode import read_audio, read_frames
from avipipe.media.probe import probe

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
FPS = Fraction(24)
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speaker() -> FaceSpeaker:
    backend = FaceSpeaker()
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


def clip(number: str, *, end_s: float) -> tuple[Frames, Wave]:
    path = CLIPS / f"clip_{number}.mp4"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    info = probe(path)
    frames = read_frames(
        path, info, start_s=0.0, end_s=end_s, fps=FPS, height_px=FaceSpeaker.height_px
    )
    wav_CN = read_audio(path, info, start_s=0.0, end_s=end_s, sample_rate_hz=RATE_HZ, mono=True)
    return frames, wav_CN[0]


def score(speaker: FaceSpeaker, frames: Frames, wav_N: Wave) -> ActiveSpeakers:
    return speaker.score(frames, fps=FPS, wav_N=wav_N, sample_rate_hz=RATE_HZ)


@pytest.fixture(scope="module")
def talking() -> tuple[Frames, Wave]:
    """A man's head, talking."""
    return clip("021", end_s=5.0)


def test_a_talking_head(speaker: FaceSpeaker, talking: tuple[Frames, Wave]) -> None:
    found = score(speaker, *talking)
    assert found.confidence == 1.0
    (track,) = found.tracks
    assert track.frames == tuple(range(120))
    assert len(track.boxes) == len(track.scores) == 120
    assert np.mean(track.scores) > 1.0
    assert track.sync_p_value is not None
    assert track.sync_p_value < 0.1
    assert abs(track.sync_lag_s or 0.0) < 0.1


def test_the_sound_of_the_other_half(speaker: FaceSpeaker, talking: tuple[Frames, Wave]) -> None:
    frames, wav_N = talking
    (track,) = score(speaker, frames, np.roll(wav_N, len(wav_N) // 2)).tracks
    assert np.mean(track.scores) > 0.0  # which is why lips are tested apart
    assert track.sync_p_value is not None
    assert track.sync_p_value > 0.1


def test_silence(speaker: FaceSpeaker, talking: tuple[Frames, Wave]) -> None:
    frames, wav_N = talking
    (track,) = score(speaker, frames, 0 * wav_N).tracks
    assert max(track.scores) < 0.0
    assert track.sync_p_value is None


def test_other_sample_rates_and_views(speaker: FaceSpeaker, talking: tuple[Frames, Wave]) -> None:
    frames, wav_N = talking[0][:48], talking[1][: 2 * RATE_HZ]
    (track,) = score(speaker, frames[:, :, ::-1], wav_N).tracks
    finer_N = resample(wav_N, from_hz=RATE_HZ, to_hz=44_100)
    (other,) = speaker.score(
        frames[:, :, ::-1].copy(), fps=FPS, wav_N=finer_N, sample_rate_hz=44_100
    ).tracks
    assert other.boxes == track.boxes
    assert np.mean(other.scores) == pytest.approx(np.mean(track.scores), abs=0.5)


def test_sound_that_ends_early(speaker: FaceSpeaker, talking: tuple[Frames, Wave]) -> None:
    frames, wav_N = talking[0][:48], talking[1][: RATE_HZ // 2]
    (track,) = score(speaker, frames, wav_N).tracks
    assert len(track.scores) == 48


def test_broken_input(speaker: FaceSpeaker, talking: tuple[Frames, Wave]) -> None:
    frames, wav_N = talking
    with pytest.raises(AnnotatorError, match="finite"):
        score(speaker, frames, np.full_like(wav_N, np.nan))
    with pytest.raises(AnnotatorError, match="one audio sample"):
        score(speaker, frames, wav_N[:0])
    with pytest.raises(AnnotatorError, match="one frame"):
        score(speaker, frames[:0], wav_N)


def test_a_small_face(speaker: FaceSpeaker) -> None:
    """A speaker on a stage, 30 px of 256."""
    (track,) = score(speaker, *clip("018", end_s=2.0)).tracks
    assert np.mean([x1 - x0 for x0, _, x1, _ in track.boxes]) < 40


def test_two_talking_heads_side_by_side(speaker: FaceSpeaker) -> None:
    left, right = score(speaker, *clip("016", end_s=1.5)).tracks
    assert left.boxes[0][2] < right.boxes[0][0]


@pytest.mark.parametrize("number", ["004", "001", "041"])
def test_a_dog_a_cat_and_a_plane_have_no_face(speaker: FaceSpeaker, number: str) -> None:
    found = score(speaker, *clip(number, end_s=4.0))
    assert found == ActiveSpeakers((), confidence=1.0)
