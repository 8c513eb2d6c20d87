"""Edits without a model: sentences by rule, from the caption, its label and the classes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.caption import TemplateCaptioner, sentence
from avipipe.annotators.instruct import ontology
from avipipe.annotators.instruct.absence import without
from avipipe.annotators.instruct.base import ProposedEdit
from avipipe.annotators.instruct.grammar import (
    capitalised,
    does,
    doing,
    turned_pronouns,
    with_article,
)
from avipipe.annotators.instruct.mentions import (
    COLOURS,
    Mention,
    find_mentions,
    names_any,
    names_several,
    recoloured,
    replaced,
    verb_in,
    with_verb,
)
from avipipe.annotators.instruct.ontology import NamedInstance, SoundingClass
from avipipe.manifests.edits import EditKind
from avipipe.manifests.records import digest

T = TypeVar("T")

_PEOPLE = frozenset({"adult", "child", "baby"})
_DRIVEN = frozenset(
    {"road vehicle", "siren vehicle", "rail vehicle", "aircraft", "watercraft", "heavy machine"}
)
"""Families of which a caption says what their engine does, which is not all that they do."""
_VOICES: Mapping[str, tuple[str, ...]] = {
    "adult": ("deep, hoarse", "high, bright", "soft, breathy", "rough, gravelly", "thin, nasal"),
    "child": ("high, bright", "soft, breathy", "thin, nasal"),
    "baby": ("high, bright", "soft, hoarse"),
}
"""Voices that somebody may be given, by family."""
_CLOTHES = re.compile(
    rf"^,?\s+(?:who is\s+)?(?:wearing|in|dressed in)\s+(?P<article>an?|the|his|her)\s+"
    rf"(?P<colour>{COLOURS})\s+(?P<garment>(?:t-)?shirt|suit|jacket|dress|coat|sweater|hoodie|hat|"
    r"cap|blouse|robe|uniform|top|vest|helmet|apron)\b"
)
_DYES = ("red", "blue", "green", "white", "black", "yellow")
_HAIR = re.compile(r"\b(?:hair|beard|bald|braids|ponytail)\b", re.IGNORECASE)
_FUR = re.compile(
    rf"\b(?:{COLOURS}) (?:fur|coat|feathers|plumage|mane|finish|paint|body)\b", re.IGNORECASE
)
"""Says, as `_HAIR` does of people, how something looks apart from its noun: another look would
contradict it."""
_PARTICULAR = re.compile(
    r"\b(?:comb|crest|beak|wings?|feathers|throat|mane|trunk|tusks|horns?|antlers|hooves|exhaust|"
    r"engine|siren|whistle|propellers?|rotors?|bow|strings|strumming|plucking|bowing|beard|bearded|"
    r"moustache)\b",
    re.IGNORECASE,
)
"""What one class has or does, and another one of its family may not."""
_OF_ONE_SEX = re.compile(
    r"\b(?:dress|skirt|gown|blouse|bikini|beard|bearded|moustache)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A clip in words.

    Attributes:
        mentions: where the caption names the instance; empty where that is not plain.
        heard: the verb of what the caption says is heard of it; empty where it does not.
        is_composed: whether the caption is a template's own.
    """

    text: str
    instance: NamedInstance
    mentions: list[Mention]
    heard: str
    is_composed: bool
    evidence: Mapping[str, Any]
    seed: int

    @property
    def kind(self) -> SoundingClass:
        return self.instance.kind

    @property
    def the(self) -> str:
        return f"the {self.instance.phrase}"

    def drawn(self, options: Sequence[T], what: str) -> T:
        return options[int(digest([self.seed, what])[:16], 16) % len(options)]

    @property
    def looks_told(self) -> bool:
        """Whether the caption says how it looks apart from its noun."""
        return (_HAIR if self.kind.family in _PEOPLE else _FUR).search(self.text) is not None

    @property
    def has_article(self) -> bool:
        return not (self.instance.is_plural or self.instance.is_mass)

    def sound(self) -> str:
        """What is heard of it: "the sound of the dog barking"."""
        return _sound(self.kind, self.the, self.heard, is_plural=self.instance.is_plural)

    def renamed(self, name: Callable[[Mention, bool], str]) -> str:
        """The caption with other words for the instance; see `replaced`."""
        return replaced(self.text, self.mentions, name, has_article=self.has_article)

    def composed(self, kind: SoundingClass, phrase: str, verb: str, *, is_plural: bool) -> str:
        """A sentence of its own on the scene, with something of a class in the instance's place."""
        has_article = not (is_plural or kind.form == "mass")
        subject = capitalised(with_article(phrase) if has_article else phrase)
        said = does(verb, is_plural=is_plural) if verb else "makes its sound"
        goes_on = " " in verb or verb == "play" or kind.family in _DRIVEN
        return sentence(subject, said, self.evidence, goes_on=goes_on)


