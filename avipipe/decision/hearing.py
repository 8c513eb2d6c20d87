"""Measures of the sound of a clip: one number each, None where it is unknown."""

from collections.abc import Callable, Mapping
from typing import Any

from avipipe.annotators import audioset
from avipipe.manifests.records import Evidence

Known = Mapping[str, Evidence]
"""Stage -> its evidence as stored (`manifests.evidence`), as far as it has been gathered."""

Measure = Callable[[Known], float | None]

CLEAR_TAG = 0.3
"""Score from which a group of sounds is taken to be heard (AudioSet taggers are sigmoid)."""

MOSTLY_SPEECH = 0.5
"""Share of speech from which a clip's sound counts as a voice."""

VOICES = frozenset({"speech", "singing"})
SUSTAINED = frozenset({"vehicle", "engine", "aircraft", "train", "boat"})
"""Groups whose sound goes on whatever moves: their motion need not go with it."""

SUSTAINED_FAMILIES = frozenset({"bowed", "wind", "brass"})


def field(*path: str) -> Measure:
    """What stands in the evidence at a path of keys, from the stage on; None where a key is not."""

    def measure(known: Known) -> float | None:
        value: Any = known
        for key in path:
            value = None if value is None else value.get(key)
        return None if value is None else float(value)

    return measure


_BESIDE_SPEECH = field("listen", "tag_details", "beside_speech")
_LEAD = field("listen", "tag_details", "second_group_margin")


def level_over_floor_db(known: Known) -> float | None:
    """Level of the whole over that of its quietest tenth."""
    listen = known["listen"]
    return float(listen["rms_dbfs"] - listen["noise_floor_dbfs"])


def voice(listen: Evidence) -> float:
    """How much of a voice there is, in [0, 1]: share of speech, or its tag."""
    tags: dict[str, float] = listen["tags"]
    return max(float(listen["speech_ratio"]), tags.get("speech", 0.0), tags.get("singing", 0.0))


def is_voice(listen: Evidence) -> bool:
    """Whether somebody speaks or sings for most of the sound."""
    if listen["speech_ratio"] >= MOSTLY_SPEECH:
        return True
    group, score = loudest_group(listen)
    return group in VOICES and score >= CLEAR_TAG


def voice_over_music(known: Known) -> float | None:
    """A voice, by how much music or song there is with it."""
    listen = known["listen"]
    if not listen["tags"]:
        return None
    genre: float = listen["tag_details"].get("raw_genre", 0.0)
    tags: dict[str, float] = listen["tags"]
    return voice(listen) * max(tags.get("music", 0.0), tags.get("singing", 0.0), genre)


def music(known: Known) -> float | None:
    """Score of music that no visible thing makes: generic music, genres, an accompanied singer.

    None where an instrument is clearly heard: then the picture tells.
    """
    listen = known["listen"]
    score, details = listen["tags"].get("music"), listen["tag_details"]
    if score is None or is_played(listen):
        return None
    group, _ = loudest_group(listen)
    accompaniment = details.get("raw_instrument", 0.0) if group in VOICES else 0.0
    return float(max(score, details.get("raw_genre", 0.0), accompaniment))


def ambience(known: Known) -> float | None:
    """Score of wind, water, noise … over that of things."""
    return _over_instances(known, "kind_ambience")


def crowd(known: Known) -> float | None:
    """Score of what many make at once (crowds, choirs, traffic) over that of things."""
    return _over_instances(known, "kind_many")


def second_sound(known: Known) -> float | None:
    """Score of the second group of sounds that cannot be the same thing as the first."""
    listen = known["listen"]
    margin = listen["tag_details"].get("second_group_margin")
    if margin is None or not listen["tags"]:
        return None
    kinds = audioset.kinds()
    scores = [
        score
        for group, score in listen["tags"].items()
        if kinds.get(group, "instance") in ("instance", "many", "music")
    ]
    return float(max(scores, default=0.0) - margin)


def beside_speech(known: Known) -> float | None:
    """Score of what is heard beside a voice."""
    return _BESIDE_SPEECH(known) if is_voice(known["listen"]) else None


def lead_without_voice(known: Known) -> float | None:
    """Lead of the surest kind of sound over another one, where nobody speaks or sings."""
    return None if voice(known["listen"]) >= MOSTLY_SPEECH else _LEAD(known)


def onset_rate_hz(known: Known) -> float | None:
    """How many sounds begin in a second, where nobody speaks or sings."""
    listen = known["listen"]
    if voice(listen) >= MOSTLY_SPEECH:
        return None
    return len(listen["onsets_s"]) / float(listen["duration_s"])


def second_family(known: Known) -> float | None:
    """Score of the second family of instruments over that of the first."""
    details = known["listen"]["tag_details"]
    if details.get("first_family", 0.0) < CLEAR_TAG:
        return None
    return float(details["second_family"] / details["first_family"])


def second_voice(known: Known) -> float | None:
    """Time in which the second speaker speaks over that of the first; 0 where there is none."""
    listen = known["listen"]
    if listen["num_speakers"] is None:
        return None
    spoken_s: dict[str, float] = {}
    for turn in listen["speakers"]:
        spoken_s.setdefault(turn["label"], 0.0)
        spoken_s[turn["label"]] += turn["end_s"] - turn["start_s"]
    first, second = [*sorted(spoken_s.values(), reverse=True), 0.0, 0.0][:2]
    return second / first if first else 0.0


def loudest_group(listen: Evidence) -> tuple[str, float]:
    """The group that scores best among those that a visible thing may make."""
    kinds = audioset.kinds()
    scores: dict[str, float] = {
        group: score
        for group, score in listen["tags"].items()
        if kinds.get(group, "instance") == "instance"
    }
    return max(scores.items(), key=lambda item: (item[1], item[0]), default=("", 0.0))


def is_sustained(listen: Evidence) -> bool:
    """Whether what is heard sounds on and on: an engine, a bow, a horn."""
    group, score = loudest_group(listen)
    if score < CLEAR_TAG or not listen["tag_classes"]:
        return False
    if group != "instrument":
        return group in SUSTAINED
    # Evidence that was stored has its classes in the order of their names.
    known = audioset.classes()
    played = {name: score for name, score in listen["tag_classes"].items() if known[name].family}
    first = max(played, key=lambda name: (played[name], name), default=None)
    return first is not None and known[first].family in SUSTAINED_FAMILIES


def is_played(listen: Evidence) -> bool:
    """Whether an instrument is clearly heard, and nobody sings to it."""
    clear = listen["tag_details"].get("raw_instrument", 0.0) >= CLEAR_TAG
    return bool(clear and "music" in listen["tags"] and not is_voice(listen))


def _over_instances(known: Known, name: str) -> float | None:
    details: dict[str, float] = known["listen"]["tag_details"]
    if name not in details:
        return None
    return details[name] / max(details["kind_instance"], 1e-3)
