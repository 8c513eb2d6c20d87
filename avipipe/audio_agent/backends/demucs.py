"""Speech and music apart, by HTDemucs."""

from typing import ClassVar

import numpy as np

from avipipe.annotators.full.demucs import DemucsSeparator
from avipipe.audio_agent.mix import within
from avipipe.audio_agent.schema import Kind, Removal
from avipipe.audio_agent.tools import Sound

_INSTRUMENTS = ("drums", "bass")
_SINGING = frozenset({"singing", "singer", "vocals", "voice", "song", "choir"})


class HtDemucs:
    """Speech and singing are `vocals`, music is all else; a query that names an instrument that
    HTDemucs knows is that one. Of effects it knows nothing: they end up in `other`.

    Source: see `DemucsSeparator`.
    """

    name = "htdemucs"
    cost_usd: float | None = 0.0
    kinds: ClassVar[frozenset[Kind]] = frozenset({"speech", "music"})

    def __init__(self) -> None:
        self._demucs = DemucsSeparator()

    def setup(self) -> None:
        """Load the HTDemucs model, once.

        Raises:
            WeightsError: the weight is missing or corrupted.
        """
        self._demucs.setup()

    def separate(self, mixture: Sound, removal: Removal) -> Sound:
        """The stems that the removal means, within its spans if it names any."""
        stems = self._demucs.separate(mixture.wav_CN, sample_rate_hz=mixture.sample_rate_hz)
        names = _stems_of(removal, tuple(stems.waves))
        target = mixture.like(np.sum([stems.waves[name] for name in names], axis=0))
        return within(target, removal.spans) if removal.spans else target


def _stems_of(removal: Removal, stems: tuple[str, ...]) -> list[str]:
    words = set(removal.query.lower().split())
    for name in _INSTRUMENTS:
        if words & {name, name.removesuffix("s")}:
            return [name]
    if removal.kind == "speech" or words & _SINGING:
        return ["vocals"]
    return [name for name in stems if name != "vocals"]
