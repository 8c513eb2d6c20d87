"""Sound tags by YAMNet, a MobileNet on log-mel patches that runs on one core."""

from typing import Any, ClassVar

import numpy as np

from avipipe import weights
from avipipe.annotators import audioset
from avipipe.annotators.base import Speech, Tags, Wave
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.tagging import SHORTEST_S, Scores, tags_of, windows
from avipipe.annotators.weighted import Weighted
from avipipe.errors import WeightsError

_RATE_HZ = 16000
# In samples: the network's input, 0.975 s, each 0.48 s, as YAMNet's own code lays its patches.
_WINDOW = 15600
_HOP = 7680


class YamnetTagger(Weighted):
    """Tags 521 classes of AudioSet by YAMNet, in windows of 0.975 s every 0.48 s.

    `Tags` are as `avipipe.annotators.tagging` says: groups of `avipipe.annotators.audioset`,
    measured over the windows that sound.

    Source: Plakal and Ellis, YAMNet, tensorflow/models: research/audioset/yamnet.
    """

    name = "yamnet"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("yamnet",)
    packages = ("ai-edge-litert",)
    sample_rate_hz = _RATE_HZ

    def __init__(self) -> None:
        self._model: Any = None
        self._names: list[str] = []

    def setup(self) -> None:
        """Load the YAMNet network, once.

        Raises:
            WeightsError: it is missing or corrupted, or has other inputs or outputs.
            ImportError: ai-edge-litert is not installed (extra `light`).
        """
        path = weights.locate("yamnet")
        from ai_edge_litert.interpreter import Interpreter

        with reading(path, "the network of YAMNet", pull_again("yamnet")):
            self._model = Interpreter(model_path=str(path), num_threads=1)
            self._model.allocate_tensors()
        self._names = audioset.yamnet_names()
        shapes = [
            tuple(details[0]["shape"].tolist())
            for details in (self._model.get_input_details(), self._model.get_output_details())
        ]
        if shapes != [(1, _WINDOW), (1, len(self._names))]:
            raise WeightsError(
                f"{path}: expected a network from (1, {_WINDOW}) samples to (1, "
                f"{len(self._names)}) scores, found {shapes}. {pull_again('yamnet')}"
            )

    def tag(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Tags:
        """Score mono audio (N,).

        Returns:
            No scores at all for silence and for less than a quarter of a second.
        Raises:
            AnnotatorError: the audio is empty or not finite.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if wav_N.shape[0] < SHORTEST_S * sample_rate_hz:
            return Tags(scores={}, confidence=None)
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=_RATE_HZ)
        parts = windows(wav_N.shape[0], length=_WINDOW, hop=_HOP)
        return tags_of(
            self.scores(wav_N),
            self._names,
            level_dbfs_W=parts.levels_dbfs(wav_N, sample_rate_hz=_RATE_HZ),
            speech_share_W=parts.speech_shares(
                speech, num_samples=wav_N.shape[0], sample_rate_hz=_RATE_HZ
            ),
        )

    def scores(self, wav_N: Wave) -> Scores:
        """Of each class in each window (W, K), in [0, 1], of mono audio (N,) at `sample_rate_hz`.

        Classes do not exclude each other.
        """
        parts = windows(wav_N.shape[0], length=_WINDOW, hop=_HOP)
        return np.stack([self._scores(part_N) for part_N in parts.cut(wav_N)])

    def _scores(self, part_N: Wave) -> Scores:
        """Of each class (K,) in one window; its input cannot be resized to a batch."""
        padded_N = np.pad(part_N, (0, _WINDOW - part_N.shape[0])).astype(np.float32)
        self._model.set_tensor(self._model.get_input_details()[0]["index"], padded_N[None])
        self._model.invoke()
        scores_1K = self._model.get_tensor(self._model.get_output_details()[0]["index"])
        return np.asarray(scores_1K[0], dtype=np.float32)
