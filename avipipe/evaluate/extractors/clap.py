"""CLAP: embeddings of sound and of words in one space, for the CLAP score and for FAD.

N samples, K windows or texts, D numbers of an embedding.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device, load, load_model
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted

Embeddings = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 48_000
_WINDOWS_AT_ONCE = 8  # of 10 s; a choice that bounds the memory


class ClapHtsat(Weighted):
    """LAION-CLAP with HTSAT-tiny, unfused: the checkpoint that transformers was made for.

    Source: Wu et al., Large-scale contrastive language-audio pretraining (ICASSP 2023), as
    transformers has it. av-benchmark's scores are of another checkpoint.
    """

    name = "clap"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("clap",)
    packages = ("torch", "transformers")
    sample_rate_hz = SAMPLE_RATE_HZ

    def setup(self) -> None:
        """Load model and processor, once.

        Raises:
            WeightsError: a file is missing or corrupted, or the network is not whole.
        """
        from transformers import ClapModel, ClapProcessor

        (weight,) = self.needs
        processor = load(weight, ClapProcessor.from_pretrained)
        self._mel, self._tokenizer = processor.feature_extractor, processor.tokenizer
        self._model = load_model(weight, ClapModel)

    def audio(self, wav_N: Wave, *, sample_rate_hz: int) -> Embeddings:
        """Embeddings (K, D) of equal windows of at most 10 s, one after another.

        The network would hear a random part of anything longer. The mean over windows stands for
        the whole sound.

        Args:
            wav_N: mono in [-1, 1].
        Raises:
            AnnotatorError: no samples, or one that is not finite.
        """
        wav_N = self._resampled(wav_N, sample_rate_hz)
        return self._embedded(np.array_split(wav_N, -(-wav_N.size // self._mel.nb_max_samples)))

    def each_second(self, wav_N: Wave, *, sample_rate_hz: int) -> Embeddings:
        """Embeddings (K, D) of 10 s from each second on, with zeros beyond the end.

        Args:
            wav_N: mono in [-1, 1].
        Raises:
            AnnotatorError: no samples, or one that is not finite.
        Source: microsoft/fadtk, model_loader.py (`CLAPLaionModel`), which also rounds samples to 16
            bits and embeddings to float16.
        """
        wav_N = self._resampled(wav_N, sample_rate_hz)
        length: int = self._mel.nb_max_samples
        padded_N = np.pad(wav_N, (0, length))
        begins = range(0, wav_N.size, SAMPLE_RATE_HZ)
        return self._embedded([padded_N[first : first + length] for first in begins])

    def _resampled(self, wav_N: Wave, sample_rate_hz: int) -> Wave:
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        return resample(wav_N, from_hz=sample_rate_hz, to_hz=SAMPLE_RATE_HZ)

    def _embedded(self, windows: Sequence[Wave]) -> Embeddings:
        from avipipe.evaluate.extractors.networks.running import exact

        found = []
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            inputs = self._mel(
                windows[first : first + _WINDOWS_AT_ONCE],
                truncation="rand_trunc",
                sampling_rate=SAMPLE_RATE_HZ,
                return_tensors="pt",
            )
            with exact():
                output = self._model.get_audio_features(inputs["input_features"].to(device()))
            found.append(output.pooler_output.float().cpu().numpy())
        return np.concatenate(found)

    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings (K, D) of texts, as they stand; what is too long for the model is cut."""
        from avipipe.evaluate.extractors.networks.running import exact

        inputs = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with exact():
            output = self._model.get_text_features(**inputs.to(device()))
        return np.asarray(output.pooler_output.float().cpu().numpy())
