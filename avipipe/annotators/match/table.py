"""What can make a sound, and by which names a picture shows it.

Three tables, all of them our own work, read by hand against the classes' definitions:

* `heard.csv`: each of AudioSet's 527 classes -> the sources that make it. None where no single
  thing does that can be seen: weather, genres of music, properties of rooms.
* `sources.csv`: each source -> the things that it is, or is part of, and who plays it. `+dog`
  stands for all things of the source `dog`, so "Animal" is any of them.
* `imagenet.csv`: our noun -> the numbers of ImageNet's classes that it stands for, 0 being the
  background that networks of 1001 classes have. Classes that make no sound are left out.

Things are COCO's names (`annotators.coco`), these nouns, `face` and `hand`. Their first layout
followed an experiment on labelled clips in which heard and seen classes were paired by group.

Source of names and numbers: Gemmeke et al., Audio Set, ICASSP 2017; Lin et al., Microsoft COCO,
ECCV 2014; Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from avipipe.annotators import audioset

PLAYED = 0.3
"""How well somebody explains the sound of what is played or handled: people do most things."""


@dataclass(frozen=True, slots=True)
class SoundSource:
    """A source of sounds.

    Attributes:
        things: by which a picture shows it.
        players: by which a picture may show who makes it sound.
    """

    name: str
    things: frozenset[str]
    players: frozenset[str]

    def shown_by(self, thing: str) -> float:
        """How well a thing explains its sound, in [0, 1]."""
        if thing in self.things:
            return 1.0
        return PLAYED if thing in self.players else 0.0


@cache
def sources() -> Mapping[str, SoundSource]:
    """Sources of sounds by name."""
    rows = {row["source"]: row for row in _rows("sources.csv")}

    def all_of(name: str) -> Iterator[str]:
        for thing in _words(rows[name]["things"]):
            if thing.startswith("+"):
                yield from all_of(thing[1:])
            else:
                yield thing

    return MappingProxyType(
        {
            name: SoundSource(name, frozenset(all_of(name)), frozenset(_words(row["players"])))
            for name, row in rows.items()
        }
    )


@cache
def makers() -> Mapping[str, tuple[SoundSource, ...]]:
    """The sources that make each of AudioSet's classes, in its order."""
    known = sources()
    return MappingProxyType(
        {
            row["heard"]: tuple(known[name] for name in _words(row["sources"]))
            for row in _rows("heard.csv")
        }
    )


@cache
def imagenet_nouns() -> Mapping[int, str]:
    """ImageNet's numbers of classes (1 … 1000) -> our nouns; those without a sound are absent."""
    nouns = {}
    for row in _rows("imagenet.csv"):
        for part in row["numbers"].split():
            first, _, last = part.partition("-")
            nouns.update(dict.fromkeys(range(int(first), int(last or first) + 1), row["noun"]))
    return MappingProxyType(nouns)


@cache
def things() -> frozenset[str]:
    """Names of all things that a picture may show a source, or its player, by."""
    return frozenset(name for each in sources().values() for name in each.things | each.players)


@cache
def things_named(noun: str) -> frozenset[str]:
    """The things that a noun of `annotators.audioset` may stand for; empty where it has none.

    A thing's own name stands for itself, any other noun for what makes the sounds that it is a
    noun of: "person playing guitar" for guitars.
    """
    if noun in things():
        return frozenset({noun})
    heard = [name for name, entry in audioset.classes().items() if noun in entry.nouns]
    return frozenset(thing for name in heard for each in makers()[name] for thing in each.things)


def heard_sources(class_scores: Mapping[str, float]) -> dict[str, float]:
    """Source -> the best score of the AudioSet classes that it makes, the best first."""
    best: dict[str, float] = {}
    for name, score in class_scores.items():
        for source in makers()[name]:
            best[source.name] = max(best.get(source.name, 0.0), score)
    return dict(sorted(best.items(), key=lambda item: -item[1]))


def _rows(name: str) -> list[dict[str, str]]:
    table = resources.files("avipipe.annotators.match").joinpath(name)
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def _words(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(";") if word.strip()]
