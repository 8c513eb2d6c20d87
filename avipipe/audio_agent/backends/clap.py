"""How well a sound fits words, by CLAP."""

from avipipe.annotators.full.match import ClapMatcher
from avipipe.audio_agent.tools import Sound


class ClapLikeness:
    """Cosine of a sound with "the sound of a {prompt}"; about 0.3 where they fit.

    Source: see `ClapMatcher`.
    """

    name = "clap"
    cost_usd: float | None = 0.0

    def __init__(self) -> None:
        self._clap = ClapMatcher()

    def setup(self) -> None:
        """Load the CLAP model, once.

        Raises:
            WeightsError: a file is missing or corrupted.
        """
        self._clap.setup()

    def similarity(self, sound: Sound, prompt: str) -> float | None:
        """Cosine similarity in [-1, 1]; None for silence."""
        wav_N, rate_hz = sound.mono(), sound.sample_rate_hz
        return self._clap.similarity(wav_N, [prompt], sample_rate_hz=rate_hz).get(prompt)
