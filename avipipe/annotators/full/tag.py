"""Sound tags by the Audio Spectrogram Transformer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from avipipe import weights
from avipipe.annotators import audioset
from avipipe.annotators.base import Speech, Tags, Wave
from avipipe.annotators.batching import run_in_batches
from avipipe.annotators.loading import load, load_model
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.tagging import SHORTEST_S, Scores, tags_of, windows
from avipipe.annotators.weighted import Weighted
from avipipe.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_RATE_HZ = 16000
# In samples: 10 s, on which AST was trained, each second.
_WINDOW = 10 * _RATE_HZ
_HOP = _RATE_HZ
_BATCH_SIZE = 8
"""Windows at a time; a choice for memory."""


class AstTagger(Weighted):
    """Tags 527 classes of AudioSet in windows of 10 s every second; one for a shorter clip.

    `Tags` are as `avipipe.annotators.tagging` says: groups of `avipipe.annotators.audioset`,
    measured over the windows that sound.

    Source: Gong, Chung and Glass, AST: Audio Spectrogram Transformer (Interspeech 2021).
    """

    name = "ast"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("ast",)
    packages = ("torch", "transformers")
    batch_size = _BATCH_SIZE
    sample_rate_hz = _RATE_HZ

    def setup(self) -> None:
        """Load the AST model, on the GPU if there is one.

        Raises:
            WeightsError: it is missing, corrupted or not whole, or has other labels than AudioSet.
        """
        from transformers import ASTForAudioClassification, AutoFeatureExtractor

        (weight,) = self.needs
        self._features = load(weight, AutoFeatureExtractor.from_pretrained)
        self._model = load_model(weight, ASTForAudioClassification)
        self._device = self._model.device
        labels = self._model.config.id2label
        self._names = [str(labels[k]) for k in range(len(labels))]
        if odd := set(self._names) ^ set(audioset.classes()):
            raise WeightsError(
                f"{weights.locate(weight)}: expected the {len(audioset.classes())} labels of "
                f"AudioSet, found {len(self._names)}; {len(odd)} do not match, such as "
                f"{min(odd)!r}. Use a model that was trained on AudioSet, or run: "
                f"avipipe weights pull {weight}"
            )

    def tag(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Tags:
        """Score mono audio (N,).

        Returns:
            No scores at all for silence and for less than a quarter of a second.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if wav_N.shape[0] < SHORTEST_S * sample_rate_hz:
            return Tags(scores={}, confidence=None)
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=_RATE_HZ)
        parts = windows(wav_N.shape[0], length=_WINDOW, hop=_HOP)
        return tags_of(
            np.stack(run_in_batches(self._scores, parts.cut(wav_N), self.batch_size)),
            self._names,
            level_dbfs_W=parts.levels_dbfs(wav_N, sample_rate_hz=_RATE_HZ),
            speech_share_W=parts.speech_shares(
                speech, num_samples=wav_N.shape[0], sample_rate_hz=_RATE_HZ
            ),
        )

    def logits(self, wav_N: Wave) -> Scores:
        """Of each class in each window (W, K), of mono audio (N,) at `sample_rate_hz`.

        Classes do not exclude each other: a sigmoid makes scores of them.
        """
        parts = windows(wav_N.shape[0], length=_WINDOW, hop=_HOP)
        found = run_in_batches(
            lambda batch: list(self._logits(batch).cpu().numpy()),
            parts.cut(wav_N),
            self.batch_size,
        )
        return np.stack(found)

    def _scores(self, batch: Sequence[Wave]) -> list[Scores]:
        """Of each class (K,) in each window."""
        return list(self._logits(batch).sigmoid().cpu().numpy())

    def _logits(self, batch: Sequence[Wave]) -> "Tensor":
        import torch

        inputs = self._features(list(batch), sampling_rate=_RATE_HZ, return_tensors="pt")
        with torch.inference_mode():
            logits_BK: Tensor = self._model(inputs["input_values"].to(self._device)).logits
        return logits_BK.float()
