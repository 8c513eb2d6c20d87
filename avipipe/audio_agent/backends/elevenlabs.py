"""Speech and sounds by the API of ElevenLabs, with the key in ELEVENLABS_API_KEY.

What is to be said or heard goes to their servers, and they bill it; sounds of the user's never do.
ELEVENLABS_BASE_URL names another host, such as one of their regions.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from avipipe.audio_agent.files import decode_bytes
from avipipe.audio_agent.schema import Kind
from avipipe.audio_agent.tools import Sound
from avipipe.errors import AnnotatorError, ConfigError
from avipipe.services.http import RetryPolicy, Service, check_key, check_url

KEY_ENV = "ELEVENLABS_API_KEY"
URL_ENV = "ELEVENLABS_BASE_URL"
_HOST = "https://api.elevenlabs.io"
_FORMAT = "output_format=mp3_44100_128"
_SPEECH_MODEL = "eleven_multilingual_v2"
_SOUND_MODEL = "eleven_text_to_sound_v2"
_RETRIES = RetryPolicy(timeout_s=60.0, max_attempts=3, backoff_s=2.0, max_wait_s=20.0)
"""How long a server is waited for, and how often and after what waits it is asked again; a
choice."""

_SPOKEN_WORD_S = 0.4
"""150 words a minute, as English is usually read."""
# Limits of their API: speed of speech, length of a sound, seeds.
_SLOWEST, _FASTEST = 0.7, 1.2
_SHORTEST_S, _LONGEST_S = 0.5, 30.0
_MAX_SEED = 2**32

_WORDS_OF_LABELS = {
    "female": r"wom[ae]n|girl|lady|female|she|mother|grandmother",
    "male": r"m[ae]n|boy|guy|male|he|father|grandfather",
    "young": r"young|boy|girl|child|kid|little",
    "old": r"old|elderly|grandmother|grandfather",
}
"""Label of a voice, as their API has it -> what asks for it."""


class _Voice(BaseModel):
    voice_id: str
    labels: dict[str, str] | None = None


class _Voices(BaseModel):
    voices: list[_Voice]


@dataclass(frozen=True, slots=True)
class _Api:
    base_url: str
    service: Service

    @classmethod
    def from_environment(cls, retries: RetryPolicy) -> "_Api":
        key = os.environ.get(KEY_ENV, "").strip()
        if not key:
            raise ConfigError(
                f"`elevenlabs` needs {KEY_ENV} in the environment; make a key in your account at "
                "elevenlabs.io, or choose another tool"
            )
        check_key(KEY_ENV, key)
        url = os.environ.get(URL_ENV, "").strip() or _HOST
        check_url(URL_ENV, url)
        remedies = {
            401: f"set {KEY_ENV} to a key that is valid and has credits left",
            402: "the account has too few credits, or its plan does not allow this",
            403: f"set {KEY_ENV} to a key that may use this",
        }
        later = "try again later, or choose another tool"
        service = Service(key, ("xi-api-key", ""), remedies, URL_ENV, later, retries)
        return cls(url.rstrip("/"), service)

    def request(self, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        return self.service.request(f"{self.base_url}{path}", body)


class _ElevenLabs:
    name = "elevenlabs"
    cost_usd: float | None = None

    def __init__(self, retries: RetryPolicy = _RETRIES) -> None:
        self._retries = retries

    def setup(self) -> None:
        """Look for the API key in the environment.

        Raises:
            ConfigError: there is none.
        """
        self._api = _Api.from_environment(self._retries)


class ElevenLabsSpeech(_ElevenLabs):
    """Speech by ElevenLabs, in the voice of the account whose labels fit best."""

    def speak(
        self,
        words: str,
        *,
        voice: str | None,
        reference: Sound | None,
        duration_s: float,
        seed: int,
    ) -> Sound:
        """Speak the words; the reference is not sent, as a voice must not be copied unasked.

        Raises:
            AnnotatorError, ConfigError: see `Service.request`.
        """
        usual_s = _SPOKEN_WORD_S * len(words.split())
        speed = min(max(usual_s / duration_s, _SLOWEST), _FASTEST)
        body = {
            "text": words,
            "model_id": _SPEECH_MODEL,
            "seed": seed % _MAX_SEED,
            "voice_settings": {"speed": round(speed, 2)},
        }
        chosen = _voice(self._voices(), voice, seed)
        return decode_bytes(self._api.request(f"/v1/text-to-speech/{chosen}?{_FORMAT}", body))

    def _voices(self) -> list[_Voice]:
        try:
            voices = _Voices.model_validate_json(self._api.request("/v1/voices")).voices
        except ValidationError as error:
            raise AnnotatorError(message=f"the list of voices cannot be read: {error}") from error
        if not voices:
            raise AnnotatorError(message="the account has no voices; add one at elevenlabs.io")
        return voices


class ElevenLabsSounds(_ElevenLabs):
    """Sound effects and music by ElevenLabs, of half a second to 30 s."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"sfx", "music"})

    def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound:
        """Generate a sound; the API takes no seed and makes another one each time.

        Raises:
            AnnotatorError, ConfigError: see `Service.request`.
        """
        length_s = min(max(duration_s, _SHORTEST_S), _LONGEST_S)
        body = {"text": prompt, "model_id": _SOUND_MODEL, "duration_seconds": round(length_s, 1)}
        return decode_bytes(self._api.request(f"/v1/sound-generation?{_FORMAT}", body))


def _voice(voices: list[_Voice], wanted: str | None, seed: int) -> str:
    """The id of one of those whose labels fit best."""
    labels = {
        label
        for label, words in _WORDS_OF_LABELS.items()
        if re.search(rf"\b({words})\b", wanted or "", re.IGNORECASE)
    }
    fits = [len(labels & set((voice.labels or {}).values())) for voice in voices]
    best = [voice for voice, fit in zip(voices, fits, strict=True) if fit == max(fits)]
    return best[seed % len(best)].voice_id
