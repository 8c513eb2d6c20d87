"""VGGish: an embedding of each 0.96 s of a sound, of which FAD is made.

N samples, B examples, F = 96 frames of 10 ms, M = 64 mel bands.

Source: Hershey et al., CNN architectures for large-scale audio classification (ICASSP 2017);
tensorflow/models, research/audioset/vggish, as harritaylor/torchvggish and
hkchengrex/av-benchmark@050a5cd (av_bench/vggish) have it. Like there, there is no PCA.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device
from avipipe.annotators.signal import check_wave
from avipipe.annotators.weighted import Weighted

Array = npt.NDArray[np.float32]
Filters = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
EXAMPLE_FRAMES = 96
"""Frames of 10 ms in an example. Examples do not overlap; what is left at the end is dropped."""
# VGGish's spectrum: window, hop and FFT in samples, bands and their edges, what the logarithm adds.
_WINDOW, _HOP, _FFT = 400, 160, 512
_NUM_MELS, _LOW_HZ, _HIGH_HZ = 64, 125.0, 7500.0
_LOG_OFFSET = 0.01
_EXAMPLES_AT_ONCE = 64
"""A minute of sound; a choice that bounds the memory."""


def log_mel_examples(wav_N: Wave) -> Array:
    """Log-mel examples (B, 96, 64) of mono sound at 16 kHz; none of less than 0.975 s.

    Raises:
        AnnotatorError: no samples, or one that is not finite.
    """
    check_wave(wav_N, sample_rate_hz=SAMPLE_RATE_HZ)
    num_examples = max(0, (wav_N.size - _WINDOW) // _HOP + 1) // EXAMPLE_FRAMES
    if num_examples == 0:
        return np.zeros((0, EXAMPLE_FRAMES, _NUM_MELS), np.float32)
    windows_FW = np.lib.stride_tricks.sliding_window_view(wav_N.astype(np.float64), _WINDOW)
    windows_FW = windows_FW[::_HOP][: num_examples * EXAMPLE_FRAMES]
    hann_W = scipy.signal.get_window("hann", _WINDOW)
    magnitude_FK = np.abs(scipy.fft.rfft(windows_FW * hann_W, _FFT, axis=1))
    mel_FM = np.log(magnitude_FK @ _mel_filters().T + _LOG_OFFSET)
    return mel_FM.reshape(num_examples, EXAMPLE_FRAMES, _NUM_MELS).astype(np.float32)


def _mel_filters() -> Filters:
    """Triangles (M, K) that are straight over mel, not over frequency; none reaches 0 Hz."""
    edges = np.linspace(_to_mel(_LOW_HZ), _to_mel(_HIGH_HZ), _NUM_MELS + 2)
    bins = _to_mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, _FFT // 2 + 1))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.asarray(np.minimum(rising, falling).clip(0.0), np.float64)


def _to_mel(hz: npt.ArrayLike) -> Filters:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)


class VggishAudio(Weighted):
    """Embeddings of sound by VGGish."""

    name = "vggish"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("vggish",)
    packages = ("torch",)
    sample_rate_hz = SAMPLE_RATE_HZ

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.running import built, read_state
        from avipipe.evaluate.extractors.networks.vggish import Vggish

        (weight,) = self.needs
        self._network = built(
            lambda state: Vggish(num_hidden=len(state["embeddings.2.weight"])),
            read_state(weight),
            weight=weight,
        )

    def features(self, wav_N: Wave, *, is_rectified: bool = False) -> Array:
        """Embeddings (B, 128), one for each whole 0.96 s; of shorter sound there are none.

        Args:
            wav_N: mono in [-1, 1] at 16 kHz.
            is_rectified: whether the last rectifier of the original is kept. FAD as
                frechet-audio-distance and av-benchmark have it is made without.
        Raises:
            AnnotatorError: no samples, or one that is not finite.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        examples_BFM = log_mel_examples(wav_N)
        parts = [np.zeros((0, 128), np.float32)]
        for first in range(0, len(examples_BFM), _EXAMPLES_AT_ONCE):
            shown = torch.from_numpy(examples_BFM[first : first + _EXAMPLES_AT_ONCE]).to(device())
            with exact():
                parts.append(self._network(shown).cpu().numpy())
        embeddings_BD = np.concatenate(parts)
        return embeddings_BD.clip(0.0) if is_rectified else embeddings_BD
