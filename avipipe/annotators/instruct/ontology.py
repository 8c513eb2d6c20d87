"""The classes of things that sound, as far as edits of them can be told in words.

Two tables, both of our own making:

* `classes.csv`: `name`; `also`, what it is called besides; `form`, m or f for who is he or she,
  plural or mass for what has no "a"; `family`; `others`, classes that may stand in its place and
  sound otherwise; `sounds`, verbs of what is heard of it, the usual one first; `varieties`, what
  another one of its class may be.
* `families.csv`: what holds for a class that does not say it: `looks`, adjectives that change a
  look and no sound; `adjectives` that make another one of its class; `sounds`.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType

from avipipe.manifests.edits import EDIT_KINDS, EditKind

_VOICED = frozenset({"adult", "child", "baby"})
_UNCOUNTED = frozenset({"body", "matter"})
"""Families of which a second one would be odd: parts of somebody, and what has no bounds."""

_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_TAIL = re.compile(
    r"(?P<head>.+?)\s+(?P<tail>(?:in|on|with|at|from|wearing|holding|playing|blowing|walking|"
    r"eating|riding|singing|speaking|talking|laughing|sitting|standing)\b.*)",
    re.IGNORECASE,
)
_DOES = re.compile(r"(?!wearing|holding|sitting|standing)\w+ing\b", re.IGNORECASE)
_NO_VOICE = re.compile(r"(?:playing|blowing|walking|eating|riding)\b", re.IGNORECASE)
_PLURAL = re.compile(r"(?:people|children|feet|.*(?<![sui])s)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SoundingClass:
    """A class of things that sound; see the module for its fields."""

    name: str
    also: tuple[str, ...]
    form: str
    family: str
    others: tuple[str, ...]
    sounds: tuple[str, ...]
    varieties: tuple[str, ...]
    looks: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called by, its name first."""
        return (self.name, *self.also)

    @property
    def has_voice(self) -> bool:
        """Whether what is heard of it is somebody's voice."""
        return self.family in _VOICED and bool(self.sounds)

    @property
    def is_plural(self) -> bool:
        return self.form == "plural"


@dataclass(frozen=True, slots=True)
class NamedInstance:
    """What a label says of an instance: "brown dog", "man in a red shirt".

    Attributes:
        noun: of the label, "dog"; `adjectives` stand before it.
        tail: what it does, by the label: "playing guitar"; empty where that does not say it.
        kind: the class; of a noun that the tables lack, one without others and sounds.
    """

    noun: str
    adjectives: str
    tail: str
    kind: SoundingClass

    @property
    def is_plural(self) -> bool:
        if self.noun.lower() == self.kind.name.lower():
            return self.kind.is_plural or (not self.kind.sounds and _is_plural(self.noun))
        return _is_plural(self.noun)

    @property
    def is_mass(self) -> bool:
        return self.kind.form == "mass" and self.noun.lower() == self.kind.name.lower()

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called: its own noun, and the names of its class."""
        return tuple(dict.fromkeys((self.noun, *self.kind.names)))

    @property
    def phrase(self) -> str:
        """The noun with its tail: "person playing guitar"."""
        return f"{self.noun} {self.tail}".strip()

    def kinds(self) -> tuple[EditKind, ...]:
        """The kinds of edits that make sense for it."""
        kind = self.kind
        sensible: Mapping[EditKind, bool] = {
            "same_class": bool(kind.varieties) and kind.family != "matter",
            "other_class": bool(kind.others and kind.sounds),
            "attribute": bool(kind.looks),
            "delete": True,
            "insert": kind.family not in _UNCOUNTED,
            "sound": kind.has_voice or len(kind.sounds) > 1,
        }
        return tuple(each for each in EDIT_KINDS if sensible[each])


@cache
def classes() -> Mapping[str, SoundingClass]:
    """The classes by name."""
    families = {row["family"]: row for row in _rows("families.csv")}
    return MappingProxyType(
        {row["name"]: _class(row, families[row["family"]]) for row in _rows("classes.csv")}
    )


def find(name: str) -> SoundingClass | None:
    """The class of a noun, by any of its names; None where the tables lack it."""
    return _by_name().get(name.lower())


def resolve(label: str) -> NamedInstance:
    """Read a label: a noun, as a rule with words around it."""
    text = _ARTICLE.sub("", " ".join(label.split()))
    if (parts := _TAIL.fullmatch(text)) and (found := _known(parts["head"])):
        adjectives, noun, kind = found
        tail = parts["tail"] if _DOES.match(parts["tail"]) else ""
        if _NO_VOICE.match(tail):
            kind = replace(kind, others=(), sounds=())
        return NamedInstance(noun, adjectives, tail, kind)
    if found := _known(text):
        adjectives, noun, kind = found
        return NamedInstance(noun, adjectives, "", kind)
    return NamedInstance(text, "", "", _unknown(text))


def _known(text: str) -> tuple[str, str, SoundingClass] | None:
    """Adjectives, noun and class, by the longest name that the text ends in."""
    words = text.split()
    for start in range(len(words)):
        noun = " ".join(words[start:])
        if (kind := find(noun)) is not None:
            return " ".join(words[:start]), noun, kind
    return None


def _unknown(noun: str) -> SoundingClass:
    family = next(row for row in _rows("families.csv") if row["family"] == "thing")
    row = {"name": noun, "also": "", "form": "", "family": "thing", "others": "", "sounds": ""}
    return _class({**row, "varieties": ""}, family)


def _class(row: Mapping[str, str], family: Mapping[str, str]) -> SoundingClass:
    name = row["name"]
    return SoundingClass(
        name=name,
        also=_words(row["also"]),
        form=row["form"],
        family=row["family"],
        others=_words(row["others"]),
        sounds=_words(row["sounds"]) or _words(family["sounds"]),
        varieties=_words(row["varieties"])
        or tuple(f"{adjective} {name}" for adjective in _words(family["adjectives"])),
        looks=_words(family["looks"]),
    )


def _is_plural(noun: str) -> bool:
    return _PLURAL.fullmatch(noun) is not None


@cache
def _by_name() -> Mapping[str, SoundingClass]:
    known = classes()
    # A "dalmatian" is a dog, if nothing is called so itself; in "small drum" the noun is "drum".
    varieties = {
        name.lower(): kind
        for kind in known.values()
        for name in kind.varieties
        if not name.endswith(kind.name)
    }
    return varieties | {name.lower(): kind for kind in known.values() for name in kind.names}


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    table = resources.files("avipipe.annotators.instruct").joinpath(name)
    return tuple(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(";") if word.strip())
