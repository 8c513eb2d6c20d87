"""Captions without a model: one or two sentences put together from the evidence."""

from collections.abc import Mapping
from typing import Any

from avipipe.annotators import audioset
from avipipe.annotators.base import Frames, SceneCaption
from avipipe.annotators.match.table import heard_sources

LABELS = {
    "speech": "speaker",
    "music": "musical instrument",
    "impact": "striking object",
    "sustained": "humming object",
    "animal": "animal",
    "vehicle": "vehicle",
}
"""Noun for the source of each group of sounds."""

_SOUNDS = {
    "speaker": "speech",
    "musical instrument": "music",
    "striking object": "sharp impacts",
    "humming object": "a sustained sound",
    "animal": "animal calls",
    "vehicle": "an engine",
}
_GROUP_SOUNDS = {"speech": "speech", "singing": "a song", "instrument": "music"}
_LEAST_CLASS_SCORE = 0.3
"""Score of a class from which it names the source; a choice for networks whose scores are seldom
high."""
_LEAST_MATCH = 0.3
"""How well a thing must explain the sound, in [0, 1], to be named as its source; a choice."""
_PEOPLE = frozenset({None, "person", "face", "hand"})
_MANY_ONSETS = 6
"""Onsets that are listed one by one; of more the sentence only gives the number."""
_STILL = 0.08
"""Spread of the box's centre, over the picture's sides, within which a thing stays in place; a
choice."""


class TemplateCaptioner:
    """Captions by template: what sounds, where it is, how it moves and when it is heard.

    It sees no pixels. It names the thing that was seen and explains best what is heard; where none
    does, the noun of the likeliest class of sounds, and of a tagger that knows none the group. Its
    backend name marks it in every record.
    """

    name = "template"
    version = 2
    num_frames = 0
    """Number of frames that it wants to see."""

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        pass

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        """Caption a clip from its evidence alone.

        Args:
            frames_THWC: not looked at.
            evidence: of the stages `listen`, `look` and `mask`.
        """
        listen = evidence["listen"]
        label, sound = _seen_source(evidence) or _source(listen)
        text = sentence(_with_article(label).capitalize(), f"makes {sound}", evidence)
        return SceneCaption(text=text, label=label, confidence=None)


def sentence(subject: str, does: str, evidence: Mapping[str, Any], *, goes_on: bool = False) -> str:
    """A sentence on a scene: what is where, how it moves, what it does, and when that is heard.

    Args:
        subject: such as "A dog".
        does: such as "barks".
        evidence: of the stages `listen` and `mask`.
        goes_on: whether it does so all the time, whenever sounds begin.
    """
    boxes = [box for box in evidence["mask"].get("boxes", []) if box is not None]
    times = " throughout" if goes_on else _times(evidence["listen"])
    return f"{subject} {_place(boxes)}, {_movement(boxes)}, {does}{times}."


def _seen_source(evidence: Mapping[str, Any]) -> tuple[str, str] | None:
    """The thing that explains best what is heard, and its sound; people are named by what they do.

    None where nothing is explained well enough.
    """
    found = evidence["look"].get("match") or []
    best = max(found, key=lambda each: each["match"], default=None)
    if best is None or best["match"] < _LEAST_MATCH or best["thing"] in _PEOPLE:
        return None
    heard = [
        (score, name)
        for name, score in evidence["listen"]["tag_classes"].items()
        if best["source"] in heard_sources({name: score})
    ]
    kind = max(heard)[1].split(",")[0].lower() if heard else best["source"]
    as_class = f" ({kind})" if kind != best["source"] else ""
    return best["thing"], f"{best['source']} sounds{as_class}"


def _source(listen: Mapping[str, Any]) -> tuple[str, str]:
    """What may sound, and its sound; "sounding object" where nothing is likely."""
    if classes := listen.get("tag_classes"):
        return _of_classes(classes)
    tags = listen["tags"]
    known = {group: score for group, score in tags.items() if group in LABELS and score >= 0.5}
    if not known:
        return "sounding object", "its sound"
    label = LABELS[max(sorted(known), key=known.__getitem__)]
    return label, _SOUNDS[label]


def _of_classes(scores: Mapping[str, float]) -> tuple[str, str]:
    """The noun of the likeliest group that has one, and what it is heard as."""
    groups = audioset.group_scores(scores)
    entries = audioset.classes()
    for group in sorted(groups, key=lambda name: (-groups[name], name)):
        of_group = {name: scores[name] for name in scores if entries[name].group == group}
        if nouns := audioset.nouns_of(of_group, _LEAST_CLASS_SCORE):
            return nouns[0], _GROUP_SOUNDS.get(group, f"{group} sounds")
    return "sounding object", "its sound"


def _with_article(label: str) -> str:
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def _place(boxes: list[list[float]]) -> str:
    """Where the boxes (x0, y0, x1, y1 in [0, 1]) lie on average."""
    if not boxes:
        return "in the picture"
    x = sum(box[0] + box[2] for box in boxes) / (2 * len(boxes))
    if x < 1 / 3:
        return "on the left"
    return "on the right" if x > 2 / 3 else "in the middle"


def _movement(boxes: list[list[float]]) -> str:
    if len(boxes) < 2:
        return "seen"
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in boxes]
    across = centres[-1][0] - centres[0][0]
    spread = max(max(xs) - min(xs) for xs in ([c[0] for c in centres], [c[1] for c in centres]))
    if spread < _STILL:
        return "staying in place"
    if abs(across) < _STILL:
        return "moving to and fro"
    return f"moving {'right' if across > 0 else 'left'}"


def _times(listen: Mapping[str, Any]) -> str:
    """When it is heard: turns of speech, or onsets if they are few."""
    speech = listen["speech"]
    if listen["speech_ratio"] >= 0.3 and speech:
        return f" from {speech[0]['start_s']:.1f} s to {speech[-1]['end_s']:.1f} s"
    onsets_s = listen["onsets_s"]
    if not onsets_s:
        return " throughout"
    if len(onsets_s) <= _MANY_ONSETS:
        return " at " + ", ".join(f"{onset_s:.1f}" for onset_s in onsets_s) + " s"
    return f", {len(onsets_s)} times between {onsets_s[0]:.1f} s and {onsets_s[-1]:.1f} s"
