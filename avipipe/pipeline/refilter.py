"""Decide a whole dataset anew, on the evidence that the ledger holds."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from avipipe.decision.check import STAGES
from avipipe.decision.checks import measures
from avipipe.decision.judge import Judge, Judgement, priors_of
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Evidence, Keep

KEEP = "keep"
_LONG = frozenset({"waveform", "boxes", "classes"})


@dataclass(slots=True)
class ClipMeasures:
    """Measures of one clip: the part of its evidence that decisions read."""

    clip_id: str
    evidence: dict[str, Evidence] = field(default_factory=dict)
    """Evidence by stage, as far as measures read it."""

    @property
    def hours(self) -> float:
        return float(self.evidence["listen"]["duration_s"]) / 3600

    @property
    def complete(self) -> bool:
        return len(self.evidence) == len(STAGES)

    def judged(self, judge: Judge) -> Judgement:
        """Decide on what is known of the clip."""
        return judge.on(self.evidence)


@dataclass(frozen=True, slots=True)
class Flip:
    """A clip whose decision changes."""

    clip_id: str
    before: str
    after: str
    hours: float
    complete: bool
    """Whether all evidence is there; a clip that was dropped early lacks the later one."""


@dataclass(frozen=True, slots=True)
class Refiltered:
    """Result of deciding a dataset in another way."""

    flips: tuple[Flip, ...]
    before: Counter[str]
    """Number of clips by decision."""
    after: Counter[str]


def load_measures(ledger: Ledger) -> Iterator[ClipMeasures]:
    """Load the measures of every clip that was listened to, in one pass over the ledger."""
    clips: dict[str, ClipMeasures] = {}
    for record in ledger.records(stages=STAGES):
        if not isinstance(record.outcome, Keep):
            continue
        evidence = record.outcome.evidence
        clip = clips.setdefault(record.item_id, ClipMeasures(record.item_id))
        clip.evidence[record.stage] = slim(evidence)
    yield from clips.values()


def slim(evidence: Evidence) -> Evidence:
    """Cut the long lists, which no measure reads, out of evidence."""
    return {
        name: [slim(each) if isinstance(each, dict) else each for each in value]
        if isinstance(value, list)
        else value
        for name, value in evidence.items()
        if name not in _LONG
    }


def refilter(ledger: Ledger, old: Judge, new: Judge) -> Refiltered:
    """Decide every clip as its dataset does and in another way."""
    flips = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for clip in load_measures(ledger):
        # Measuring takes most of the time, and is the same for both.
        values = measures(clip.evidence)
        was, now = (
            _decision(judge.judge(values, priors_of(judge.model, clip.evidence)))
            for judge in (old, new)
        )
        before[was] += 1
        after[now] += 1
        if was != now:
            flips.append(Flip(clip.clip_id, was, now, clip.hours, clip.complete))
    return Refiltered(tuple(sorted(flips, key=lambda flip: flip.clip_id)), before, after)


def _decision(found: Judgement) -> str:
    """`keep`, or the reason to drop it."""
    return KEEP if found.reason is None else found.reason.value
