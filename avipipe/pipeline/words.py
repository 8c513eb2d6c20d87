"""Decisions in words: what each check asks, why a clip is dropped, what was heard and seen."""

from collections.abc import Mapping
from dataclasses import dataclass

from avipipe.manifests.evidence import FaceTrack
from avipipe.manifests.records import DropReason, Evidence
from avipipe.stages.decide import Finding

NUM_SOUNDS = 5
LEAST_SOUND = 0.05

REASONS: Mapping[DropReason, str] = {
    DropReason.TOO_SHORT: "The clip is too short to be of use.",
    DropReason.SILENT: "There is hardly any sound.",
    DropReason.OVERLAPPED_SPEECH: "People speak at the same time.",
    DropReason.SEVERAL_SPEAKERS: "More than one person speaks.",
    DropReason.MUSIC_OVER_PICTURE: "Music is laid over the picture: nothing seen makes it.",
    DropReason.AMBIENCE: "Wind, water or noise prevails: sound that no one thing makes.",
    DropReason.CROWD: "Many make the sound at once: a crowd, a choir, a flock, traffic.",
    DropReason.SEVERAL_SOURCES: "More than one thing sounds, or may be the one that does.",
    DropReason.STATIC_PICTURE: "Nothing moves, so nothing seen can be told to sound.",
    DropReason.NO_VISIBLE_SOURCE: "Nothing in the picture goes with the sound.",
    DropReason.OUT_OF_SYNC: "Sound and picture are apart in time.",
    DropReason.NO_INSTANCE: "Nothing was found that could be masked.",
    DropReason.SEVERAL_INSTANCES: "Several things alike compete for the sound.",
    DropReason.INSTANCE_TOO_SMALL: "The mask covers too little of the picture to edit.",
    DropReason.INSTANCE_TOO_LARGE: "The mask leaves too little of the picture to keep.",
    DropReason.INSTANCE_NOT_PERSISTENT: "The instance is missing in too many frames.",
    DropReason.MASK_UNSTABLE: "The masks of the frames do not hold together.",
    DropReason.SPLIT_BRIDGE: "It would join groups that are published in different splits.",
}
"""A sentence for each reason."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A check in words: `claim` is true of a clip that passes, `quantity` is what is compared."""

    claim: str
    quantity: str
    unit: str = ""


WORDINGS: Mapping[str, Wording] = {
    "min_clip_s": Wording("it is long enough", "length", "s"),
    "min_sound_dbfs": Wording("it is loud enough", "level", "dBFS"),
    "max_music": Wording("no music is laid over it", "score"),
    "max_ambience": Wording("things prevail over wind, water, noise", "ratio"),
    "max_crowd": Wording("single things prevail over crowds", "ratio"),
    "max_second_sound": Wording("one kind of sound is heard", "second kind"),
    "max_second_family": Wording("one family of instruments is heard", "second over first"),
    "max_beside_speech": Wording("nothing else sounds beside the voice", "score"),
    "max_overlap_ratio": Wording("voices do not overlap", "share"),
    "min_motion_px": Wording("something moves", "motion", "px/frame"),
    "max_speakers": Wording("few enough voices are heard", "voices"),
    "max_speaking_faces": Wording("few enough faces speak", "faces"),
    "min_speaking_ratio": Wording("a face speaks when the voice does", "share"),
    "max_lip_p_value": Wording("lips go with the voice", "p"),
    "max_short_lip_p_value": Wording("lips go with the voice, seen briefly", "p"),
    "max_p_value": Wording("motion goes with the sound", "p"),
    "max_speech_p_value": Wording("motion goes with the voice", "p"),
    "max_player_p_value": Wording("motion goes with the music", "p"),
    "min_mover_share": Wording("one thing moves most", "share"),
    "min_margin": Wording("one place leads its rival", "lead"),
    "max_rival_share": Wording("no second place goes with the sound", "heat"),
    "max_sync_offset_s": Wording("sound and motion are in time", "offset", "s"),
    "min_instances": Wording("there is something to mask", "things"),
    "min_persistence": Wording("it is masked nearly all the time", "share"),
    "min_area_ratio": Wording("the mask is large enough", "area"),
    "max_area_ratio": Wording("the mask is small enough", "area"),
    "max_instances": Wording("few enough things compete", "things"),
    "min_similarity_margin": Wording("what is masked is likest the sound", "lead"),
    "min_mask_quality": Wording("masks are carried with trust", "quality"),
    "min_return_iou": Wording("the mask comes back when carried back", "IoU"),
    "min_agreement": Wording("other frames give the same mask", "IoU"),
    "min_temporal_iou": Wording("the mask goes on from frame to frame", "IoU"),
    "max_area_jump_ratio": Wording("the mask's size does not jump", "share"),
}
"""Threshold -> its check."""


def sentence(finding: Finding) -> str:
    """`lips go with the voice: p 0.03 ≤ 0.1`; one that fails says what is so: `p 0.4 > 0.1`."""
    wording = WORDINGS[finding.threshold]
    if finding.value is None:
        return f"{wording.claim}: not asked, or unknown"
    signs = ("≥", "<") if finding.sense == "at_least" else ("≤", ">")
    sign = signs[0] if finding.passed else signs[1]
    unit = f" {wording.unit}" if wording.unit else ""
    quantity = f"{wording.quantity} {finding.value:.3g}{unit}"
    return f"{wording.claim}: {quantity} {sign} {finding.limit:g}{unit}"


def sounds(listen: Evidence) -> list[tuple[str, float]]:
    """The likeliest classes of sound, or groups from a tagger that knows none, best first."""
    scores: Mapping[str, float] = listen["tag_classes"] or listen["tags"]
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(name, score) for name, score in ranked[:NUM_SOUNDS] if score >= LEAST_SOUND]


def face(track: FaceTrack) -> str:
    """`0.0–8.0 s, speaking score +1.2, lips p 0.03`; the score is of the time with a voice."""
    parts = [f"{track.start_s:.1f}–{track.end_s:.1f} s"]
    if track.speech_score is not None:
        parts.append(f"speaking score {track.speech_score:+.1f}")
    if track.sync_p_value is not None:
        parts.append(f"lips p {track.sync_p_value:.3g}")
    return ", ".join(parts)
