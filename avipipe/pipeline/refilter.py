"""Decide a whole dataset anew, on the evidence that the ledger holds."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Evidence, Keep
from avipipe.stages.decide import FIELDS, Decide, DecideConfig, findings, verdict

KEEP = "keep"


@dataclass(slots=True)
class ClipMeasures:
    """What the decision needs to know of one clip: a few numbers instead of all its evidence."""

    clip_id: str
    evidence: dict[str, Evidence] = field(default_factory=dict)
    """The fields that decisions read, by stage."""

    @property
    def hours(self) -> float:
        return float(self.evidence["listen"]["duration_s"]) / 3600

    @property
    def complete(self) -> bool:
        return len(self.evidence) == len(Decide.EVIDENCE)

    def decision(self, config: DecideConfig) -> str:
        """`keep`, or the reason to drop it."""
        reason = verdict(findings(self.evidence, config))
        return KEEP if reason is None else reason.value


@dataclass(frozen=True, slots=True)
class Flip:
    """A clip whose decision changes."""

    clip_id: str
    before: str
    after: str
    hours: float
    complete: bool
    """Whether all evidence is there; a clip that was dropped early lacks the later evidence."""


@dataclass(frozen=True, slots=True)
class Refiltered:
    """A dataset under other thresholds."""

    flips: tuple[Flip, ...]
    before: Counter[str]
    """Decision -> clips."""
    after: Counter[str]


def load_measures(ledger: Ledger) -> Iterator[ClipMeasures]:
    """The measures of every clip that was listened to, in one pass over the ledger."""
    clips: dict[str, ClipMeasures] = {}
    for record in ledger.records(stages=Decide.EVIDENCE):
        if not isinstance(record.outcome, Keep):
            continue
        evidence = record.outcome.evidence
        clip = clips.setdefault(record.item_id, ClipMeasures(record.item_id))
        clip.evidence[record.stage] = {name: evidence[name] for name in FIELDS[record.stage]}
    yield from clips.values()


def refilter(ledger: Ledger, old: DecideConfig, new: DecideConfig) -> Refiltered:
    """Decide every clip with its dataset's thresholds and with others."""
    flips = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for clip in load_measures(ledger):
        was, now = clip.decision(old), clip.decision(new)
        before[was] += 1
        after[now] += 1
        if was != now:
            flips.append(Flip(clip.clip_id, was, now, clip.hours, clip.complete))
    return Refiltered(tuple(sorted(flips, key=lambda flip: flip.clip_id)), before, after)
