"""The text backend of a profile that has no eye for it."""

from collections.abc import Mapping, Sequence

from avipipe.annotators.base import Box, Frames


class NoTextFinder:
    """Looks for no text."""

    name = "none"
    version = 1
    height_px = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def find(self, frames: Sequence[Frames]) -> list[tuple[Box, ...]] | None:
        """None."""
        return None
