"""Measures of how the motion of a clip, and its faces' lips, go with its sound."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from avipipe.decision.hearing import (
    CLEAR_TAG,
    Known,
    field,
    is_played,
    is_sustained,
    is_voice,
    voice,
)
from avipipe.media.normalize import FPS

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

_NO_LIPS = -4.0
"""Logit of a face that is not there: that of faces which surely do not speak."""

LEAST_P = 0.003
"""Smaller chances are told no further apart."""


def num_speakers(known: Known) -> float | None:
    """Speakers told apart by their voices; one where one face speaks all the time, and no other."""
    heard: float | None = known["listen"]["num_speakers"]
    if heard is None:
        return None
    ratios = sorted(_speaking_ratios(known), reverse=True)
    alone = bool(ratios) and ratios[0] >= SPEAKS_ALONE and max(ratios[1:], default=0) < SPEAKS_TOO
    return 1.0 if alone else float(heard)


def num_speaking_faces(known: Known) -> float | None:
    """Faces that speak while speech is heard."""
    if not _is_seen_voice(known):
        return None
    return float(_num_speaking(known))


def speaking_ratio(known: Known) -> float | None:
    """Share of the speech in which the face that speaks most does so; 0 where there is none."""
    if not _is_seen_voice(known):
        return None
    return max(_speaking_ratios(known), default=0.0)


def lip_chance(known: Known) -> float | None:
    """The p-value of mouth and sound going together, of the face that speaks most."""
    face = _speaking_face(known)
    return None if face is None or _is_short(face) else face["sync_p_value"]


def short_lip_chance(known: Known) -> float | None:
    """The p-value of `lip_chance`, of a face seen too briefly to find every true match."""
    face = _speaking_face(known)
    return None if face is None or not _is_short(face) else face["sync_p_value"]


def chance(known: Known) -> float | None:
    """The p-value of the visible source; 1 where nothing moves that could be tested.

    Not asked of voices where faces are looked for, nor of things that sound on and on.
    """
    if _is_seen_voice(known) or is_sustained(known["listen"]):
        return None
    return _p_value(known)


def speech_chance(known: Known) -> float | None:
    """The p-value of motion and a voice, where no faces are looked for."""
    if not is_voice(known["listen"]) or _is_seen_voice(known):
        return None
    return _p_value(known)


def player_chance(known: Known) -> float | None:
    """The p-value of motion and an instrument, in what else counts as music laid over."""
    listen = known["listen"]
    if not is_played(listen) or listen["tags"]["music"] < CLEAR_TAG:
        return None
    return _p_value(known)


def mover_share(known: Known) -> float | None:
    """Share of all motion that one thing has, for things that sound on and on."""
    return (
        field("look", "measures", "mover_share")(known) if is_sustained(known["listen"]) else None
    )


def second_source(known: Known) -> float | None:
    """The margin between two regions that both go with the sound; None where only one does.

    Nor of things that sound on and on: two of those share the motion (`mover_share`).
    """
    look = known["look"]
    if _is_seen_voice(known) or is_sustained(known["listen"]):
        return None
    if look["measures"].get("num_regions", 0) < 2:
        return None
    if look["measures"].get("rival_share", 1.0) < CLEAR_RIVAL:
        return None
    return field("look", "margin")(known)


def rival_share(known: Known) -> float | None:
    """Heat of the second hottest place over the hottest's, where motion goes with the sound."""
    if _is_seen_voice(known) or is_sustained(known["listen"]):
        return None
    return field("look", "measures", "rival_share")(known)


def clear_offset_s(known: Known) -> float | None:
    """By how much sound and motion are apart, where that stands out."""
    look = known["look"]
    offset_s, z = look["sync_offset_s"], look["sync_z"]
    if offset_s is None or z is None or z < CLEAR_Z:
        return None
    return abs(float(offset_s))


def lips(known: Known) -> float | None:
    """Logit of speaking of the face that does so most surely, by how much of a voice there is."""
    scores = _lip_scores(known)
    return None if scores is None else scores[0] * voice(known["listen"])


def second_lips(known: Known) -> float | None:
    """Logit of speaking of the face after that one, by how much of a voice there is."""
    scores = _lip_scores(known)
    return None if scores is None else scores[1] * voice(known["listen"])


