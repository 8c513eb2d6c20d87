"""Which thing in the picture makes the sound: PE-AV looks and listens, CLAP reads its name."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.batching import run_in_batches
from avipipe.annotators.loading import load, load_model
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

if TYPE_CHECKING:
    from torch import Tensor

Embedding = npt.NDArray[np.float32]

_NUM_FRAMES = 16
"""Frames of a crop that are seen, as `PeAvMatcher` tells; a choice of cost."""
# Sizes of a batch; choices for memory, which are halved where it does not suffice.
_CROPS_AT_ONCE = 4
_TEXTS_AT_ONCE = 64
_WINDOWS_AT_ONCE = 8


class PeAvMatcher(Weighted):
    """Matches by PE-AV: cosine of the embeddings of the crop, as a video, and of the sound.

    It sees 16 frames of a crop, spread over the clip and squeezed into a square, so it judges by
    kind and action, not by the moment at which something moves.

    Source: Vyas et al., Pushing the frontier of audiovisual perception with large-scale multimodal
    correspondence learning (arXiv 2512.19687), as transformers has it.
    """

    name = "pe_av"
    version = 1
    gpu = True
    needs = ("pe_av",)
    packages = ("torch", "transformers")
    sample_rate_hz = 48_000

    def setup(self) -> None:
        """Load model and processor, once.

        Raises:
            WeightsError: a file is missing or corrupted, or the network is not whole.
        """
        from transformers import (
            PeAudioFeatureExtractor,
            PeAudioVideoModel,
            PeVideoVideoProcessor,
        )

        (weight,) = self.needs
        self._audio: Any = load(weight, PeAudioFeatureExtractor.from_pretrained)
        self._video: Any = load(weight, PeVideoVideoProcessor.from_pretrained)
        self._model: Any = load_model(weight, PeAudioVideoModel)
        self._device = self._model.device

    def match(
        self,
        crops: Sequence[Frames],
        *,
        labels: Sequence[str],
        heard: Mapping[str, float] | None = None,
        fps: Fraction,
        wav_N: Wave,
        sample_rate_hz: int,
    ) -> list[float | None]:
        """Similarity of each crop with the sound, in [-1, 1]; None for each if it is silent.

        Raises:
            AnnotatorError: a crop or the audio is empty, or memory does not suffice.
        """
        _check(crops, labels, wav_N, sample_rate_hz)
        if not crops or not wav_N.any():
            return [None] * len(crops)
        rate_hz = self._audio.sampling_rate
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=rate_hz)
        (sound_D,) = run_in_batches(self._embed_sounds, [wav_N], 1)
        looks = run_in_batches(self._embed_crops, crops, _CROPS_AT_ONCE)
        return [float(look_D @ sound_D) for look_D in looks]

    def _embed_sounds(self, waves: Sequence[Wave]) -> list[Embedding]:
        import torch

        inputs = self._audio(
            [_at_least(wav_N, self._audio.hop_length) for wav_N in waves],
            sampling_rate=self._audio.sampling_rate,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            embeds_BD = self._model.get_audio_embeds(
                inputs["input_values"].to(self._model.dtype), inputs["padding_mask"]
            )
        return _unit(embeds_BD)

    def _embed_crops(self, crops: Sequence[Frames]) -> list[Embedding]:
        import torch

        videos = [torch.from_numpy(_spread(crop)).permute(0, 3, 1, 2) for crop in crops]
        inputs = self._video(
            videos,
            do_sample_frames=False,
            input_data_format="channels_first",
            return_tensors="pt",
        ).to(self._device)
        pixels = inputs["pixel_values_videos"].to(self._model.dtype)
        # The model's own get_video_embeds calls a method that its video part does not have.
        part = self._model.video_model
        with torch.inference_mode():
            pooled_BD = part.video_encoder(pixel_values_videos=pixels).pooler_output
            return _unit(part.video_head(pooled_BD))


class ClapMatcher(Weighted):
    """Matches by CLAP: cosine of the sound with the words "the sound of a {label}".

    CLAP knows sounds and words and sees nothing: of a crop it only uses the label, so it cannot
    tell two dogs apart, and is as wrong as the detector that named them.

    Source: Wu et al., Large-scale contrastive language-audio pretraining (2023), as transformers
    has it.
    """

    name = "clap"
    version = 1
    gpu = True
    needs = ("clap",)
    packages = ("torch", "transformers")
    sample_rate_hz = 48_000

    def setup(self) -> None:
        """Load model and processor, once.

        Raises:
            WeightsError: a file is missing or corrupted, or the network is not whole.
        """
        from transformers import ClapModel, ClapProcessor

        (weight,) = self.needs
        processor: Any = load(weight, ClapProcessor.from_pretrained)
        self._audio, self._tokenizer = processor.feature_extractor, processor.tokenizer
        self._model: Any = load_model(weight, ClapModel)
        self._device = self._model.device

    def match(
        self,
        crops: Sequence[Frames],
        *,
        labels: Sequence[str],
        heard: Mapping[str, float] | None = None,
        fps: Fraction,
        wav_N: Wave,
        sample_rate_hz: int,
    ) -> list[float | None]:
        """Similarity of each label with the sound, in [-1, 1]; None without a label or a sound.

        Raises:
            AnnotatorError: a crop or the audio is empty, or memory does not suffice.
        """
        _check(crops, labels, wav_N, sample_rate_hz)
        names = sorted({label for label in labels if label.strip()})
        similarity = self.similarity(wav_N, names, sample_rate_hz=sample_rate_hz)
        return [similarity.get(label) for label in labels]

    def similarity(
        self, wav_N: Wave, names: Sequence[str], *, sample_rate_hz: int
    ) -> dict[str, float]:
        """Similarity of each name with the sound, in [-1, 1]; of no name if it is silent.

        Raises:
            AnnotatorError: the audio is empty, or memory does not suffice.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if not names or not wav_N.any():
            return {}
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=self._audio.sampling_rate)
        # Of anything longer than its window CLAP would hear a random part.
        windows = np.array_split(wav_N, -(-wav_N.size // self._audio.nb_max_samples))
        heard = run_in_batches(self._embed_sounds, windows, _WINDOWS_AT_ONCE)
        sound_D = np.mean(heard, axis=0)
        sound_D /= np.linalg.norm(sound_D)
        texts = run_in_batches(self._embed_texts, names, _TEXTS_AT_ONCE)
        return {name: float(text_D @ sound_D) for name, text_D in zip(names, texts, strict=True)}

    def _embed_sounds(self, windows: Sequence[Wave]) -> list[Embedding]:
        import torch

        inputs = self._audio(
            list(windows),
            truncation="rand_trunc",
            sampling_rate=self._audio.sampling_rate,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            features = inputs["input_features"].to(self._model.dtype)
            return _unit(self._model.get_audio_features(features).pooler_output)

    def _embed_texts(self, names: Sequence[str]) -> list[Embedding]:
        import torch

        texts = [f"the sound of a {name}" for name in names]
        inputs = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return _unit(self._model.get_text_features(**inputs.to(self._device)).pooler_output)


def _check(
    crops: Sequence[Frames], labels: Sequence[str], wav_N: Wave, sample_rate_hz: int
) -> None:
    check_wave(wav_N, sample_rate_hz=sample_rate_hz)
    assert len(crops) == len(labels), f"{len(crops)} crops, {len(labels)} labels"
    for index, crop in enumerate(crops):
        if crop.size == 0:
            raise AnnotatorError(
                message=f"expected crops with at least one pixel, got {crop.shape} (t, h, w, c) "
                f"for crop {index}; drop boxes that lie outside the picture"
            )


def _spread(crop: Frames) -> Frames:
    """`_NUM_FRAMES` frames from first to last, some of them twice where there are fewer."""
    return crop[np.linspace(0, len(crop) - 1, _NUM_FRAMES).astype(np.int64)]


def _at_least(wav_N: Wave, num_samples: int) -> Wave:
    return np.pad(wav_N, (0, max(0, num_samples - wav_N.size)))


def _unit(embeds_BD: "Tensor") -> list[Embedding]:
    embeds = embeds_BD.float().cpu().numpy()
    return list(embeds / np.linalg.norm(embeds, axis=1, keepdims=True))
