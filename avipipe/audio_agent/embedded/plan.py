"""A plan by rule from an instruction in plain English; what the rules cannot read, they refuse."""

import re

from avipipe.audio_agent.embedded.words import family, kind_of
from avipipe.audio_agent.schema import (
    AudioCaption,
    AudioSpan,
    EditPlan,
    Generation,
    Removal,
    Verdict,
)
from avipipe.audio_agent.tools import Task
from avipipe.errors import AnnotatorError

_REMOVE = r"remove|delete|mute|silence|erase|drop|get rid of|take (?:out|away)|cut out"
_KEEP = r"keep only|isolate|only keep|leave only|extract"
_ADD = r"add|insert|put in|put|include|overlay|mix in"
_REPLACE = r"replace|swap|substitute|exchange|turn|change|transform|convert|make"
_QUOTED = re.compile(r"[\"“”‘’«»]([^\"“”‘’«»]+)[\"“”‘’«»]|(?<!\w)'([^']+)'(?!\w)")
_NUMBER = r"(\d+(?:\.\d+)?)\s*(?:s|sec|secs|seconds?)?"
_RANGE = re.compile(rf"\b(?:from|between)\s+{_NUMBER}\s*(?:to|and|until|-)\s*{_NUMBER}\b", re.I)
_AT = re.compile(rf"\bat\s+{_NUMBER}((?:\s*(?:,|and)\s*{_NUMBER})*)", re.I)
_ARTICLE = re.compile(r"^(?:the|a|an|some|all|any|his|her|its|their)\s+", re.I)
_SOUND_OF = re.compile(r"\b(?:sounds?|noises?) of\s+|'s\b", re.I)

# How long a sound lasts that is asked for at one moment: known short ones, else a second. Choices.
_EVENT_S = {"bark": 0.4, "knock": 0.5}
_EVENT_DEFAULT_S = 1.0
_SPOKEN_WORD_S = 0.5
"""120 words a minute: room enough for slow voices."""
_NAMELESS = frozenset({"it", "this", "that", "them", "these", "those", "something", "anything"})
_VOICE = re.compile(
    r"\b((?:old|young|deep|little)\s+)?(wom[ae]n|m[ae]n|girl|boy|child|kid|lady|guy|narrator)\b",
    re.I,
)
_SPEAKER = re.compile(
    r"\b(?:make|have|let|replace)\s+(.+?)\s+(?:says?|speaks?|shouts?|with)\b", re.I
)
_SPEECH = Removal(query="speech", kind="speech")


class RulePlanner:
    """Plans from "remove X", "keep only X", "add Y at 2 s", "replace X with Y", "make him say '…'".

    Of several sentences it takes each that it can read. A plan that fell short it changes only in
    how hard it tries: new seeds, and the next tools.
    """

    name = "rules"
    cost_usd: float | None = 0.0

    def setup(self) -> None:
        """Nothing to load."""

    def plan(
        self,
        task: Task,
        caption: AudioCaption | None,
        *,
        previous: EditPlan | None = None,
        verdict: Verdict | None = None,
    ) -> EditPlan:
        """The plan that the rules read off the instruction.

        Raises:
            AnnotatorError: the instruction names nothing to remove, keep, add or replace.
        """
        if previous is not None:
            return previous.retaken()
        found = [_read(part, task.original.duration_s) for part in _sentences(task.instruction)]
        plans = [plan for plan in found if plan is not None]
        if not plans:
            raise AnnotatorError(
                message=f"the instruction {task.instruction!r} names no sound to remove, keep, add "
                'or replace; say it like "replace the barking with a car horn", "remove the '
                'music", "add a knock at 2 s", or choose a model with --planner endpoint'
            )
        keeping = [plan for plan in plans if plan.mode == "keep"]
        chosen = keeping or plans
        return EditPlan(
            c_sep=tuple(removal for plan in chosen for removal in plan.c_sep),
            c_gen=tuple(new for plan in plans for new in plan.c_gen),
            mode="keep" if keeping else "remove",
            rationale="read by rule: " + "; ".join(plan.rationale for plan in plans),
        )


def _sentences(text: str) -> list[str]:
    """Parts of an instruction, cut at ends of sentences and at "and" or "then" before a verb."""
    verbs = f"{_REMOVE}|{_KEEP}|{_ADD}|{_REPLACE}|let|have"
    parts = re.split(
        rf"(?:[.;!]\s+|,?\s+(?:and|then|and then)\s+(?=(?:{verbs})\b)|,\s+(?=(?:{verbs})\b))",
        text.strip(" .!"),
        flags=re.I,
    )
    return [part for part in parts if part]


