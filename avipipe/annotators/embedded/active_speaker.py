"""The active-speaker backend of a profile that sees no faces."""

from collections.abc import Mapping
from fractions import Fraction

from avipipe.annotators.base import ActiveSpeakers, Frames, Wave


class NoActiveSpeaker:
    """Says "unknown": no faces can be found without weights."""

    name = "none"
    version = 1
    height_px = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        pass

    def score(
        self, frames_THWC: Frames, *, fps: Fraction, wav_N: Wave, sample_rate_hz: int
    ) -> ActiveSpeakers:
        """Score nothing: no tracks, confidence None."""
        return ActiveSpeakers(tracks=(), confidence=None)
