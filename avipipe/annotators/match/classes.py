"""Which thing makes the sound, by the names of what is heard and seen."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from avipipe.annotators.base import Explained, Frames, Wave
from avipipe.annotators.match.table import heard_sources, sources, things

SURE_HEARD = 0.6
"""Score from which a class of sounds counts as heard: means of sigmoid taggers seldom pass it."""


SURE_SEEN = 0.5
"""Score from which a thing counts as seen; detector and classifier alike seldom err above it."""


class ClassMatcher:
    """Matches by class: compares the name of each thing with the classes that a tagger heard.

    It neither looks nor listens itself, so it is as good as detector and tagger are.
    """

    name = "classes"
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
        """How well each thing explains what is heard, in [0, 1].

        None for a name that the tables do not have, and for all where no class was heard.
        """
        if not heard:
            return [None] * len(labels)
        return [explanation(label, heard) for label in labels]

    def explain(self, heard: Mapping[str, float], seen: Mapping[str, float]) -> list[Explained]:
        """See `SourceMatcher`. A thing counts in full from a score of 0.5 on, a sound from 0.6."""
        found = []
        for name, score in heard_sources(heard).items():
            source = sources()[name]
            worth = {
                thing: source.shown_by(thing) * min(sight / SURE_SEEN, 1.0)
                for thing, sight in seen.items()
            }
            best = max(worth, key=worth.__getitem__, default="")
            shown = worth.get(best, 0.0)
            match = min(score / SURE_HEARD, 1.0) * shown
            found.append(Explained(name, score, best if shown else None, match))
        return sorted(found, key=lambda each: (-each.match, -each.heard))


def explanation(thing: str, heard: Mapping[str, float]) -> float | None:
    """How well a thing explains the best of what is heard that it can make, in [0, 1].

    Args:
        heard: AudioSet class -> score.
    Returns:
        1 for a thing that makes a sound that is surely heard; None for one without a name in the
        tables.
    """
    if thing not in things():
        return None
    known = sources()
    return max(
        (
            min(score / SURE_HEARD, 1.0) * known[name].shown_by(thing)
            for name, score in heard_sources(heard).items()
        ),
        default=0.0,
    )