def _read(text: str, duration_s: float) -> EditPlan | None:
    quoted = _QUOTED.search(text)
    words = (quoted[1] or quoted[2]).strip() if quoted else None
    bare, spans = _without_times(_QUOTED.sub(" ", text) if quoted else text, duration_s)
    if words and re.search(r"\b(says?|saying|speaks?|shouts?|words?|with|to)\b", bare, re.I):
        return _speech(bare, words, spans)
    if match := re.search(rf"\b(?:{_KEEP})\s+(.+)", bare, re.I):
        what = _noun(match[1])
        kept = (_removal(what, ()),) if what else ()
        return EditPlan(c_sep=kept, mode="keep", rationale=f"keep {what}") if kept else None
    pattern = rf"\b(?:{_REPLACE})\s+(.+?)\s+(?:with|by|for|into|to|sound like)\s+(.+)"
    if match := re.search(pattern, bare, re.I):
        old, new = _noun(match[1]), _noun(match[2])
        if old and new:
            return EditPlan(
                c_sep=(_removal(old, spans),),
                c_gen=(_generation(new, spans),),
                rationale=f"replace {old} with {new}",
            )
    if match := re.search(rf"\b(?:{_REMOVE})\s+(.+)", bare, re.I):
        old = _noun(match[1])
        return EditPlan(c_sep=(_removal(old, spans),), rationale=f"remove {old}") if old else None
    if match := re.search(rf"\b(?:{_ADD})\s+(.+)", bare, re.I):
        new = _noun(match[1])
        if new:
            made = _generation(new, spans or _default_spans(new, duration_s))
            return EditPlan(c_gen=(made,), rationale=f"add {new}")
    return None


def _speech(bare: str, words: str, spans: tuple[AudioSpan, ...]) -> EditPlan:
    adds = re.search(rf"\b(?:{_ADD})\b", bare, re.I)
    length_s = _SPOKEN_WORD_S * len(words.split())
    at = tuple(s.model_copy(update={"end_s": max(s.end_s, s.start_s + length_s)}) for s in spans)
    voice = _VOICE.search(bare)
    new = Generation(
        kind="speech",
        prompt=words,
        voice=voice[0] if voice else None,
        same_voice=not adds,
        spans=at[:1],
    )
    if adds:
        return EditPlan(c_gen=(new,), rationale=f"add the words {words!r}")
    who = _SPEAKER.search(bare)
    old = _removal(_noun(who[1]), ()) if who and kind_of(who[1]) != "speech" else _SPEECH
    if family(old.query) is None:
        old = _SPEECH
    return EditPlan(c_sep=(old,), c_gen=(new,), rationale=f"say {words!r} instead of {old.query}")


def _removal(query: str, spans: tuple[AudioSpan, ...]) -> Removal:
    return Removal(query=query, kind=kind_of(query), spans=spans)


def _generation(prompt: str, spans: tuple[AudioSpan, ...]) -> Generation:
    return Generation(kind=kind_of(prompt), prompt=prompt, spans=spans)


def _default_spans(prompt: str, duration_s: float) -> tuple[AudioSpan, ...]:
    """Once at the start for what is short; throughout (no spans) for what goes on."""
    length_s = _EVENT_S.get(family(prompt) or "")
    return (AudioSpan(start_s=0.0, end_s=min(length_s, duration_s)),) if length_s else ()


def _without_times(text: str, duration_s: float) -> tuple[str, tuple[AudioSpan, ...]]:
    """The text without "from 1 to 2 s" and "at 3 s", and the spans that these say."""
    spans = [(float(m[1]), float(m[2])) for m in _RANGE.finditer(text)]
    for match in _AT.finditer(text):
        at_s = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", match[0])]
        length_s = _EVENT_S.get(family(text[: match.start()]) or "", _EVENT_DEFAULT_S)
        spans += [(start_s, start_s + length_s) for start_s in at_s]
    if late := [start_s for start_s, _ in spans if start_s >= duration_s]:
        raise AnnotatorError(
            message=f"the instruction speaks of {late[0]:g} s, the audio lasts {duration_s:.2f} s"
        )
    bare = _AT.sub(" ", _RANGE.sub(" ", text))
    inside = [(a, min(b, duration_s)) for a, b in sorted(spans) if b > a]
    return " ".join(bare.split()), tuple(AudioSpan(start_s=a, end_s=b) for a, b in inside)


def _noun(text: str) -> str:
    """ "the sound of a dog's barking" -> "dog barking"; empty where nothing is named."""
    text = _SOUND_OF.sub("", text).strip(" ,.!?")
    while (shorter := _ARTICLE.sub("", text)) != text:
        text = shorter
    named = text.lower() not in _NAMELESS and re.search(r"[^\W\d_]{2,}", text)
    return text if named else ""
