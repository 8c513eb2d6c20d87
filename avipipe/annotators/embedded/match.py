"""The matching backend of a profile that knows neither looks nor sounds of things."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from avipipe.annotators.base import Frames, Wave


class NoMatcher:
    """Matcher that says "unknown" of every crop."""

    name = "none"
    version = 1
    sample_rate_hz = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

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
        """Unknown: None for each crop."""
        return [None] * len(crops)
