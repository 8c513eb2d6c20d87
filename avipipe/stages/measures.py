"""What decisions compare with thresholds: one number from the evidence of a clip, or None.

Evidence is as stored (`manifests.evidence`, in JSON). None means unknown, and drops nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from avipipe.annotators import audioset
from avipipe.manifests.records import Evidence
from avipipe.media.normalize import FPS

Measure = Callable[[Mapping[str, Evidence]], float | None]
"""From the evidence of all stages so far to one number; None where it is unknown."""

MOSTLY_SPEECH = 0.5
"""Share of speech from which a clip's sound counts as a voice."""

CLEAR_TAG = 0.3
"""Score from which a group of sounds is taken to be heard (AudioSet taggers are sigmoid)."""

CLEAR_Z = 4.0
"""Standard deviations by which an offset must stand out to be believed."""

CLEAR_RIVAL = 0.25
"""Share of the hottest place's heat from which another one may be a second source."""

SPEAKS_ALONE = 0.8
"""Share of the speech from which a face that speaks leaves no room for a second speaker."""

SPEAKS_TOO = 0.2
"""Share of the speech from which a face counts as one that speaks."""

SHORT_TRACK_S = 6.0
"""Length from which lips and voice can be tested: true matches of 5 s pass two times in three."""

VOICES = frozenset({"speech", "singing"})

SUSTAINED = frozenset({"vehicle", "engine", "aircraft", "train", "boat"})
"""Groups whose sound goes on whatever moves: their motion need not go with it."""

SUSTAINED_FAMILIES = frozenset({"bowed", "wind", "brass"})


def field(stage: str, name: str) -> Measure:
    """A field of a stage's evidence."""

    def measure(evidence: Mapping[str, Evidence]) -> float | None:
        value = evidence[stage][name]
        return None if value is None else float(value)

    return measure


def is_voice(listen: Evidence) -> bool:
    """Whether somebody speaks or sings for most of the sound."""
    if listen["speech_ratio"] >= MOSTLY_SPEECH:
        return True
    group, score = _loudest_group(listen)
    return group in VOICES and score >= CLEAR_TAG


def music(evidence: Mapping[str, Evidence]) -> float | None:
    """Score of music that no visible thing makes: generic music, genres, an accompanied singer.

    None where an instrument is clearly heard: then the picture tells (`player_chance`).
    """
    listen = evidence["listen"]
    score, details = listen["tags"].get("music"), listen["tag_details"]
    if score is None or _is_played(listen):
        return None
    group, _ = _loudest_group(listen)
    accompaniment = details.get("raw_instrument", 0.0) if group in VOICES else 0.0
    return float(max(score, details.get("raw_genre", 0.0), accompaniment))


def ambience(evidence: Mapping[str, Evidence]) -> float | None:
    """Score of wind, water, noise … over that of things."""
    return _over_instances(evidence, "kind_ambience")


def crowd(evidence: Mapping[str, Evidence]) -> float | None:
    """Score of what many make at once (crowds, choirs, traffic) over that of things."""
    return _over_instances(evidence, "kind_many")


def second_sound(evidence: Mapping[str, Evidence]) -> float | None:
    """Score of the second group of sounds that cannot be the same thing as the first."""
    listen = evidence["listen"]
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


def beside_speech(evidence: Mapping[str, Evidence]) -> float | None:
    """Score of what is heard beside a voice."""
    value = evidence["listen"]["tag_details"].get("beside_speech")
    return None if value is None or not is_voice(evidence["listen"]) else float(value)


def second_family(evidence: Mapping[str, Evidence]) -> float | None:
    """Score of the second family of instruments over that of the first."""
    details = evidence["listen"]["tag_details"]
    if details.get("first_family", 0.0) < CLEAR_TAG:
        return None
    return float(details["second_family"] / details["first_family"])


def num_speakers(evidence: Mapping[str, Evidence]) -> float | None:
    """Speakers told apart by their voices; one where one face speaks all the time, and no other."""
    heard: float | None = evidence["listen"]["num_speakers"]
    if heard is None:
        return None
    ratios = sorted(_speaking_ratios(evidence), reverse=True)
    alone = bool(ratios) and ratios[0] >= SPEAKS_ALONE and max(ratios[1:], default=0) < SPEAKS_TOO
    return 1.0 if alone else float(heard)


