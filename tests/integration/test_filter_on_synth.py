"""Each kind of evidence by itself, on the synthetic clips that were made for it.

Not whether a clip is kept in the end, but whether the measure that ought to tell does tell, at hard
limits that are set for all of them, with backends that need no weights and with the light ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pytest

from avipipe.annotators.registry import create, profile
from avipipe.decision.checks import CHECKS, KNOWN
from avipipe.errors import WeightsError
from avipipe.manifests.records import Evidence, Keep, SourceLine, Span
from avipipe.media.probe import probe
from avipipe.stages.base import Item, Stage
from avipipe.stages.eyes import Eyes
from avipipe.stages.listen import Listen, ListenConfig
from avipipe.stages.look import Look, LookConfig
from avipipe.synth import render, write_clip
from tests.decisions import judged, strict

SEED = 1
DURATION_S = 5.0
LONGER_S = {"dubbed": 8.0}
"""In 5 s, one foreign mouth in three moves with the sound by chance."""
HEIGHT_PX = 240

HEARD = frozenset(check.limit for check in CHECKS if check.limit and check.stage == "listen")
ALL = frozenset(check.limit for check in CHECKS if check.limit and check.stage != "mask")
LIPS = frozenset({"min_speaking_ratio", "max_lip_p_value", "max_short_lip_p_value"})
UNSEEN = LIPS | {"max_p_value", "max_speech_p_value"}
RIVALS = frozenset({"max_rival_share", "min_margin"})
VOICES = frozenset({"max_speakers", "max_overlap_ratio"})
STILL = frozenset({"min_motion_px"})
AMBIENCE, MUSIC = frozenset({"max_ambience"}), frozenset({"max_music"})

Side = Literal["drops", "passes"]


@dataclass(frozen=True)
class Claim:
    """A clip misses at least one of the hard limits, or passes them all."""

    kind: str
    limits: frozenset[str]
    side: Side
    about: str

    @property
    def is_cheap(self) -> bool:
        return self.limits <= HEARD


def keeps(*kinds: str) -> list[Claim]:
    return [Claim(kind, ALL, "passes", "all") for kind in kinds]


def drops(limits: frozenset[str], about: str, *kinds: str) -> list[Claim]:
    return [Claim(kind, limits, "drops", about) for kind in kinds]


CLAIMS = (
    *keeps("bounce", "motor", "barking", "speaker", "speaker_with_bystander"),
    *keeps("violin", "violin_high"),
    *drops(frozenset({"min_sound_dbfs"}), "level", "silent"),
    *drops(AMBIENCE, "ambience", "ambience", "wind", "rain"),
    *drops(MUSIC, "music", "music_over", "music_over_strike", "music_over_speaker"),
    *drops(MUSIC, "music", "backing_track", "miming", "face_cam"),
    *drops(VOICES, "voices", "crowd", "dialogue"),
    *drops(frozenset({"max_overlap_ratio"}), "overlap", "overlap"),
    *drops(STILL, "motion", "static_sound", "voice_over_still"),
    *drops(UNSEEN, "source", "voice_over_still", "voice_over_motion", "narrated_strike"),
    *drops(UNSEEN, "source", "listener", "narrated_ape"),
    *drops(LIPS, "lips", "dubbed"),
    *drops(RIVALS, "rivals", "pack", "two_sources"),
    *drops(frozenset({"max_sync_offset_s"}), "offset", "late_sound"),
)

QUICK = frozenset(
    {
        *("bounce", "speaker", "speaker_with_bystander", "violin_high"),
        *("listener", "narrated_ape", "dubbed", "voice_over_motion", "pack"),
    }
)
"""Kinds that are looked at in every run, by `light`; the rest, and `embedded`, take minutes."""

SLOW_BOW = "the motion of a slow bow has no onsets, and a few strokes agree by accident, too"
SECOND_UNSURE = "the ball goes with the sound; the hammer, in the rest of it, might by accident"
FEW_IMPACTS = "the offset, 0.21 s, is right, but stands out by 3.6 deviations instead of 4"
NO_KINDS = "rules name no kinds of sounds, so this is unknown"
NO_FACES = "faces are not looked for"
ONE_VOICE = "PyanNet, which knows people's voices, hears these made-up ones as one"
KNOWN_WRONG = {
    ("embedded", "violin", "all"): SLOW_BOW,
    ("embedded", "violin_high", "all"): SLOW_BOW,
    ("light", "violin", "all"): f"YAMNet hears music more than an instrument; {SLOW_BOW}",
    ("embedded", "two_sources", "rivals"): SECOND_UNSURE,
    ("light", "two_sources", "rivals"): SECOND_UNSURE,
    ("embedded", "late_sound", "offset"): FEW_IMPACTS,
    ("light", "late_sound", "offset"): FEW_IMPACTS,
    **{("embedded", kind, "ambience"): NO_KINDS for kind in ("ambience", "wind", "rain")},
    ("embedded", "dubbed", "lips"): NO_FACES,
    **{("light", kind, "voices"): ONE_VOICE for kind in ("crowd", "dialogue")},
}
"""(profile, kind, about) -> why its claim does not hold; it fails here when it begins to."""


def duration_of(kind: str) -> float:
    return LONGER_S.get(kind, DURATION_S)


@dataclass(frozen=True)
class Senses:
    """The stages that listen and look, with the backends of one profile."""

    profile: str
    listen: Listen
    look: Look
    clips: Path

    def fired(self, kind: str, limits: frozenset[str]) -> dict[str, float | None]:
        """Those of the limits that the clip does not pass, and what was measured."""
        found = judged(strict(), self._evidence(kind, look=not limits <= HEARD)).findings
        return {
            KNOWN[finding.measure].limit: finding.value
            for finding in found
            if KNOWN[finding.measure].limit in limits and not finding.passed
        }

    def _evidence(self, kind: str, *, look: bool) -> dict[str, Evidence]:
        listened = _heard(self, kind)
        return {"listen": listened, "look": _seen(self, kind)} if look else {"listen": listened}


@cache
def _heard(senses: Senses, kind: str) -> Evidence:
    return _run(senses.listen, senses.clips / f"{kind}.mp4", {})


@cache
def _seen(senses: Senses, kind: str) -> Evidence:
    known = {"listen": _heard(senses, kind)}
    return _run(senses.look, senses.clips / f"{kind}.mp4", known)


def _run(stage: Stage, path: Path, known: dict[str, Evidence]) -> Evidence:
    if not path.exists():
        clip = render(
            path.stem,
            SEED,
            duration_s=duration_of(path.stem),
            height_px=HEIGHT_PX,
            fps=Fraction(24),
        )
        write_clip(clip, path)
    evidence: dict[str, Evidence] = {
        "fetch": {"path": path.name},
        "probe": probe(path).to_json(),
        **known,
    }
    line = SourceLine(0, str(path), None, "list.txt:1")
    item = Item("clip", line, Span(0.0, duration_of(path.stem)), evidence, {"fetch": path.parent})
    outcome = stage.run(item, path.parent)
    assert isinstance(outcome, Keep)
    return outcome.evidence


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@cache
def ready(name: str, clips: Path) -> Senses:
    backends = {role: create(role, backend) for role, backend in profile(name).items()}
    listen = Listen(
        ListenConfig(),
        vad=backends["vad"],
        diarizer=backends["diarize"],
        separator=backends["separate"],
        tagger=backends["tag"],
    )
    look = Look(
        LookConfig(),
        localizer=backends["localize"],
        active_speaker=backends["active_speaker"],
        eyes=Eyes(
            detector=backends["detect"],
            classifier=backends["classify"],
            text_finder=backends["text"],
            matcher=backends["match"],
        ),
    )
    listen.setup()
    look.setup()
    return Senses(name, listen, look, clips)


def cases() -> Iterator[Any]:
    for name, claim in product(("light", "embedded"), CLAIMS):
        is_quick = claim.is_cheap or (name == "light" and claim.kind in QUICK)
        yield pytest.param(
            name,
            claim,
            id=f"{name}-{claim.kind}-{claim.side}-{claim.about}",
            marks=() if is_quick else pytest.mark.slow,
        )


@pytest.mark.parametrize(("name", "claim"), list(cases()))
def test_evidence_tells(name: str, claim: Claim, clips: Path) -> None:
    try:
        senses = ready(name, clips)
    except (WeightsError, ImportError) as error:
        pytest.skip(f"{name} cannot run here: {error}")
    fired = senses.fired(claim.kind, claim.limits)
    known = KNOWN_WRONG.get((name, claim.kind, claim.about))
    tells = bool(fired) == (claim.side == "drops")
    assert tells == (known is None), f"{fired or 'no check'} fired; known: {known}"


def test_the_ape_has_a_face(clips: Path) -> None:
    """Or nothing would be tested by it."""
    try:
        senses = ready("light", clips)
    except (WeightsError, ImportError) as error:
        pytest.skip(f"light cannot run here: {error}")
    assert len(_seen(senses, "narrated_ape")["faces"]) == 1
