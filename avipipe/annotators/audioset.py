"""What AudioSet's 527 classes say about a picture: the group, the kind and the look of a source.

`audioset.csv` has a line for each class, in AudioSet's order: `name` (its display name); `group`,
the classes that one kind of source makes; `kind` of the group; `family` of an instrument; `over`,
the groups that a generic class is an ancestor of; `nouns`, what makes the sound, for a detector
that reads.

A generic class ("Animal", "Music", "Vehicle") is right whenever one below it is, so by itself it
would look like a second source. Where a specific class of a group that it is `over` reaches half
of its score, it counts no longer for another group, and its nouns not at all.

Source: Gemmeke et al., Audio Set: an ontology and human-labeled dataset for audio events
(ICASSP 2017). Groups, kinds and nouns are ours.
"""

import csv
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal, cast

Kind = Literal["instance", "many", "ambience", "music", "none"]
"""Whether a group's source can be cut out of a picture.

* instance: one visible thing makes it.
* many: many things at once make it: a crowd, an orchestra, traffic.
* ambience: there is no thing to cut out: wind, surf, hiss.
* music: music that no visible thing makes: genres, moods, scores.
* none: it says nothing about a source: silence, echo, "Inside, small room".
"""

NOT_IN_YAMNET = frozenset(
    {
        "Male speech, man speaking",
        "Female speech, woman speaking",
        "Battle cry",
        "Male singing",
        "Female singing",
        "Funny music",
    }
)
"""The six classes that YAMNet was not trained on; the others it gives in AudioSet's order."""

_OUTWEIGHS = 0.5
"""Score of a specific class over a generic one's from which the generic one was heard for it; a
choice."""
_VEHICLES = frozenset({"vehicle", "boat", "train", "aircraft"})
_MAY_BE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "human": frozenset({"speech", "singing", "dog"}),
        "singing": frozenset({"speech"}),
        "engine": _VEHICLES | {"tool", "machine"},
        "alarm": _VEHICLES | {"bell", "electronics"},
        "impact": frozenset({"tool", "household", "weapon", "explosion", "handling", "horse"}),
        "handling": frozenset({"tool", "household", "electronics", "machine", "vehicle"}),
        "explosion": frozenset({"weapon"}),
        "machine": frozenset({"tool", "household", "electronics"}),
    }
)
"""Group -> groups of which it may be another name: one thing can make sounds of both."""


@dataclass(frozen=True, slots=True)
class AudioClass:
    """One class of AudioSet; see the module for its fields."""

    name: str
    group: str
    kind: Kind
    family: str
    over: tuple[str, ...]
    nouns: tuple[str, ...]


@cache
def classes() -> Mapping[str, AudioClass]:
    """AudioSet's 527 classes by display name, in AudioSet's order."""
    table = resources.files("avipipe.annotators").joinpath("audioset.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return MappingProxyType({row["name"]: _parse(row) for row in rows})


def _parse(row: Mapping[str, str]) -> AudioClass:
    return AudioClass(
        name=row["name"],
        group=row["group"],
        kind=cast(Kind, row["kind"]),
        family=row["family"],
        over=tuple(row["over"].split()),
        nouns=tuple(noun.strip() for noun in row["nouns"].split(";") if noun),
    )


@cache
def kinds() -> Mapping[str, Kind]:
    """Group -> its kind."""
    return MappingProxyType({entry.group: entry.kind for entry in classes().values()})


def yamnet_names() -> list[str]:
    """The 521 classes of YAMNet, in the order of its output."""
    return [name for name in classes() if name not in NOT_IN_YAMNET]


def group_scores(class_scores: Mapping[str, float]) -> dict[str, float]:
    """Group -> the best score of its classes, where a generic class steps back as described above.

    Args:
        class_scores: of AudioSet display names; those that are not there count as not heard.
    """
    return merge(specific_scores(class_scores), class_scores)


def specific_scores(class_scores: Mapping[str, float]) -> dict[str, float]:
    """Group -> the best score of its classes that are not generic."""
    best: dict[str, float] = defaultdict(float)
    for name, score in class_scores.items():
        entry = classes()[name]
        if not entry.over:
            best[entry.group] = max(best[entry.group], score)
    return dict(best)


def merge(specific: Mapping[str, float], class_scores: Mapping[str, float]) -> dict[str, float]:
    """Scores of groups from those of their specific classes and of the generic classes."""
    merged = dict(specific)
    for name, score in class_scores.items():
        entry = classes()[name]
        if entry.over and _standing_for(entry, score, specific) in {None, entry.group}:
            merged[entry.group] = max(merged.get(entry.group, 0.0), score)
    return merged


def _standing_for(entry: AudioClass, score: float, specific: Mapping[str, float]) -> str | None:
    """The group that a generic class is heard for; None where no specific class says which."""
    best = max(entry.over, key=lambda group: specific.get(group, 0.0))
    return best if specific.get(best, 0.0) >= _OUTWEIGHS * score else None


def may_be_one(first: str, second: str) -> bool:
    """Whether one thing may make the sounds of both groups: a car and its engine, a dog and
    "animal", a hammer and an impact."""
    return first == second or second in _aliases(first) or first in _aliases(second)


@cache
def _aliases(group: str) -> Collection[str]:
    over = {below for entry in classes().values() if entry.group == group for below in entry.over}
    return over | _MAY_BE.get(group, frozenset())


def nouns_of(class_scores: Mapping[str, float], min_score: float) -> list[str]:
    """Nouns of what may be seen making the sounds of at least `min_score`, the likeliest first.

    A generic class adds nothing where a specific one below it does. Empty where nothing that is
    heard has a visible source.
    """
    specific = specific_scores(class_scores)
    likely = sorted(
        (name for name, score in class_scores.items() if score >= min_score),
        key=lambda name: -class_scores[name],
    )
    entries = [classes()[name] for name in likely]
    nouns = [
        noun
        for entry in entries
        if not entry.over or _standing_for(entry, class_scores[entry.name], specific) is None
        for noun in entry.nouns
    ]
    return list(dict.fromkeys(nouns))