class TemplateInstructor:
    """Edits by template: grammatical sentences about things that are in the caption or the tables.

    It sees no pixels. Where the caption plainly names the instance, the target caption is the
    caption with other words there; else it is a sentence in the manner of the template captions.
    """

    name = "template"
    version = 1
    num_frames = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        pass

    def instruct(
        self,
        frames_THWC: Frames,
        *,
        evidence: Mapping[str, Any],
        kinds: Sequence[EditKind],
        seed: int,
    ) -> list[ProposedEdit]:
        """See `Instructor`. The frames are not looked at."""
        scene = _scene(evidence, seed)
        return [_MAKERS[kind](scene) for kind in kinds]


def _scene(evidence: Mapping[str, Any], seed: int) -> _Scene:
    caption = evidence["caption"]
    text = _ended(caption["text"])
    instance = ontology.resolve(caption["label"])
    mentions = find_mentions(text, instance.names)
    if mentions is None and instance.kind.family in _PEOPLE:
        instance, mentions = _somebody(text, instance)
    found = verb_in(text, instance.kind.sounds)
    return _Scene(
        text,
        instance,
        mentions or [],
        found[0] if found else "",
        caption["backend"].startswith(f"{TemplateCaptioner.name}@"),
        evidence,
        seed,
    )


def _somebody(text: str, instance: NamedInstance) -> tuple[NamedInstance, list[Mention] | None]:
    """The one person whom the caption names by another word than the label does."""
    people = (kind for kind in ontology.classes().values() if kind.family in _PEOPLE)
    found = [(kind, them) for kind in people if (them := find_mentions(text, kind.names))]
    if len(found) != 1:
        return instance, None
    ((kind, mentions),) = found
    kind = replace(kind, others=kind.others or instance.kind.others)
    if not instance.kind.sounds:
        kind = replace(kind, others=(), sounds=())
    return replace(instance, noun=mentions[0].noun.lower(), kind=kind), mentions


def _same_class(scene: _Scene) -> ProposedEdit:
    kind, instance = scene.kind, scene.instance
    said = {word.lower() for each in scene.mentions for word in each.adjectives.split()}
    said |= {*instance.adjectives.lower().split(), *instance.noun.lower().split()}
    new = [each for each in kind.varieties if not said & _apart(each, kind.name)]
    variety = scene.drawn(new or kind.varieties, "same_class")
    if kind.family in _PEOPLE or instance.is_plural != kind.is_plural:
        variety = variety.removesuffix(kind.name) + instance.noun
    phrase = f"{variety} {instance.tail}".strip()
    sound = None
    if kind.sounds:
        after = _sound(kind, _indefinite(scene, phrase), scene.heard, is_plural=instance.is_plural)
        sound = f"Replace {scene.sound()} with {after}; {_kept(kind)}."
    target = scene.renamed(lambda each, first: variety if first else each.noun)
    if target == scene.text:
        target = scene.composed(kind, phrase, _verb(scene), is_plural=instance.is_plural)
    asked = f"Replace {scene.the} with {_indefinite(scene, phrase)}."
    return ProposedEdit("same_class", target, instance.noun, asked, sound)