def num_speaking_faces(evidence: Mapping[str, Evidence]) -> float | None:
    """Faces that speak while speech is heard."""
    if not _is_seen_voice(evidence):
        return None
    return float(_num_speaking(evidence))


def speaking_ratio(evidence: Mapping[str, Evidence]) -> float | None:
    """Share of the speech in which the face that speaks most does so; 0 where there is none."""
    if not _is_seen_voice(evidence):
        return None
    return max(_speaking_ratios(evidence), default=0.0)


def lip_chance(evidence: Mapping[str, Evidence]) -> float | None:
    """The p-value of mouth and sound going together, of the face that speaks most."""
    face = _speaking_face(evidence)
    return None if face is None or _is_short(face) else face["sync_p_value"]


def short_lip_chance(evidence: Mapping[str, Evidence]) -> float | None:
    """The same, of a face that is seen too briefly for the test to find every true match."""
    face = _speaking_face(evidence)
    return None if face is None or not _is_short(face) else face["sync_p_value"]


def chance(evidence: Mapping[str, Evidence]) -> float | None:
    """The p-value of the visible source; 1 where nothing moves that could be tested.

    Not asked of voices where faces are looked for, nor of things that sound on and on.
    """
    if _is_seen_voice(evidence) or _is_sustained(evidence["listen"]):
        return None
    return _p_value(evidence)


def speech_chance(evidence: Mapping[str, Evidence]) -> float | None:
    """The same, of a voice where no faces are looked for."""
    if not is_voice(evidence["listen"]) or _is_seen_voice(evidence):
        return None
    return _p_value(evidence)


def player_chance(evidence: Mapping[str, Evidence]) -> float | None:
    """The same, of an instrument in what otherwise counts as music laid over the picture."""
    listen = evidence["listen"]
    if not _is_played(listen) or listen["tags"]["music"] < CLEAR_TAG:
        return None
    return _p_value(evidence)


def mover_share(evidence: Mapping[str, Evidence]) -> float | None:
    """Share of all motion that one thing has, for things that sound on and on."""
    if not _is_sustained(evidence["listen"]):
        return None
    value = evidence["look"]["measures"].get("mover_share")
    return None if value is None else float(value)


def second_source(evidence: Mapping[str, Evidence]) -> float | None:
    """The margin between two regions that both go with the sound; None where only one does.

    Nor of things that sound on and on: two of those share the motion (`mover_share`).
    """
    look = evidence["look"]
    if _is_seen_voice(evidence) or _is_sustained(evidence["listen"]):
        return None
    if look["measures"].get("num_regions", 0) < 2:
        return None
    if look["measures"].get("rival_share", 1.0) < CLEAR_RIVAL:
        return None
    return field("look", "margin")(evidence)


def rival_share(evidence: Mapping[str, Evidence]) -> float | None:
    """Heat of the second hottest place over the hottest's, where motion goes with the sound."""
    if _is_seen_voice(evidence) or _is_sustained(evidence["listen"]):
        return None
    value = evidence["look"]["measures"].get("rival_share")
    return None if value is None else float(value)


def clear_offset_s(evidence: Mapping[str, Evidence]) -> float | None:
    """By how much sound and motion are apart, where that stands out."""
    look = evidence["look"]
    offset_s, z = look["sync_offset_s"], look["sync_z"]
    if offset_s is None or z is None or z < CLEAR_Z:
        return None
    return abs(float(offset_s))


def _loudest_group(listen: Evidence) -> tuple[str, float]:
    """The group that scores best among those that a visible thing may make."""
    kinds = audioset.kinds()
    scores: dict[str, float] = {
        group: score
        for group, score in listen["tags"].items()
        if kinds.get(group, "instance") == "instance"
    }
    return max(scores.items(), key=lambda item: (item[1], item[0]), default=("", 0.0))


def _over_instances(evidence: Mapping[str, Evidence], name: str) -> float | None:
    details: dict[str, float] = evidence["listen"]["tag_details"]
    if name not in details:
        return None
    return details[name] / max(details["kind_instance"], 1e-3)


