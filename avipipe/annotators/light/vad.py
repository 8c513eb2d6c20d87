"""Voice activity by Silero VAD, a small recurrent network that runs on one core."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Speech, Turn, Wave
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted

_RATE_HZ = 16000
_FRAME = 512
"""Samples of a frame, 32 ms: the network takes no other."""
# Probability from which a frame is speech, and how turns are made of them: Silero's defaults.
_THRESHOLD = 0.5
_SHORTEST_TURN_MS = 250
_SHORTEST_PAUSE_MS = 100
_PAD_MS = 30


class SileroVad(Weighted):
    """VAD by Silero: a probability every 32 ms, cut into turns as Silero recommends.

    A turn begins at a probability of 0.5, ends where it stays under 0.35 for 0.1 s, lasts for at
    least 0.25 s and is widened by 30 ms on both sides.

    Source: Silero VAD 6.2, https://github.com/snakers4/silero-vad.
    """

    name = "silero"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("silero_vad",)
    packages = ("silero-vad", "torch")

    def __init__(self) -> None:
        self._model: Any = None

    def setup(self) -> None:
        """Load the Silero network, once.

        Raises:
            WeightsError: it is missing or corrupted.
            ImportError: silero-vad or onnxruntime is not installed (extra `light`).
        """
        path = weights.locate("silero_vad")
        from silero_vad.utils_vad import OnnxWrapper

        with reading(path, "the network of Silero VAD", pull_again("silero_vad")):
            self._model = OnnxWrapper(str(path), force_onnx_cpu=True)

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech:
        """Find speech in mono audio (N,).

        Returns:
            Turns labelled "speech". `confidence` is how far the probabilities are from even odds,
            on average; None where the audio is shorter than the shortest turn.
        Raises:
            AnnotatorError: the audio is empty or not finite.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if wav_N.shape[0] < sample_rate_hz * _SHORTEST_TURN_MS / 1000:
            return Speech(turns=(), confidence=None)
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=_RATE_HZ)
        probability_F = self._probabilities(wav_N)
        return Speech(
            turns=_turns(probability_F, num_samples=wav_N.shape[0]),
            confidence=float(np.abs(2.0 * probability_F - 1.0).mean()),
        )

    def _probabilities(self, wav_N: Wave) -> npt.NDArray[np.float64]:
        """Of speech in each whole or part frame of 512 samples (F,); the state starts afresh."""
        import torch

        padded_N = np.pad(wav_N.astype(np.float32), (0, -wav_N.shape[0] % _FRAME))
        out_1F = self._model.audio_forward(torch.from_numpy(padded_N), _RATE_HZ)
        return np.asarray(out_1F[0], dtype=np.float64)


def _turns(probability_F: npt.NDArray[np.float64], *, num_samples: int) -> tuple[Turn, ...]:
    from silero_vad import get_speech_timestamps_from_probs

    spans = get_speech_timestamps_from_probs(
        probability_F.tolist(),
        sampling_rate=_RATE_HZ,
        threshold=_THRESHOLD,
        min_speech_duration_ms=_SHORTEST_TURN_MS,
        min_silence_duration_ms=_SHORTEST_PAUSE_MS,
        speech_pad_ms=_PAD_MS,
        audio_length_samples=num_samples,
    )
    return tuple(Turn(span["start"] / _RATE_HZ, span["end"] / _RATE_HZ) for span in spans)