def _other_class(scene: _Scene) -> ProposedEdit:
    source = scene.kind
    others = [ontology.classes()[name] for name in source.others]
    unseen = [each for each in others if not names_any(scene.text, each.names)]
    other = scene.drawn(unseen or others, "other_class")
    verb = scene.heard if other.has_voice and scene.heard in other.sounds else other.sounds[0]
    target = _swapped(scene, other, verb)
    if target is None:
        target = scene.composed(other, other.name, verb, is_plural=other.is_plural)
    new = other.name if other.is_plural else with_article(other.name)
    after = _sound(other, new, verb, is_plural=other.is_plural)
    return ProposedEdit(
        "other_class",
        target,
        other.name,
        f"Replace {scene.the} with {new}.",
        f"Replace {scene.sound()} with {after}; {_kept(source)}.",
    )


def _swapped(scene: _Scene, other: SoundingClass, verb: str) -> str | None:
    """The caption with another class in it; None where something of the first would be left."""
    source = scene.kind
    told = any(each.search(scene.text) for each in (_FUR, _PARTICULAR))
    # "makes pet sounds" is nothing that a wolf does; "makes speech" fits whoever speaks.
    told |= scene.is_composed and not other.has_voice
    if not scene.mentions or scene.instance.is_plural or other.is_plural or told:
        return None
    text = replaced(scene.text, scene.mentions, lambda each, first: other.name)
    for lost in source.sounds:
        if " " not in lost and lost != verb and not (other.has_voice and lost in other.sounds):
            text = with_verb(text, lost, verb)
    if {source.form, other.form} == {"m", "f"}:
        if _OF_ONE_SEX.search(text):
            return None
        text = turned_pronouns(text, other.form)
    rest = re.sub(re.escape(other.name), "", text, flags=re.IGNORECASE)
    phrases = [verb for verb in source.sounds if " " in verb and verb not in other.sounds]
    if names_any(rest, scene.instance.names) or verb_in(text, phrases):
        return None
    return text


def _attribute(scene: _Scene) -> ProposedEdit:
    instance, kind = scene.instance, scene.kind
    if kind.family in _PEOPLE and (edit := _dyed(scene)):
        return edit
    said = {word.lower() for each in scene.mentions for word in each.adjectives.split()}
    said |= set(instance.adjectives.lower().split())
    new = [look for look in kind.looks if not said & set(look.split())]
    look = scene.drawn(new or kind.looks, "attribute")

    def with_look(mention: Mention, is_first: bool) -> str:
        has_look = bool(mention.adjectives) or is_first
        before = recoloured(mention.adjectives, look) if has_look else ""
        return f"{before} {mention.noun}".strip()

    target = scene.text if scene.looks_told else scene.renamed(with_look)
    if target == scene.text:
        phrase = f"{look} {instance.phrase}"
        target = scene.composed(kind, phrase, _verb(scene), is_plural=instance.is_plural)
    asked = f"Make {scene.the} {look}."
    return ProposedEdit("attribute", target, instance.noun, asked, None)


def _dyed(scene: _Scene) -> ProposedEdit | None:
    """What somebody wears in another colour; None where the caption does not say what it is."""
    for mention in scene.mentions[:1]:
        if found := _CLOTHES.search(scene.text[mention.end :]):
            colour, garment = found["colour"], found["garment"]
            new = scene.drawn([each for each in _DYES if each != colour], "attribute")
            start, end = (mention.end + found.start("article"), mention.end + found.end("colour"))
            article = found["article"]
            words = with_article(new) if article in ("a", "an") else f"{article} {new}"
            return ProposedEdit(
                "attribute",
                scene.text[:start] + words + scene.text[end:],
                scene.instance.noun,
                f"Change the colour of {scene.the}'s {garment} from {colour} to {new}.",
                None,
            )
    return None


