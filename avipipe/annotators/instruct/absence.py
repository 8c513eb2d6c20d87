"""A scene in words once something is gone from it."""

import re
from collections.abc import Collection, Iterator

from avipipe.annotators.instruct import ontology
from avipipe.annotators.instruct.grammar import capitalised, with_article
from avipipe.annotators.instruct.mentions import find_mentions, names_any, names_several

_EMPTY = "An empty scene: only the background is left, and it is quiet."
_LIVING = frozenset({"adult", "child", "baby"})
_PLACE = re.compile(
    r"\b(?P<where>(?:in|on|at|inside|near|beside|outside)\s+(?P<place>(?:(?:an?|the)\s+)?"
    r"(?:(?!(?:an?|the|in|on|at|of|and|with|his|her|its)\b)[\w-]+\s+){0,3}"
    r"(?:room|kitchen|bedroom|bathroom|office|studio|hall|church|stage|theatre|theater|classroom|"
    r"library|shop|store|restaurant|cafe|bar|garage|workshop|factory|house|home|building|corridor|"
    r"street|road|highway|track|tracks|station|airport|runway|bridge|pavement|sidewalk|square|city|"
    r"town|village|park|garden|yard|backyard|lawn|grass|field|meadow|farm|barn|stable|forest|woods|"
    r"jungle|desert|mountain|hill|beach|shore|sea|ocean|lake|river|pond|pool|water|sky|snow|sand|"
    r"tree|branch|table|desk|floor|couch|sofa|bed|bench|cage|zoo|stadium|gym|court|"
    r"parking lot|driveway)))\b(?!\s+of\b)",
    re.IGNORECASE,
)

_ON_TOP = re.compile(r"on\s.*\b(?:table|desk|branch|tree|sky)", re.IGNORECASE)
"""Where things lie and nobody stands."""


def without(text: str, noun: str, names: Collection[str]) -> str:
    """A sentence on the scene of a caption without an instance.

    Who else is there stays, and so does the place where the caption plainly names one.

    Args:
        noun: what is gone; `names` are all that it is called by, and are said only where the
            caption has several of its kind.
    """
    if names_several(text, names):
        return f"Another {noun}{_where(text, ())}, with nothing else in view; it is quiet."
    people = list(_people(text, names))
    place = next(_places(text, names), None)
    if people:
        told = f"{_joined(people)}{_where(text, names)}, with nothing else in view; it is quiet."
    elif place:
        told = f"{place['place']}, empty and quiet."
    else:
        return _EMPTY
    return _EMPTY if names_any(told, names) else capitalised(told)


def _places(text: str, names: Collection[str]) -> Iterator[re.Match[str]]:
    """The places that a caption names, from the last one: "at a desk in a hall" is in a hall."""
    for match in reversed(list(_PLACE.finditer(text))):
        if not names_any(match["place"], names):
            yield match


def _where(text: str, names: Collection[str]) -> str:
    """Where somebody is: " in a hall"; empty where the caption does not say it."""
    stood = (match["where"] for match in _places(text, names))
    return next((f" {where}" for where in stood if not _ON_TOP.match(where)), "")


def _people(text: str, names: Collection[str]) -> Iterator[str]:
    """Phrases for those that the caption brings in besides the instance."""
    gone = {name.lower() for name in names}
    for kind in ontology.classes().values():
        if kind.family in _LIVING and gone.isdisjoint(map(str.lower, kind.names)):
            for mention in (find_mentions(text, kind.names) or [])[:1]:
                phrase = text[mention.start : mention.end]
                phrase = with_article(mention.noun) if mention.is_own else phrase
                yield phrase[0].lower() + phrase[1:]


def _joined(phrases: list[str]) -> str:
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last
