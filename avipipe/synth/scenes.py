"""The kinds of scene, and what a build should decide on each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from avipipe.manifests.records import DropReason as Why
from avipipe.synth import drops, edited, keeps
from avipipe.synth.takes import SceneParameters, SyntheticScene
from avipipe.synth.truth import Verdict

Build = Callable[[SceneParameters], SyntheticScene]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of clip.

    Attributes:
        reasons: the drop reasons that are right, the best first; empty unless dropped.
        fps: frame rate where it is part of the kind; None for any.
        vfr: frames come at irregular times.
        rotation_deg: by which a player has to turn the picture, counter-clockwise.
        mono: the sound track has one channel.
    """

    name: str
    verdict: Verdict
    summary: str
    build: Build
    reasons: tuple[Why, ...] = ()
    fps: Fraction | None = None
    vfr: bool = False
    rotation_deg: int = 0
    mono: bool = False


_UNSEEN = (Why.NO_VISIBLE_SOURCE, Why.OUT_OF_SYNC, Why.NO_INSTANCE)
_MANY = (Why.SEVERAL_SOURCES, Why.SEVERAL_INSTANCES)
_NTSC = Fraction(30_000, 1_001)


def _keep(name: str, build: Build, summary: str) -> Kind:
    return Kind(name, "keep", summary, build)


def _drop(name: str, build: Build, summary: str, *reasons: Why) -> Kind:
    return Kind(name, "drop", summary, build, reasons)


