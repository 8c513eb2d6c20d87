"""Measures of how what is seen by name explains what is heard (`LookEvidence.match`, `things`)."""

import math
from typing import Any

from avipipe.annotators.match.classes import SURE_HEARD
from avipipe.decision.hearing import Known, voice
from avipipe.decision.seeing import lips_logit

FACE = "face"
MIN_FACE_HEIGHT = 0.06
"""Of the picture's: smaller faces belong to bystanders."""

_STEEP = 1.5
"""Logits of LR-ASD are soft: lips that surely move have 2, those that surely do not -4."""

_MOVES_PX = 0.05
"""Motion of the whole picture in px/frame under which the camera keeps still."""

RIVAL_FACE = 0.5
"""Height over the largest face's from which another one may be the speaker as well."""


def match(known: Known) -> float | None:
    """How well the best thing seen explains the sound that it makes, in [0, 1]."""
    found = known["look"].get("match")
    return None if found is None else max((each["match"] for each in found), default=0.0)


def unexplained(known: Known) -> float | None:
    """Score of the surest source that is heard while nothing seen could be it."""
    found = known["look"].get("match")
    if found is None:
        return None
    return max((each["heard"] * (1 - _shown(each)) for each in found), default=0.0)


def music_unmatched(known: Known) -> float | None:
    """Music, by how little of it anything seen explains."""
    found, score = match(known), known["listen"]["tags"].get("music")
    return None if found is None or score is None else float(score) * (1 - found)


def several_alike(known: Known) -> float | None:
    """How many things of the kind that explains the sound best are seen at once, beyond one."""
    found = known["look"].get("match")
    if known["look"].get("things") is None or not found:
        return None
    best = max(found, key=lambda each: each["match"])
    if not best["match"] or best["thing"] in (None, FACE):
        return 0.0
    shares = _shares_seen(best["thing"], known)
    return sum(shares) - max(shares, default=0.0)


def num_people(known: Known) -> float | None:
    """People seen at once, on average."""
    return None if known["look"].get("things") is None else sum(_shares_seen("person", known))


def _shares_seen(label: str, known: Known) -> list[float]:
    """Of each thing of a name: the share of the time in which it is seen, by how surely."""
    duration_s = float(known["listen"]["duration_s"])
    return [
        float(each["score"] * (each["end_s"] - each["start_s"])) / duration_s
        for each in known["look"]["things"]
        if each["label"] == label
    ]


def face_share(known: Known) -> float | None:
    """Share of the time in which a face large enough is seen."""
    faces = _large_faces(known)
    if faces is None:
        return None
    return _largest_share([each["end_s"] - each["start_s"] for each in faces], known)


def face_height(known: Known) -> float | None:
    """Height of the largest face, over the picture's; 0 where there is none."""
    faces = known["look"]["faces"]
    return None if faces is None else max(map(_height, faces), default=0.0)


def second_face(known: Known) -> float | None:
    """Share of the time in which a second face is seen that is half as large as the largest."""
    faces = _large_faces(known)
    if faces is None:
        return None
    largest = max(map(_height, faces), default=0.0)
    rivals = sorted(
        (
            each["end_s"] - each["start_s"]
            for each in faces
            if _height(each) >= RIVAL_FACE * largest
        ),
        reverse=True,
    )
    return _largest_share(rivals[1:], known)


def voice_seen(known: Known) -> float | None:
    """A voice, with a face."""
    share = face_share(known)
    return None if share is None else voice(known["listen"]) * share


def voice_unseen(known: Known) -> float | None:
    """A voice, without one."""
    share = face_share(known)
    return None if share is None else voice(known["listen"]) * (1 - share)


def voice_unspoken(known: Known) -> float | None:
    """A voice, by how little any lips seem to make it."""
    if known["look"]["faces"] is None:
        return None
    logit = lips_logit(known)
    return 0.0 if logit is None else voice(known["listen"]) * _sigmoid(-_STEEP * logit)


def heard(known: Known) -> float | None:
    """Score of the surest source that is heard."""
    found = known["look"].get("match")
    return None if found is None else max((each["heard"] for each in found), default=0.0)


def lasting_text(known: Known) -> float | None:
    """Lines of text that stay in their place: captions, titles, logos."""
    boxes = known["look"].get("text_boxes")
    return None if boxes is None else float(len(boxes))


def left_by_camera(known: Known) -> float | None:
    """Share of the change that the camera's motion leaves; 1 where the camera keeps still."""
    found = known["look"].get("picture")
    if found is None or found["residual_ratio"] is None:
        return None
    return float(found["residual_ratio"]) if found["camera_px"] > _MOVES_PX else 1.0


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _shown(explained: dict[str, Any]) -> float:
    heard = max(min(float(explained["heard"]) / SURE_HEARD, 1.0), 1e-6)
    return min(float(explained["match"]) / heard, 1.0)


def _large_faces(known: Known) -> list[dict[str, Any]] | None:
    faces = known["look"]["faces"]
    if faces is None:
        return None
    return [each for each in faces if _height(each) >= MIN_FACE_HEIGHT]


def _height(face: dict[str, Any]) -> float:
    return float(face["box"][3] - face["box"][1])


def _largest_share(lengths_s: list[float], known: Known) -> float:
    return min(1.0, max(lengths_s, default=0.0) / float(known["listen"]["duration_s"]))
