"""As much English as edits need: articles, verb forms, pronouns."""

import re

_SAID_AS_CONSONANT = re.compile(r"(?:uni(?![mn])|us[ei]|ukulele|eu|one\b)", re.IGNORECASE)
_SILENT_H = re.compile(r"(?:hour|honest)", re.IGNORECASE)
_DOUBLED = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")
"""One syllable that ends in one vowel and one consonant: rev, revving."""
_HISSED = re.compile(r".*(?:s|x|z|ch|sh|[^aeiou]o)")
_PAST = {
    "sing": "sang",
    "speak": "spoke",
    "ring": "rang",
    "grind": "ground",
    "tear": "tore",
    "shriek": "shrieked",
}
"""Irregular past forms of the verbs in the tables."""

_TO_FEMALE = {"he": "she", "his": "her", "him": "her", "himself": "herself"}
_TO_MALE = {"she": "he", "herself": "himself", "hers": "his"}
_HER = re.compile(
    r"\bher\b(?=\s*(?:$|[.,;]|(?:and|in|on|at|with|to|as|while|from|by|is|near|behind)\b))",
    re.IGNORECASE,
)
"""Her where it means him; elsewhere it means his."""


def with_article(phrase: str) -> str:
    """`a` or `an` before a phrase: "an old dog"."""
    if _SAID_AS_CONSONANT.match(phrase):
        return f"a {phrase}"
    is_vowel = phrase[:1].lower() in "aeiou" or _SILENT_H.match(phrase)
    return f"{'an' if is_vowel else 'a'} {phrase}"


def capitalised(text: str) -> str:
    """The text with a capital first letter; the others stay."""
    return text[:1].upper() + text[1:]


def does(verb: str, *, is_plural: bool = False) -> str:
    """The present of a verb phrase: "bark" -> "barks", "rev its engine" -> "revs its engine"."""
    head, rest = _parted(verb)
    if is_plural:
        return verb.replace(" its ", " their ")
    if head.endswith("y") and head[-2] not in "aeiou":
        return f"{head[:-1]}ies{rest}"
    return f"{head}{'es' if _HISSED.fullmatch(head) else 's'}{rest}"


def doing(verb: str) -> str:
    """The gerund of a verb phrase: "whine" -> "whining"."""
    head, rest = _parted(verb)
    if head.endswith("e") and not head.endswith(("ee", "oe", "ye")):
        head = head[:-1]
    elif _DOUBLED.fullmatch(head):
        head += head[-1]
    return f"{head}ing{rest}"


def did(verb: str) -> str:
    """The past of a verb phrase: "hum" -> "hummed"."""
    head, rest = _parted(verb)
    if head in _PAST:
        return f"{_PAST[head]}{rest}"
    if head.endswith("e"):
        return f"{head}d{rest}"
    if head.endswith("y") and head[-2] not in "aeiou":
        return f"{head[:-1]}ied{rest}"
    return f"{head + head[-1] if _DOUBLED.fullmatch(head) else head}ed{rest}"


def forms(verb: str) -> tuple[str, str, str, str]:
    """A verb's forms in one order: base, present, gerund, past."""
    return verb, does(verb), doing(verb), did(verb)


def turned_pronouns(text: str, form: str) -> str:
    """Turn he into she where `form` is f, she into he where it is m, and what goes with them."""
    if form == "m":
        text = _HER.sub(lambda found: _like(found[0], "him"), text)
        return _swapped(text, {**_TO_MALE, "her": "his"})
    return _swapped(text, _TO_FEMALE) if form == "f" else text


def _swapped(text: str, words: dict[str, str]) -> str:
    pattern = re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
    return pattern.sub(lambda found: _like(found[0], words[found[0].lower()]), text)


def _like(model: str, word: str) -> str:
    return capitalised(word) if model[:1].isupper() else word


def _parted(verb: str) -> tuple[str, str]:
    head, space, rest = verb.partition(" ")
    return head, space + rest