def _delete(scene: _Scene) -> ProposedEdit:
    return ProposedEdit(
        "delete",
        without(scene.text, scene.instance.noun, scene.instance.names),
        None,
        f"Remove {scene.the}.",
        f"Remove {scene.sound()}; keep the background sound.",
    )


def _insert(scene: _Scene) -> ProposedEdit:
    instance, kind = scene.instance, scene.kind
    second = "another" if names_several(scene.text, instance.names) else "a second"
    more = f"{'more' if instance.is_plural else second} {instance.phrase}"
    verb = _verb(scene)
    said = does(verb or "do the same", is_plural=instance.is_plural)
    return ProposedEdit(
        "insert",
        f"{scene.text} Next to {scene.the}, {more} {said}.",
        instance.noun,
        f"Add {more} next to {scene.the}.",
        f"Add {_sound(kind, more, verb, is_plural=instance.is_plural)}.",
    )


def _sound_change(scene: _Scene) -> ProposedEdit:
    if scene.kind.has_voice:
        return _voice_change(scene)
    instance, kind = scene.instance, scene.kind
    others = [verb for verb in kind.sounds if verb != (scene.heard or kind.sounds[0])]
    verb = scene.drawn(others, "sound")
    if scene.is_composed:
        target = scene.composed(kind, instance.phrase, verb, is_plural=instance.is_plural)
    elif scene.heard and " " not in scene.heard + verb and kind.family not in _DRIVEN:
        target = with_verb(scene.text, scene.heard, verb)
    else:
        said = does(verb, is_plural=instance.is_plural)
        target = f"{scene.text} {capitalised(scene.the)} {said}."
    after = _sound(kind, scene.the, verb, is_plural=instance.is_plural)
    own = verb.replace(" its ", " their ") if instance.is_plural else verb
    return ProposedEdit(
        "sound",
        target,
        instance.noun,
        f"Make {scene.the} {own}.",
        f"Replace {scene.sound()} with {after}; keep the timing.",
    )


def _voice_change(scene: _Scene) -> ProposedEdit:
    instance = scene.instance
    voice = scene.drawn(_VOICES[scene.kind.family], "sound")
    has, given = ("have", f"{voice} voices")
    if not instance.is_plural:
        has, given = ("has", with_article(f"{voice} voice"))
    return ProposedEdit(
        "sound",
        f"{scene.text} {capitalised(scene.the)} {has} {given}.",
        instance.noun,
        f"Give {scene.the} {given}.",
        f"Change {scene.sound()} to {given}; {_kept(scene.kind)}.",
    )


_MAKERS: Mapping[EditKind, Callable[[_Scene], ProposedEdit]] = {
    "same_class": _same_class,
    "other_class": _other_class,
    "attribute": _attribute,
    "delete": _delete,
    "insert": _insert,
    "sound": _sound_change,
}


def _verb(scene: _Scene) -> str:
    """What it is heard doing, or is heard doing as a rule; empty where nobody knows."""
    return scene.heard or next(iter(scene.kind.sounds), "")


def _sound(kind: SoundingClass, phrase: str, verb: str, *, is_plural: bool) -> str:
    """The sound of something, by a verb where one is known."""
    if kind.has_voice:
        return f"the {'voices' if is_plural else 'voice'} of {phrase}"
    said = doing(verb) if verb else ""
    said = said.replace(" its ", " their ") if is_plural else said
    return f"the sound of {phrase} {said}".rstrip()


def _kept(kind: SoundingClass) -> str:
    """What a changed sound keeps of the one before."""
    has_words = kind.has_voice and kind.family != "baby"
    return "keep the words and the timing" if has_words else "keep the timing"


def _indefinite(scene: _Scene, phrase: str) -> str:
    return with_article(phrase) if scene.has_article else phrase


def _apart(variety: str, name: str) -> set[str]:
    """The words of a variety that its class's name has not."""
    return set(variety.lower().split()) - set(name.lower().split())


def _ended(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
