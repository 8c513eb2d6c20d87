"""SyncNet v2: features of lips and of voice, of which `metrics.sync` tells how they go together.

B windows of 0.2 s, T frames at 25 per second, N samples at 16 kHz, D = 1024 features.

Source: Chung and Zisserman, Out of time: automated lip sync in the wild (ACCV workshops 2016);
joonson/syncnet_python@6efbb1c, SyncNetInstance.py and run_pipeline.py (MIT licence). Faces are
followed by the project's own tracks, not by S3FD.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.faces.crop import crop_whole
from avipipe.annotators.faces.mfcc import ROWS_PER_FRAME, SAMPLE_RATE_HZ, TRAINED_FPS, Samples, mfcc
from avipipe.annotators.faces.track import FaceTrack
from avipipe.annotators.loading import device
from avipipe.annotators.weighted import Weighted

Features = npt.NDArray[np.float32]

_SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // TRAINED_FPS
_WINDOWS_AT_ONCE = 20
"""The batch of the reference, which bounds the memory."""


def num_windows(num_frames: int, num_samples: int) -> int:
    """How many windows of 5 frames the references compare: all but the last."""
    return max(0, min(num_frames, num_samples // _SAMPLES_PER_FRAME) - 5)


def of_track(frames_THWC: Frames, samples_N: Samples, track: FaceTrack) -> tuple[Frames, Samples]:
    """What SyncNet is shown of a track: crops (T, 224, 224, 3) and the sound of the same frames.

    Args:
        frames_THWC: RGB frames of the whole video at 25 per second, as the track counts them.
        samples_N: the video's sound at 16 kHz.
    """
    frames = track.frames
    first, end = frames.start * _SAMPLES_PER_FRAME, frames.stop * _SAMPLES_PER_FRAME
    faces_THWC = crop_whole(frames_THWC[frames.start : frames.stop], track.boxes_T4)
    return faces_THWC, samples_N[first:end]


class SyncNetV2(Weighted):
    """Features of lips and of voice by SyncNet v2."""

    name = "syncnet"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("syncnet",)
    packages = ("torch",)
    fps = TRAINED_FPS
    sample_rate_hz = SAMPLE_RATE_HZ

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.running import built, read_state
        from avipipe.evaluate.extractors.networks.syncnet import SyncNet

        (weight,) = self.needs
        self._network = built(lambda _: SyncNet(), read_state(weight), weight=weight)

    def features(self, faces_THWC: Frames, samples_N: Samples) -> tuple[Features, Features]:
        """Features of lips and of voice, one row a window (B, D); both empty below 6 frames.

        Args:
            faces_THWC: RGB crops of one face at 25 per second, 224 x 224: `of_track`.
            samples_N: its sound at 16 kHz, from the first frame on (`mfcc.to_int16`). Integers, as
                the first cepstrum tells the level: of samples in [-1, 1] it is another.
        """
        assert samples_N.dtype == np.int16, samples_N.dtype
        total = num_windows(len(faces_THWC), samples_N.size)
        spans = [
            (first, min(first + _WINDOWS_AT_ONCE, total))
            for first in range(0, total, _WINDOWS_AT_ONCE)
        ]
        cepstra_RC = mfcc(samples_N).astype(np.float32)
        seen = [self._see(faces_THWC, *span) for span in spans]
        heard = [self._hear(cepstra_RC, *span) for span in spans]
        return _joined(seen), _joined(heard)

    def _see(self, faces_THWC: Frames, first: int, end: int) -> Features:
        import torch

        from avipipe.evaluate.extractors.networks.running import exact
        from avipipe.evaluate.extractors.networks.syncnet import WINDOW_FRAMES

        bgr_THWC = faces_THWC[first : end + WINDOW_FRAMES - 1, ..., ::-1].astype(np.float32)
        with exact():
            shown_CTHW = torch.from_numpy(bgr_THWC).permute(3, 0, 1, 2).to(device())
            return np.asarray(self._network.see(shown_CTHW).cpu().numpy())

    def _hear(self, cepstra_RC: Features, first: int, end: int) -> Features:
        import torch

        from avipipe.evaluate.extractors.networks.running import exact
        from avipipe.evaluate.extractors.networks.syncnet import WINDOW_FRAMES

        length = WINDOW_FRAMES * ROWS_PER_FRAME
        windows_BCR = np.stack(
            [
                cepstra_RC[start : start + length].T
                for start in range(first * ROWS_PER_FRAME, end * ROWS_PER_FRAME, ROWS_PER_FRAME)
            ]
        )
        with exact():
            heard_BD = self._network.hear(torch.from_numpy(windows_BCR)[:, None].to(device()))
            return np.asarray(heard_BD.cpu().numpy())


def _joined(parts: list[Features]) -> Features:
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