def _lip_scores(known: Known) -> list[float] | None:
    faces = known["look"]["faces"]
    if faces is None or voice(known["listen"]) < CLEAR_TAG:
        return None
    scores = [
        each["score"] if each["speech_score"] is None else each["speech_score"] for each in faces
    ]
    return [*sorted(scores, reverse=True), _NO_LIPS, _NO_LIPS]


def lips_logit(known: Known) -> float | None:
    """Logit of speaking of the face that does so most surely; None where no voice is heard."""
    scores = _lip_scores(known)
    return None if scores is None else scores[0]


def surprise(known: Known) -> float | None:
    """-log10 of the chance that sound and motion agree by accident."""
    return _surprise(_p_value(known))


def lip_surprise(known: Known) -> float | None:
    """-log10 of the chance that mouth and voice agree by accident, of the face that speaks most."""
    face = _speaking_face(known)
    if face is None or face["sync_p_value"] is None:
        return None
    return _surprise(float(face["sync_p_value"]))


def _surprise(chance: float) -> float:
    return math.log10(1 / max(chance, LEAST_P))


def _is_seen_voice(known: Known) -> bool:
    """Whether the sound is a voice and faces were looked for, so that a face must speak."""
    look: Mapping[str, Any] = known.get("look", {})
    return look.get("faces") is not None and is_voice(known["listen"])


def _speaking_ratios(known: Known) -> list[float]:
    """Of each face: the share of the speech in which it is seen to speak."""
    return [
        _share_of_speech(_spoken_s(face, known), face, known)
        for face in known["look"]["faces"] or []
    ]


def _num_speaking(known: Known) -> int:
    """Faces that speak while no other is surer to, or nearly always.

    One who listens moves, too, and is taken to speak now and then; but hardly ever more surely
    than the one who does.
    """
    faces = known["look"]["faces"] or []
    count = 0
    for face in faces:
        spoken_s = _spoken_s(face, known)
        surest_s = [
            time_s
            for time_s in spoken_s
            if all(_score(other, time_s) <= _score(face, time_s) for other in faces)
        ]
        by_itself = _share_of_speech(surest_s, face, known) >= SPEAKS_TOO
        count += by_itself or _share_of_speech(spoken_s, face, known) >= SPEAKS_ALONE
    return count


def _spoken_s(face: Mapping[str, Any], known: Known) -> list[float]:
    """When a face is seen to speak while speech is heard, one time for each step of its track."""
    times_s = [face["start_s"] + n * _step_s(face) for n in range(len(face["scores"]))]
    return [
        time_s
        for time_s, score in zip(times_s, face["scores"], strict=True)
        if score >= 0.0
        and any(turn["start_s"] <= time_s < turn["end_s"] for turn in _voiced(known))
    ]


def _share_of_speech(times_s: list[float], face: Mapping[str, Any], known: Known) -> float:
    heard_s: float = sum(turn["end_s"] - turn["start_s"] for turn in _voiced(known))
    return min(1.0, len(times_s) * _step_s(face) / heard_s)


def _voiced(known: Known) -> Sequence[Mapping[str, Any]]:
    """When a voice is heard: the turns of speech, or all the time if it is only singing."""
    listen = known["listen"]
    return listen["speech"] or [{"start_s": 0.0, "end_s": listen["duration_s"]}]


def _score(face: Mapping[str, Any], time_s: float) -> float:
    """How surely a face speaks at a time, as a logit; minus infinity where it is not seen."""
    number = round((time_s - face["start_s"]) / _step_s(face))
    return face["scores"][number] if 0 <= number < len(face["scores"]) else -math.inf


def _step_s(face: Mapping[str, Any]) -> float:
    return float(face["box_step_frames"] / FPS)


def _speaking_face(known: Known) -> Mapping[str, Any] | None:
    """The face that speaks most; None where the sound is no voice or no face is seen."""
    if not _is_seen_voice(known) or not known["look"]["faces"]:
        return None
    ratios = _speaking_ratios(known)
    face: Mapping[str, Any] = known["look"]["faces"][ratios.index(max(ratios))]
    return face


def _is_short(face: Mapping[str, Any]) -> bool:
    return bool(face["end_s"] - face["start_s"] < SHORT_TRACK_S)


def _p_value(known: Known) -> float:
    value = known["look"]["p_value"]
    return 1.0 if value is None else float(value)