def _is_sustained(listen: Evidence) -> bool:
    group, score = _loudest_group(listen)
    if score < CLEAR_TAG or not listen["tag_classes"]:
        return False
    if group != "instrument":
        return group in SUSTAINED
    # Evidence that was stored has its classes in the order of their names.
    known = audioset.classes()
    played = {name: score for name, score in listen["tag_classes"].items() if known[name].family}
    first = max(played, key=lambda name: (played[name], name), default=None)
    return first is not None and known[first].family in SUSTAINED_FAMILIES


def _is_played(listen: Evidence) -> bool:
    """Whether an instrument is clearly heard, and nobody sings to it."""
    clear = listen["tag_details"].get("raw_instrument", 0.0) >= CLEAR_TAG
    return bool(clear and "music" in listen["tags"] and not is_voice(listen))


def _is_seen_voice(evidence: Mapping[str, Evidence]) -> bool:
    """Whether the sound is a voice and faces were looked for, so that a face must speak."""
    look: Mapping[str, Any] = evidence.get("look", {})
    return look.get("faces") is not None and is_voice(evidence["listen"])


def _speaking_ratios(evidence: Mapping[str, Evidence]) -> list[float]:
    """Of each face: the share of the speech in which it is seen to speak."""
    return [
        _share_of_speech(_spoken_s(face, evidence), face, evidence)
        for face in evidence["look"]["faces"] or []
    ]


def _num_speaking(evidence: Mapping[str, Evidence]) -> int:
    """Faces that speak while no other is surer to, or nearly always.

    One who listens moves, too, and is taken to speak now and then; but hardly ever more surely
    than the one who does.
    """
    faces = evidence["look"]["faces"] or []
    count = 0
    for face in faces:
        spoken_s = _spoken_s(face, evidence)
        surest_s = [
            time_s
            for time_s in spoken_s
            if all(_score(other, time_s) <= _score(face, time_s) for other in faces)
        ]
        by_itself = _share_of_speech(surest_s, face, evidence) >= SPEAKS_TOO
        count += by_itself or _share_of_speech(spoken_s, face, evidence) >= SPEAKS_ALONE
    return count


def _spoken_s(face: Mapping[str, Any], evidence: Mapping[str, Evidence]) -> list[float]:
    """When a face is seen to speak while speech is heard, one time for each step of its track."""
    times_s = [face["start_s"] + n * _step_s(face) for n in range(len(face["scores"]))]
    return [
        time_s
        for time_s, score in zip(times_s, face["scores"], strict=True)
        if score >= 0.0
        and any(turn["start_s"] <= time_s < turn["end_s"] for turn in _voiced(evidence))
    ]


def _share_of_speech(
    times_s: list[float], face: Mapping[str, Any], evidence: Mapping[str, Evidence]
) -> float:
    heard_s: float = sum(turn["end_s"] - turn["start_s"] for turn in _voiced(evidence))
    return min(1.0, len(times_s) * _step_s(face) / heard_s)


def _voiced(evidence: Mapping[str, Evidence]) -> Sequence[Mapping[str, Any]]:
    """When a voice is heard: the turns of speech, or all the time if it is only singing."""
    listen = evidence["listen"]
    return listen["speech"] or [{"start_s": 0.0, "end_s": listen["duration_s"]}]


def _score(face: Mapping[str, Any], time_s: float) -> float:
    """How surely a face speaks at a time, as a logit; minus infinity where it is not seen."""
    number = round((time_s - face["start_s"]) / _step_s(face))
    return face["scores"][number] if 0 <= number < len(face["scores"]) else -math.inf


def _step_s(face: Mapping[str, Any]) -> float:
    return float(face["box_step_frames"] / FPS)


def _speaking_face(evidence: Mapping[str, Evidence]) -> Mapping[str, Any] | None:
    """The face that speaks most; None where the sound is no voice or no face is seen."""
    if not _is_seen_voice(evidence) or not evidence["look"]["faces"]:
        return None
    ratios = _speaking_ratios(evidence)
    face: Mapping[str, Any] = evidence["look"]["faces"][ratios.index(max(ratios))]
    return face


def _is_short(face: Mapping[str, Any]) -> bool:
    return bool(face["end_s"] - face["start_s"] < SHORT_TRACK_S)


def _p_value(evidence: Mapping[str, Evidence]) -> float:
    value = evidence["look"]["p_value"]
    return 1.0 if value is None else float(value)
