"""Where a caption names an instance, and the caption with other words there.

Captions are free text, so this is careful rather than complete: where it is not plain which words
name the instance, it says so, and its caller writes the sentence anew.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache

from avipipe.annotators.instruct import ontology
from avipipe.annotators.instruct.grammar import capitalised, forms, with_article

COLOURS = (
    "black|white|brown|grey|gray|red|orange|yellow|green|blue|purple|pink|silver|golden|gold|beige|"
    "tan|ginger|cream|dark|light|bright|pale|blond|blonde|spotted|striped|wooden|tabby|rusty"
)
"""Adjectives that another look replaces, joined for a pattern."""
_HAIR = r"bald|bearded|[\w]+-haired"
_DETERMINER = r"an?|the|one|his|her|its|their|this|that"
_OWN = frozenset({"his", "her", "its", "their"})
_INDEFINITE = frozenset({"a", "an", "one"})
_BREAKS = (
    r"of|in|on|at|to|with|and|or|from|by|for|is|are|was|were|be|being|has|have|as|while|that|who|"
    r"which|near|beside|behind|under|over|into|onto|through|playing|holding|other|another|two|"
    r"three|four|several|many|some|both|musician|player|performer|artist|band|group|pair|"
)
"""Words that no noun phrase has between its first word and its noun; goes on with the classes."""
_BEFORE_BARE = (
    r"with|of|and|or|playing|plays|play|played|on|by|to|from|into|through|like|than|beside|near|"
    r"behind|while|as|blowing|strumming|strums|bowing|hitting|using|riding|driving|holding"
)
"""Words after which a noun may stand without an article and without adjectives before it."""
_AFTER = (
    r"house|bowl|bed|case|strings?|keys?|player|players|seat|park|driver|station|stop|food|collar|"
    r"leash|stand|lesson|music|solo|shop|store|sound|sounds|track|tracks|stick|sticks|keyboard"
)
"""Nouns before which a name is no instance: "guitar case"."""
_MANY = r"two|three|four|five|several|many|some|both|other|another|few|group of|pair of|second"


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a caption names the instance.

    Attributes:
        start, end: of the whole noun phrase in the text.
        determiner, adjectives: of the phrase, as written; empty where there is none.
        noun: by its name.
    """

    start: int
    end: int
    determiner: str
    adjectives: str
    noun: str

    @property
    def is_own(self) -> bool:
        """Whether it belongs to somebody: "his guitar"."""
        return self.determiner.lower() in _OWN


def find_mentions(text: str, names: Collection[str]) -> list[Mention] | None:
    """The noun phrases that name an instance, in order.

    None: there is none, there may be several instances, or one is not plainly told.
    """
    nouns = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    if names_several(text, names):
        return None
    pattern = re.compile(
        rf"(?:\b(?P<det>{_DETERMINER})\s+(?P<mods>(?:\w+ing\s+)?(?:{_adjective()}\s+){{0,4}}))?"
        rf"\b(?P<noun>{nouns})\b(?!\s+(?:{_AFTER})\b)(?!-)",
        re.IGNORECASE,
    )
    by_name = {name.lower(): name for name in names}
    found = [
        Mention(
            match.start(),
            match.end(),
            match["det"] or "",
            (match["mods"] or "").strip(),
            by_name.get(match["noun"].lower(), match["noun"]),
        )
        for match in pattern.finditer(text)
    ]
    if not found or any(not each.determiner and not _may_be_bare(text, each) for each in found):
        return None
    if sum(each.determiner.lower() in _INDEFINITE for each in found) > 1:
        return None
    return found


def names_several(text: str, names: Collection[str]) -> bool:
    """Whether a text has several things of these names: "two dogs", "another man"."""
    nouns = "|".join(map(re.escape, names))
    many = rf"\b(?:{_MANY})\s+(?:[\w-]+\s+){{0,2}}(?:{nouns})s?\b"
    known = {name.lower() for name in names}
    ones = "|".join(
        re.escape(name)
        for name in names
        if not name.endswith("s") and f"{name.lower()}s" not in known
    )
    plural = rf"\b(?:{ones})(?:s|es)\b" if ones else None
    found = re.search(many, text, re.IGNORECASE)
    return bool(found or (plural and re.search(plural, text, re.IGNORECASE)))


