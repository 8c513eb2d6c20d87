"""Separation by a query: PE-A-Frame hears when it sounds, a Wiener filter takes it out."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.loading import load, load_model
from avipipe.annotators.signal import resample
from avipipe.annotators.weighted import Weighted
from avipipe.audio_agent.embedded.separate import gated
from avipipe.audio_agent.schema import AudioSpan, Kind, Removal
from avipipe.audio_agent.tools import Sound

THRESHOLD = 0.3
"""Probability from which the official code lets a frame belong to a span."""

_JOIN_S = 0.25
"""Spans of one sound that are closer are one; a choice."""


class QueriedSeparator(Weighted):
    """Separates what rises above the background while PE-A-Frame hears the query.

    PE-A-Frame embeds each 40 ms of sound and any words; where the two are alike, the query is
    heard. Within these spans it works as `GatedSeparator` does, so it tells two sounds apart that
    follow one another, not two that sound at once.

    Source: Vyas et al., Pushing the frontier of audiovisual perception with large-scale multimodal
    correspondence learning (arXiv 2512.19687), as transformers has it.
    """

    name = "pe_a_frame"
    cost_usd: float | None = 0.0
    gpu = True
    needs = ("pe_a_frame",)
    kinds: ClassVar[frozenset[Kind]] = frozenset({"speech", "music", "sfx"})

    def setup(self) -> None:
        """Load the PE-A-Frame model, once.

        Raises:
            WeightsError: missing, corrupted, or not what transformers can load.
        """
        from transformers import AutoTokenizer, PeAudioFeatureExtractor, PeAudioFrameLevelModel

        (weight,) = self.needs
        self._audio = load(weight, PeAudioFeatureExtractor.from_pretrained)
        self._tokenizer = load(weight, AutoTokenizer.from_pretrained)
        self._model = load_model(weight, PeAudioFrameLevelModel)

    def separate(self, mixture: Sound, removal: Removal) -> Sound:
        """Separate the target, (C, N); all zero where the query is not heard."""
        spans = removal.spans or self.spans(mixture, removal.query)
        if not spans:
            return mixture.like(np.zeros_like(mixture.wav_CN))
        return mixture.like(gated(mixture, spans, strength=removal.strength))

    def spans(self, sound: Sound, query: str) -> tuple[AudioSpan, ...]:
        """Spans in which a query is heard; short gaps count as part of it."""
        heard_F = self.probability(sound, query) > THRESHOLD
        frame_s = self._audio.hop_length / self._audio.sampling_rate
        edges = np.flatnonzero(np.diff(np.concatenate([[False], heard_F, [False]]).astype(int)))
        joined: list[tuple[float, float]] = []
        for first, last in edges.reshape(-1, 2) * frame_s:
            if joined and first - joined[-1][1] < _JOIN_S:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        return tuple(
            AudioSpan(start_s=start_s, end_s=min(end_s, sound.duration_s))
            for start_s, end_s in joined
            if start_s < sound.duration_s
        )

    def probability(self, sound: Sound, query: str) -> npt.NDArray[np.float32]:
        """Probability that the query is heard, for each frame (F,)."""
        import torch

        rate_hz = self._audio.sampling_rate
        wav_N = resample(sound.mono(), from_hz=sound.sample_rate_hz, to_hz=rate_hz)
        inputs = self._audio([wav_N], sampling_rate=rate_hz, return_tensors="pt")
        words = self._tokenizer([query.lower()], return_tensors="pt", truncation=True)
        values: dict[str, Any] = {**inputs, **words}
        values = {name: value.to(self._model.device) for name, value in values.items()}
        values.pop("token_type_ids", None)
        with torch.inference_mode():
            logits = self._model(**values).logits_audio_text[0, 0]
        return np.asarray(logits.sigmoid().float().cpu().numpy(), dtype=np.float32)
