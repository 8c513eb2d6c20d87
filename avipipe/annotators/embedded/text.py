"""The text backend of a profile that detects no text."""

from collections.abc import Mapping, Sequence

from avipipe.annotators.base import Box, Frames


class NoTextFinder:
    """Text finder that looks for none."""

    name = "none"
    version = 1
    height_px = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def find(self, frames: Sequence[Frames]) -> list[tuple[Box, ...]] | None:
        """Unknown: None."""
        return None