_ALL = (
    _keep("bounce", keeps.bounce, "A ball sounds at each touch of the floor."),
    _keep("bounce_handheld", keeps.bounce_handheld, "A ball, a shaky camera, much noise."),
    _keep("bounce_camouflaged", keeps.bounce_camouflaged, "A ball in the colours of the wall."),
    Kind("bounce_vfr", "keep", "A ball; frames at irregular times.", keeps.bounce, vfr=True),
    _keep("strike", keeps.strike, "A hammer strikes at irregular times."),
    _keep(
        "strike_beside_drifter",
        keeps.strike_beside_drifter,
        "A hammer strikes while a balloon drifts in silence.",
    ),
    Kind(
        "strike_rotated",
        "keep",
        "A hammer; the picture is stored on its side.",
        keeps.strike,
        rotation_deg=90,
    ),
    Kind(
        "strike_ntsc",
        "keep",
        "A hammer at 29.97 frames per second, in mono.",
        keeps.strike,
        fps=_NTSC,
        mono=True,
    ),
    _keep("motor", keeps.motor, "A fan hums as fast as it turns."),
    _keep("vehicle", keeps.vehicle, "A car drives to and fro, loud as it is fast."),
    _keep("barking", keeps.barking, "A dog barks."),
    _keep("speaker", keeps.speaker, "A person talks."),
    _keep(
        "speaker_with_bystander",
        keeps.speaker_with_bystander,
        "A person talks beside a silent one.",
    ),
    _keep("violin", keeps.violin, "A violinist bows slowly."),
    _keep("violin_high", keeps.violin_high, "A violinist bows slowly, an octave higher."),
    _keep("cuts", keeps.cuts, "Shots of about two seconds, each with one thing that strikes."),
    _drop("silent", drops.silent, "A ball without any sound.", Why.SILENT),
    _drop(
        "static_sound",
        drops.static_sound,
        "Impacts over a still picture.",
        Why.STATIC_PICTURE,
        *_UNSEEN,
    ),
    _drop(
        "voice_over_still",
        drops.voice_over_still,
        "A voice over a still picture.",
        Why.STATIC_PICTURE,
        *_UNSEEN,
    ),
    _drop(
        "voice_over_motion", drops.voice_over_motion, "A voice over things that drift.", *_UNSEEN
    ),
    _drop("listener", drops.listener, "An unseen voice talks to a silent person.", *_UNSEEN),
    _drop(
        "narrated_strike",
        drops.narrated_strike,
        "A hammer strikes while an unseen voice talks.",
        Why.SEVERAL_SOURCES,
        *_UNSEEN,
    ),
    _drop(
        "music_over",
        drops.music_over,
        "Music over things that drift.",
        Why.MUSIC_OVER_PICTURE,
        *_UNSEEN,
    ),
    _drop(
        "music_over_strike",
        drops.music_over_strike,
        "Music laid over a hammer's strokes.",
        Why.MUSIC_OVER_PICTURE,
        Why.SEVERAL_SOURCES,
        *_UNSEEN,
    ),
    _drop(
        "music_over_speaker",
        drops.music_over_speaker,
        "Music laid under a person who talks.",
        Why.MUSIC_OVER_PICTURE,
        Why.SEVERAL_SOURCES,
        *_UNSEEN,
    ),
    _drop(
        "backing_track",
        drops.backing_track,
        "A violinist plays over an unseen band.",
        Why.MUSIC_OVER_PICTURE,
        Why.SEVERAL_SOURCES,
        *_UNSEEN,
    ),
    _drop(
        "two_sources",
        drops.two_sources,
        "A ball and a hammer, each with its own sound.",
        *_MANY,
        *_UNSEEN,
    ),
    _drop("dialogue", drops.dialogue, "Two people talk in turn.", Why.SEVERAL_SPEAKERS, *_MANY),
    _drop(
        "overlap",
        drops.overlap,
        "Two people talk at once.",
        Why.OVERLAPPED_SPEECH,
        Why.SEVERAL_SPEAKERS,
        *_MANY,
    ),
    _drop(
        "ambience",
        drops.ambience,
        "A stream: sound everywhere, no one thing.",
        Why.AMBIENCE,
        *_UNSEEN,
    ),
    _drop("wind", drops.wind, "Wind in grass: sound everywhere.", Why.AMBIENCE, *_UNSEEN),
    _drop("rain", drops.rain, "Rain before a house: sound everywhere.", Why.AMBIENCE, *_UNSEEN),
    _drop(
        "crowd",
        drops.crowd,
        "Fifteen people talk at once.",
        Why.CROWD,
        Why.OVERLAPPED_SPEECH,
        Why.SEVERAL_SPEAKERS,
        *_MANY,
        *_UNSEEN,
    ),
    _drop(
        "face_cam",
        drops.face_cam,
        "A game with its sounds; who plays it talks in a corner.",
        Why.SEVERAL_SOURCES,
        Why.MUSIC_OVER_PICTURE,
        Why.INSTANCE_TOO_SMALL,
        *_UNSEEN,
    ),
    _drop("narrated_ape", drops.narrated_ape, "An unseen voice over an ape's face.", *_UNSEEN),
    _drop("dubbed", drops.dubbed, "A mouth that says something else.", *_UNSEEN),
    _drop("pack", drops.pack, "Many alike bark at once.", *_MANY, Why.CROWD, *_UNSEEN),
    _drop(
        "miming",
        drops.miming,
        "A mouth moves to somebody else's song.",
        Why.OUT_OF_SYNC,
        Why.MUSIC_OVER_PICTURE,
        Why.NO_VISIBLE_SOURCE,
        Why.NO_INSTANCE,
    ),
    _drop(
        "late_sound",
        drops.late_sound,
        "A ball whose sound comes about 0.2 s late.",
        Why.OUT_OF_SYNC,
        Why.NO_VISIBLE_SOURCE,
        Why.NO_INSTANCE,
    ),
    _drop("tiny", drops.tiny, "A ball too small for a mask.", Why.INSTANCE_TOO_SMALL, *_UNSEEN),
    _drop("huge", drops.huge, "A ball that fills the picture.", Why.INSTANCE_TOO_LARGE, *_UNSEEN),
    _drop(
        "leaving",
        drops.leaving,
        "A ball leaves the picture and is heard on.",
        Why.INSTANCE_NOT_PERSISTENT,
        *_UNSEEN,
    ),
    _keep("letterboxed", edited.letterboxed, "A ball; black bars over and under the picture."),
    _keep("logo_over", edited.logo_over, "A car and a camera beside it; a logo in a corner."),
    _keep("captioned", edited.captioned, "A person walks and talks over a caption."),
    _keep("vehicle_followed", edited.vehicle_followed, "A car and a camera beside it."),
    _drop(
        "split_screen",
        edited.split_screen,
        "Two people talk in turn, in pictures side by side.",
        Why.SEVERAL_SPEAKERS,
        *_MANY,
        *_UNSEEN,
    ),
    _drop(
        "picture_in_picture",
        edited.picture_in_picture,
        "A hammer strikes; a second film runs in a corner, and is heard.",
        *_MANY,
        *_UNSEEN,
    ),
    _drop("carried", edited.carried, "The view from a vehicle that is heard.", *_UNSEEN),
    _drop(
        "zoomed_still",
        edited.zoomed_still,
        "Blows over a still picture that is zoomed into.",
        Why.STATIC_PICTURE,
        *_UNSEEN,
    ),
    Kind("sync_ruler", "either", "A lamp flashes with a beep.", keeps.sync_ruler),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}

DEFAULT_KINDS = (
    "bounce",
    "voice_over_still",
    "speaker",
    "music_over",
    "motor",
    "dialogue",
    "strike_beside_drifter",
    "silent",
    "barking",
    "voice_over_motion",
    "cuts",
    "two_sources",
)
"""Half to keep and half to drop, in turn: what a demonstration shows."""
