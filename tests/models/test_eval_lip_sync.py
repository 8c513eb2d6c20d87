"""From the frames of a talking head to SyncNet's features; its weights are drawn by seed."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from avipipe import weights
from avipipe.annotators.faces.mfcc import to_int16
from avipipe.errors import WeightsError
from avipipe.evaluate.extractors.face_tracks import FaceTracker
from avipipe.evaluate.extractors.networks.syncnet import SyncNet
from avipipe.evaluate.extractors.syncnet import SyncNetV2, num_windows, of_track
from avipipe.evaluate.metrics.sync import LEAST_FRAMES
from avipipe.media.decode import read_audio, read_frames
from avipipe.media.probe import probe

CLIP = Path(__file__).parents[3] / "shared" / "clips" / "clip_021.mp4"


def syncnet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SyncNetV2:
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), folder / "syncnet_v2.model")
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder))
    extractor = SyncNetV2()
    extractor.setup()
    return extractor


def test_a_talking_head_is_followed_cropped_and_compared_with_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not CLIP.is_file() or weights.find(weights.entry("yunet")) is None:
        pytest.skip("the clip or YuNet is not here")
    tracker = FaceTracker()
    tracker.setup()
    info, fps = probe(CLIP), Fraction(SyncNetV2.fps)
    frames = read_frames(CLIP, info, start_s=0.0, end_s=4.4, fps=fps, height_px=360)
    (wav_N,) = read_audio(
        CLIP, info, start_s=0.0, end_s=4.4, sample_rate_hz=SyncNetV2.sample_rate_hz, mono=True
    )
    samples = to_int16(wav_N)
    (track,) = tracker.tracks(frames, fps=fps, least_frames=LEAST_FRAMES)
    faces, sound = of_track(frames, samples, track)
    assert faces.shape == (len(track.frames), 224, 224, 3)
    assert abs(sound.size - len(faces) * 640) <= 640
    short = faces[:30], sound[: 30 * 640]
    seen, heard = syncnet(tmp_path, monkeypatch).features(*short)
    assert seen.shape == heard.shape == (num_windows(30, 30 * 640), 1024)
    assert tracker.tracks(frames[:60], fps=fps, least_frames=LEAST_FRAMES) == []
    assert tracker.tracks(frames[:0], fps=fps, least_frames=LEAST_FRAMES) == []


def test_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    torch.save({"netcnnaud.0.weight": torch.zeros(2)}, tmp_path / "syncnet_v2.model")
    with pytest.raises(WeightsError, match="weights pull syncnet"):
        SyncNetV2().setup()
