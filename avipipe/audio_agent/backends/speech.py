"""Speech by models in this process: MMS, small and quick, and Bark, in many voices."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from avipipe.annotators.loading import load, load_model
from avipipe.annotators.weighted import Weighted
from avipipe.audio_agent.mix import MAX_SPEEDUP
from avipipe.audio_agent.tools import Sound
from avipipe.errors import AnnotatorError

_SEMANTIC_HZ = 49.9
"""Rate of Bark's semantic tokens."""
_LONGEST_S = 14.0
"""About the longest speech that Bark makes in one go."""
_VOICES = {"female": ("v2/en_speaker_9",), "male": tuple(f"v2/en_speaker_{n}" for n in range(9))}
"""Of Bark's English speakers, by how they sound."""

_FEMALE = re.compile(r"\b(wom[ae]n|girl|lady|female|she|mother|grandmother)\b", re.IGNORECASE)


class MmsSpeech(Weighted):
    """English speech by MMS-TTS, in the one voice that it has; it reads letters, not digits.

    Source: Pratap et al., Scaling speech technology to 1,000+ languages (arXiv 2305.13516); its
    network is VITS, as transformers has it.
    """

    name = "mms"
    cost_usd: float | None = 0.0
    gpu = True
    needs = ("mms_tts_eng",)

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            WeightsError: missing, corrupted, or not what transformers can load.
        """
        from transformers import VitsModel, VitsTokenizer

        (weight,) = self.needs
        self._tokenizer = load(weight, VitsTokenizer.from_pretrained)
        self._model = load_model(weight, VitsModel)

    def speak(
        self,
        words: str,
        *,
        voice: str | None,
        reference: Sound | None,
        duration_s: float,
        seed: int,
    ) -> Sound:
        """Speak the words, mono; up to 1.25 times as fast as usual where that would be too long.

        Raises:
            AnnotatorError: the words hold letters or digits that it cannot read, or none at all.
        """
        self._check_readable(words)
        spoken = self._speak(words, 1.0, seed)
        pace = min(spoken.duration_s / duration_s, MAX_SPEEDUP)
        return self._speak(words, pace, seed) if pace > 1 else spoken

    def _check_readable(self, words: str) -> None:
        text = self._tokenizer.normalize_text(words)
        known = self._tokenizer.get_vocab()
        if unknown := sorted({sign for sign in text if sign.isalnum() and sign not in known}):
            raise AnnotatorError(
                message=f"{self.name} cannot read {', '.join(map(repr, unknown))} in {words!r}; "
                "spell numbers and foreign letters out, or choose another tool with --speech"
            )
        if not any(sign.isalnum() for sign in text):
            raise AnnotatorError(message=f"expected words to speak, got {words!r}")

    def _speak(self, words: str, pace: float, seed: int) -> Sound:
        import torch

        ids_BL = self._tokenizer(words, return_tensors="pt")["input_ids"].to(self._model.device)
        with _seeded(seed), torch.inference_mode():
            wav_BN = self._model(ids_BL, speaking_rate=pace * self._model.speaking_rate).waveform
        return Sound(wav_BN.float().cpu().numpy(), int(self._model.config.sampling_rate))


class BarkSpeech(Weighted):
    """Speech by Bark, in its preset voice that fits what is wanted; at most 14 s at once.

    Source: Suno, Bark (2023), as transformers has it.
    """

    name = "bark"
    cost_usd: float | None = 0.0
    gpu = True
    needs = ("bark",)

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            WeightsError: missing, corrupted, or not what transformers can load.
        """
        from transformers import BarkModel, BarkProcessor

        (weight,) = self.needs
        self._processor = load(weight, BarkProcessor.from_pretrained)
        self._model = load_model(weight, BarkModel)

    def speak(
        self,
        words: str,
        *,
        voice: str | None,
        reference: Sound | None,
        duration_s: float,
        seed: int,
    ) -> Sound:
        """Speak the words; the reference is ignored, as Bark cannot imitate a voice."""
        import torch

        preset = self._preset(voice, seed)
        inputs = self._processor(words, voice_preset=preset)
        with _seeded(seed), torch.inference_mode():
            wav_1N = self._model.generate(
                **inputs.to(self._model.device),
                semantic_max_new_tokens=int(_SEMANTIC_HZ * min(_LONGEST_S, 2 * duration_s + 2)),
            )
        rate_hz = int(self._model.generation_config.sample_rate)
        return Sound(wav_1N.float().cpu().numpy().reshape(1, -1), rate_hz)

    def _preset(self, voice: str | None, seed: int) -> str | None:
        known: dict[str, Any] = self._processor.speaker_embeddings or {}
        gender = "female" if voice and _FEMALE.search(voice) else "male"
        fitting = [name for name in _VOICES[gender] if name in known]
        return fitting[seed % len(fitting)] if fitting else None


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed, and give it its own numbers back afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
