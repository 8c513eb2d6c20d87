"""Decisions in words: what each check asks, why a clip is dropped, what was heard and seen."""

from collections.abc import Mapping

from avipipe.decision.check import Check
from avipipe.decision.checks import KNOWN
from avipipe.decision.judge import LimitFinding
from avipipe.decision.model import Contribution
from avipipe.manifests.evidence import FaceSeen
from avipipe.manifests.records import DropReason, Evidence

# Classes of sounds that are told, and their least score. Choices.
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
    DropReason.POOR_SOURCE: "Its source has too small pictures, or too few a second.",
    DropReason.SPLIT_BRIDGE: "It would join groups that are published in different splits.",
}
"""Sentences on the reasons of drops."""


def sentence(finding: LimitFinding) -> str:
    """Sentence on a hard limit: `voices do not overlap: share 0.03 ≤ 0.1`, or `share 0.4 > 0.1`."""
    check = KNOWN[finding.measure]
    if finding.value is None:
        return f"{check.claim}: not asked, or unknown"
    signs = ("≥", "<") if finding.sense == "at_least" else ("≤", ">")
    sign = signs[0] if finding.passed else signs[1]
    unit = f" {check.unit}" if check.unit else ""
    return f"{check.claim}: {quantity(check, finding.value)} {sign} {finding.limit:g}{unit}"


WEAK_LOG_ODDS = 0.1
"""Log-odds of a weak argument: it changes the odds by less than a tenth, which nobody sees."""


def argument(contribution: Contribution) -> str:
    """Argument in words: `lips move as the voice does: speaking score 1.8 (+0.62)`.

    Log-odds: +0.7 makes a clip twice as likely to be good as not, -0.7 half as likely.
    """
    return f"{said_by(contribution)} {_adds(contribution)}"


def said_by(contribution: Contribution) -> str:
    """Argument in words, without its log-odds; `in doubt: …` where it is against the clip."""
    return f"{'in doubt: ' if contribution.log_odds < 0 else ''}{_claim(contribution)}"


def most_against(contribution: Contribution) -> str:
    """Argument in words of what speaks most strongly against a clip."""
    return f"Most against it: {_claim(contribution)} {_adds(contribution)}"


def _claim(contribution: Contribution) -> str:
    check = KNOWN[contribution.measure]
    return f"{check.claim}: {quantity(check, contribution.value)}"


def _adds(contribution: Contribution) -> str:
    prior = ", by prior" if contribution.by_prior else ""
    return f"({contribution.log_odds:+.2f}{prior})"


def quantity(check: Check, value: float) -> str:
    """Format a value of a check, with its name and unit."""
    unit = f" {check.unit}" if check.unit else ""
    return f"{check.quantity} {value + 0.0:.3g}{unit}"  # + 0.0: no minus before a zero


def sounds(listen: Evidence) -> list[tuple[str, float]]:
    """Likeliest classes of sound, or groups from a tagger that knows none, best first."""
    scores: Mapping[str, float] = listen["tag_classes"] or listen["tags"]
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(name, score) for name, score in ranked[:NUM_SOUNDS] if score >= LEAST_SOUND]


def face(track: FaceSeen) -> str:
    """Face in words: `0.0–8.0 s, speaking score +1.2, lips p 0.03`.

    The score is of the time with a voice.
    """
    parts = [f"{track.start_s:.1f}–{track.end_s:.1f} s"]
    if track.speech_score is not None:
        parts.append(f"speaking score {track.speech_score:+.1f}")
    if track.sync_p_value is not None:
        parts.append(f"lips p {track.sync_p_value:.3g}")
    return ", ".join(parts)
