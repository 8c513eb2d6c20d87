"""Decide a whole dataset anew, on the evidence that the ledger holds."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Drop, Keep
from avipipe.stages.decide import Decide, DecideConfig, judge, measures, verdict

KEEP = "keep"


@dataclass(slots=True)
class ClipMeasures:
    """What the decision needs to know of one clip: a few numbers instead of all its evidence."""

    clip_id: str
    hours: float = 0.0
    values: dict[str, float | None] = field(default_factory=dict)
    stages: set[str] = field(default_factory=set)
    decided: str = KEEP
    """The decision that stands in the ledger: `keep` or a reason."""


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
    for record in ledger.records(stages=frozenset(Decide.EVIDENCE) | _DECISIONS):
        clip = clips.setdefault(record.item_id, ClipMeasures(record.item_id))
        match record.outcome:
            case Keep(evidence=evidence) if record.stage in Decide.EVIDENCE:
                clip.stages.add(record.stage)
                clip.values |= measures({record.stage: evidence})
                if record.stage == "listen":
                    clip.hours = float(evidence["duration_s"]) / 3600
            case Drop(reason=reason):
                clip.decided = reason.value
            case Keep() if record.stage in _DECISIONS:
                clip.decided = KEEP
    yield from clips.values()


_DECISIONS = frozenset(f"decide_{stage}" for stage in Decide.EVIDENCE)


def refilter(ledger: Ledger, config: DecideConfig) -> Refiltered:
    """Decide every clip with other thresholds."""
    flips = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for clip in load_measures(ledger):
        reason = verdict(judge(clip.values, config))
        decision = KEEP if reason is None else reason.value
        before[clip.decided] += 1
        after[decision] += 1
        if decision != clip.decided:
            complete = clip.stages >= set(Decide.EVIDENCE)
            flips.append(Flip(clip.clip_id, clip.decided, decision, clip.hours, complete))
    return Refiltered(tuple(sorted(flips, key=lambda flip: flip.clip_id)), before, after)