def replaced(
    text: str,
    mentions: list[Mention],
    name: Callable[[Mention, bool], str],
    *,
    has_article: bool = True,
) -> str:
    """The text with other words for an instance.

    Args:
        name: the phrase without an article for a mention, and for whether it is the first one,
            which brings the instance in: "a", and "the" from then on.
        has_article: whether one of it takes an article; "fireworks" and "water" do not.
    """
    parts, end = list[str](), 0
    for index, mention in enumerate(mentions):
        phrase = name(mention, index == 0)
        if mention.is_own:
            phrase = f"{mention.determiner} {phrase}"
        elif index == 0:
            phrase = with_article(phrase) if has_article else phrase
        elif mention.determiner:
            determiner = mention.determiner
            phrase = f"{'the' if determiner.lower() in _INDEFINITE else determiner} {phrase}"
        if text[mention.start].isupper() and _begins(text, mention.start):
            phrase = capitalised(phrase)
        parts += [text[end : mention.start], phrase]
        end = mention.end
    return "".join(parts) + text[end:]


def recoloured(adjectives: str, adjective: str) -> str:
    """Adjectives with another look among them: where the old one stood, else before the rest."""
    plain, place = list[str](), None
    for word in re.split(r"\s+", adjectives.replace(",", " ").strip()):
        if re.fullmatch(rf"(?:{COLOURS}|{_HAIR})(?:-.*)?", word, re.IGNORECASE):
            place = len(plain) if place is None else place
        elif word and not (word == "and" and place is not None):
            plain.append(word)
    if place is None:
        sizes = [i for i, word in enumerate(plain) if _SIZE.fullmatch(word)]
        place = sizes[-1] + 1 if sizes else 0
    return " ".join([*plain[:place], adjective, *plain[place:]])


def verb_in(text: str, verbs: Collection[str]) -> tuple[str, int] | None:
    """The first of the verbs that the text has a form of, and which form; see `grammar.forms`."""
    for verb in verbs:
        for index, form in enumerate(forms(verb)):
            if re.search(rf"\b{re.escape(form)}\b", text, re.IGNORECASE):
                return verb, index
    return None


def with_verb(text: str, verb: str, other: str) -> str:
    """The text with each form of a verb turned into that of another one."""
    turned = dict(zip(forms(verb), forms(other), strict=True))
    pattern = rf"\b(?:{'|'.join(map(re.escape, sorted(turned, key=len, reverse=True)))})\b"

    def turn(found: re.Match[str]) -> str:
        new = turned.get(found[0].lower(), found[0])
        return capitalised(new) if found[0][0].isupper() else new

    return re.sub(pattern, turn, text, flags=re.IGNORECASE)


def names_any(text: str, words: Collection[str]) -> bool:
    """Whether a text has any of these words, or its plural."""
    joined = "|".join(map(re.escape, words))
    return bool(words) and re.search(rf"\b(?:{joined})(?:s|es)?\b", text, re.IGNORECASE) is not None


_SIZE = re.compile(
    r"(?:very|large|big|huge|giant|small|little|tiny|tall|short|long|young|old|older|elderly|new|"
    r"slim|stocky|middle-aged|chubby|fluffy|shaggy|brand-new|adult)",
    re.IGNORECASE,
)


@cache
def _adjective() -> str:
    """A pattern of one word between an article and its noun."""
    classes = {name.lower() for kind in ontology.classes().values() for name in kind.names}
    single = "|".join(re.escape(name) for name in sorted(classes) if " " not in name)
    return (
        rf"(?:(?:{COLOURS})\s+and\s+(?:{COLOURS})|"
        rf"(?!(?:{_DETERMINER}|{_BREAKS}{single})\b)(?![\w-]*(?:s|ing)\b)[\w'-]+,?)"
    )


def _may_be_bare(text: str, mention: Mention) -> bool:
    before = text[: mention.start].rstrip()
    if not before or before[-1] in ".!?:;,":
        return True
    return re.search(rf"\b(?:{_BEFORE_BARE})$", before, re.IGNORECASE) is not None


def _begins(text: str, start: int) -> bool:
    before = text[:start].rstrip()
    return not before or before[-1] in ".!?"
