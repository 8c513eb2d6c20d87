"""The kinds of scene: what is seen, what is heard, and what a build should decide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from avipipe.manifests.records import DropReason as Why
from avipipe.manifests.rle import Size
from avipipe.synth import actors, motion, sound
from avipipe.synth.backdrops import PALETTES, Backdrop, handheld, room, stream
from avipipe.synth.picture import Shot, Sprite
from avipipe.synth.sound import Wave
from avipipe.synth.truth import Verdict, VoiceSpan
from avipipe.synth.voice import VOICES, Utterance, speak

FLOOR_Y = 0.9


@dataclass(frozen=True, slots=True)
class Take:
    """What a builder works with: everything random comes from `rng`."""

    rng: np.random.Generator
    duration_s: float
    size: Size

    @property
    def aspect(self) -> float:
        """Width of the picture in heights."""
        return self.size[1] / self.size[0]

    @property
    def palette(self) -> int:
        return int(self.rng.integers(len(PALETTES)))

    def across(self, low: float, high: float) -> float:
        """A random place, given as shares of the width, in heights."""
        return float(self.rng.uniform(low, high)) * self.aspect

    def room(self, palette: int | None = None) -> Backdrop:
        chosen = PALETTES[self.palette if palette is None else palette]
        return room(self.rng, self.size, chosen, floor_y=FLOOR_Y - 0.06)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a builder makes: shots on one clock and the sound track, float32 (2, N)."""

    shots: tuple[Shot, ...]
    wav_CN: npt.NDArray[np.float32]
    events_s: tuple[float, ...] = ()
    voices: tuple[VoiceSpan, ...] = ()


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
    build: Callable[[Take], Scene]
    reasons: tuple[Why, ...] = ()
    fps: Fraction | None = None
    vfr: bool = False
    rotation_deg: int = 0
    mono: bool = False


@dataclass(slots=True)
class _Tracks:
    """Sound in the making."""

    take: Take
    parts: list[Wave] = field(default_factory=list)

    def add(self, wave: Wave, level_db: float = 0.0) -> None:
        self.parts.append(wave * np.float32(sound.gain(level_db)))

    def hits(self, events_s: Sequence[float], level_db: float = 0.0) -> None:
        hit = sound.impact(
            self.take.rng,
            pitch_hz=self.take.rng.uniform(180, 700),
            decay_s=self.take.rng.uniform(0.06, 0.14),
        )
        self.add(sound.place(hit, events_s, duration_s=self.take.duration_s), level_db)

    def master(self, floor_db: float = -50.0) -> npt.NDArray[np.float32]:
        return sound.master(self.parts, self.take.rng, floor_db=floor_db)


def _scene(
    take: Take,
    sprites: Sequence[Sprite],
    tracks: _Tracks,
    *,
    events_s: Sequence[float] = (),
    voices: Sequence[VoiceSpan] = (),
    backdrop: Backdrop | None = None,
    shaky: bool = False,
    noise_level: float = 2.0,
    floor_db: float = -50.0,
) -> Scene:
    """A scene of one shot."""
    shot = Shot(0.0, backdrop or take.room(), tuple(sprites), noise_level=noise_level)
    if shaky:
        shot = Shot(0.0, shot.backdrop, shot.sprites, handheld(take.rng), noise_level)
    return Scene((shot,), tracks.master(floor_db), tuple(events_s), tuple(voices))


def _talk(
    take: Take, speaker: int, turns_s: Sequence[tuple[float, float]] | None = None
) -> Utterance:
    turns_s = turns_s or [(0.15, take.duration_s - 0.1)]
    voice = VOICES[speaker % len(VOICES)]
    return speak(voice, take.rng, duration_s=take.duration_s, turns_s=turns_s)


def _spans(speaker: int, utterance: Utterance, *, on_screen: bool) -> list[VoiceSpan]:
    name = VOICES[speaker % len(VOICES)].name
    return [VoiceSpan(name, start, end, on_screen) for start, end in utterance.phrases_s]


def _starts(utterance: Utterance) -> tuple[float, ...]:
    return tuple(start_s for start_s, _ in utterance.phrases_s)


def _events(take: Take) -> tuple[float, ...]:
    return motion.event_times(take.rng, take.duration_s)


def _ball(take: Take, events_s: Sequence[float], **options: float) -> Sprite:
    x = options.pop("x", take.across(0.3, 0.7))
    radius = options.pop("radius", take.rng.uniform(0.21, 0.26))
    return actors.ball(take.rng, events_s, x=x, floor_y=FLOOR_Y, radius=radius, **options)


# What a build keeps: one thing sounds, and it is seen.


def bounce(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    return _scene(take, [_ball(take, events_s)], tracks, events_s=events_s)


def strike(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    hammer = actors.hammer(
        take.rng,
        events_s,
        x=take.across(0.35, 0.6),
        floor_y=FLOOR_Y,
        mirrored=bool(take.rng.integers(2)),
    )
    return _scene(take, [hammer], tracks, events_s=events_s)


def strike_beside_drifter(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    hammer = actors.hammer(take.rng, events_s, x=take.across(0.25, 0.35), floor_y=FLOOR_Y)
    other = actors.drifter(take.rng, x=take.across(0.74, 0.8), y=0.45, radius=0.17, reach=0.22)
    return _scene(take, [other, hammer], tracks, events_s=events_s)


def bounce_handheld(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    sprites = [_ball(take, events_s)]
    return _scene(
        take, sprites, tracks, events_s=events_s, shaky=True, noise_level=5.0, floor_db=-32
    )


def bounce_camouflaged(take: Take) -> Scene:
    events_s, tracks, palette = _events(take), _Tracks(take), take.palette
    tracks.hits(events_s)
    dark, bright = np.array(PALETTES[palette])
    colours = [tuple(dark * 0.7), tuple((dark + bright) / 2), tuple(bright * 1.08)]
    ball = actors.ball(
        take.rng, events_s, x=take.across(0.3, 0.7), floor_y=FLOOR_Y, radius=0.25, colours=colours
    )
    return _scene(take, [ball], tracks, events_s=events_s, backdrop=take.room(palette))


def motor(take: Take) -> Scene:
    work, tracks = motion.bursts(take.rng, take.duration_s), _Tracks(take)
    tracks.add(sound.motor(take.rng, work.level_N, base_hz=take.rng.uniform(80, 130)))
    fan = actors.fan(take.rng, work, x=take.across(0.3, 0.7), y=0.5, radius=0.33)
    return _scene(take, [fan], tracks, events_s=work.starts_s)


def vehicle(take: Take) -> Scene:
    work, tracks = motion.bursts(take.rng, take.duration_s), _Tracks(take)
    tracks.add(sound.motor(take.rng, work.level_N, base_hz=take.rng.uniform(55, 90)))
    car = actors.car(take.rng, work, x=take.across(0.3, 0.4), floor_y=FLOOR_Y)
    return _scene(take, [car], tracks, events_s=work.starts_s)


def barking(take: Take) -> Scene:
    events_s = motion.event_times(take.rng, take.duration_s, gap_s=(0.35, 0.7))
    tracks = _Tracks(take)
    bark = sound.bark(take.rng, pitch_hz=take.rng.uniform(330, 520))
    tracks.add(sound.place(bark, events_s, duration_s=take.duration_s))
    dog = actors.dog(take.rng, events_s, x=take.across(0.4, 0.6), floor_y=FLOOR_Y)
    return _scene(take, [dog], tracks, events_s=events_s)


def speaker(take: Take) -> Scene:
    who, tracks = int(take.rng.integers(4)), _Tracks(take)
    talk = _talk(take, who)
    tracks.add(talk.wav_N)
    person = actors.person(take.rng, talk.jaw, x=take.across(0.4, 0.6))
    return _scene(
        take, [person], tracks, events_s=_starts(talk), voices=_spans(who, talk, on_screen=True)
    )


def speaker_with_bystander(take: Take) -> Scene:
    who, tracks = int(take.rng.integers(4)), _Tracks(take)
    talk = _talk(take, who)
    tracks.add(talk.wav_N)
    person = actors.person(take.rng, talk.jaw, x=take.across(0.27, 0.33))
    silent = actors.person(
        take.rng, lambda _: 0.0, x=take.across(0.7, 0.75), label="bystander", sounding=False
    )
    return _scene(
        take,
        [silent, person],
        tracks,
        events_s=_starts(talk),
        voices=_spans(who, talk, on_screen=True),
    )


def violin(take: Take) -> Scene:
    rate_hz, phase = take.rng.uniform(0.4, 0.6), take.rng.uniform(0, 2 * np.pi)
    time, tracks = sound.clock(take.duration_s), _Tracks(take)
    angle = 2 * np.pi * rate_hz * time + phase
    strokes = np.floor(angle / np.pi - 0.5).astype(int)
    notes = take.rng.choice([0, 2, 4, 5, 7, 9], strokes.max() - strokes.min() + 1)
    pitch_hz = 294.0 * 2 ** (notes[strokes - strokes.min()] / 12)
    tracks.add(sound.bowed(take.rng, np.abs(np.cos(angle)) ** 0.5, pitch_hz))
    turns = np.flatnonzero(np.diff(strokes)) + 1
    player = actors.violinist(
        take.rng,
        lambda time_s: float(np.sin(2 * np.pi * rate_hz * time_s + phase)),
        x=take.across(0.4, 0.6),
    )
    events_s = [round(float(time[turn]), 3) for turn in turns]
    return _scene(take, [player], tracks, events_s=events_s)


def cuts(take: Take) -> Scene:
    """Two or more shots of about two seconds; each is kept by itself."""
    num_shots = max(2, round(take.duration_s / 2))
    edges = np.linspace(0, take.duration_s, num_shots + 1)
    edges[1:-1] += take.rng.uniform(-0.1, 0.1, num_shots - 1) * take.duration_s / num_shots
    shots, tracks, events_s = [], _Tracks(take), []
    for index, (start_s, end_s) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        hits_s = motion.event_times(take.rng, end_s - start_s, start_s=start_s)
        tracks.hits(hits_s)
        events_s += hits_s
        sprite = _ball(take, hits_s)
        if index % 2:
            sprite = actors.hammer(take.rng, hits_s, x=take.across(0.35, 0.6), floor_y=FLOOR_Y)
        palette = (index + int(take.rng.integers(2)) * 2) % len(PALETTES)
        shots.append(Shot(float(start_s), take.room(palette), (sprite,)))
    return Scene(tuple(shots), tracks.master(), tuple(events_s))


# What a build drops.


def silent(take: Take) -> Scene:
    tracks = _Tracks(take, [sound.silence(take.duration_s)])
    return _scene(take, [_ball(take, _events(take), sounding=False)], tracks, floor_db=-78)


def static_sound(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    frozen = _frozen(_ball(take, events_s, sounding=False), take.rng.uniform(0, take.duration_s))
    return _scene(take, [frozen], tracks, events_s=events_s, noise_level=0)


def voice_over_still(take: Take) -> Scene:
    who, tracks = int(take.rng.integers(4)), _Tracks(take)
    talk = _talk(take, who)
    tracks.add(talk.wav_N)
    thing = _frozen(actors.drifter(take.rng, x=take.across(0.3, 0.7), y=0.5, radius=0.28), 0.0)
    return _scene(take, [thing], tracks, voices=_spans(who, talk, on_screen=False), noise_level=0)


def voice_over_motion(take: Take) -> Scene:
    who, tracks = int(take.rng.integers(4)), _Tracks(take)
    talk = _talk(take, who)
    tracks.add(talk.wav_N)
    return _scene(take, _drifters(take), tracks, voices=_spans(who, talk, on_screen=False))


def narrated_strike(take: Take) -> Scene:
    events_s, who, tracks = _events(take), int(take.rng.integers(4)), _Tracks(take)
    talk = _talk(take, who)
    tracks.add(talk.wav_N)
    tracks.hits(events_s, -3)
    hammer = actors.hammer(take.rng, events_s, x=take.across(0.35, 0.6), floor_y=FLOOR_Y)
    return _scene(
        take, [hammer], tracks, events_s=events_s, voices=_spans(who, talk, on_screen=False)
    )


def music_over(take: Take) -> Scene:
    tracks = _Tracks(take)
    tracks.add(sound.music(take.rng, take.duration_s))
    return _scene(take, _drifters(take), tracks)


def music_over_strike(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.add(sound.music(take.rng, take.duration_s))
    tracks.hits(events_s, -8)
    hammer = actors.hammer(take.rng, events_s, x=take.across(0.35, 0.6), floor_y=FLOOR_Y)
    return _scene(take, [hammer], tracks, events_s=events_s)


def backing_track(take: Take) -> Scene:
    """A violinist plays over a band that nobody sees."""
    scene_tracks = _Tracks(take)
    solo = violin(take)
    scene_tracks.add(sound.music(take.rng, take.duration_s), -2)
    scene_tracks.add(solo.wav_CN[0], -6)
    return Scene(solo.shots, scene_tracks.master(), solo.events_s)


def two_sources(take: Take) -> Scene:
    one_s, other_s, tracks = _events(take), _events(take), _Tracks(take)
    tracks.hits(one_s)
    tracks.hits(other_s)
    sprites = [
        _ball(take, one_s, x=take.across(0.2, 0.27)),
        actors.hammer(take.rng, other_s, x=take.across(0.72, 0.78), floor_y=FLOOR_Y, mirrored=True),
    ]
    return _scene(take, sprites, tracks, events_s=sorted(one_s + other_s))


def dialogue(take: Take) -> Scene:
    half_s = take.duration_s * take.rng.uniform(0.45, 0.55)
    turns_s = [[(0.1, half_s)], [(half_s + 0.15, take.duration_s - 0.05)]]
    return _two_people(take, turns_s)


def overlap(take: Take) -> Scene:
    whole_s = [(0.12, take.duration_s - 0.1)]
    return _two_people(take, [whole_s, whole_s])


def ambience(take: Take) -> Scene:
    tracks = _Tracks(take)
    tracks.add(sound.water(take.rng, take.duration_s))
    return _scene(take, [], tracks, backdrop=stream(take.rng, take.size), floor_db=-45)


def pack(take: Take) -> Scene:
    tracks, sprites, all_s = _Tracks(take), [], list[float]()
    colours = actors.paint(take.rng)
    for place in np.linspace(0.08, 0.92, 8):
        events_s = motion.event_times(take.rng, take.duration_s, gap_s=(0.3, 0.6))
        bark = sound.bark(take.rng, pitch_hz=take.rng.uniform(380, 620))
        tracks.add(sound.place(bark, events_s, duration_s=take.duration_s))
        sprites.append(
            actors.ball(
                take.rng,
                events_s,
                x=place * take.aspect,
                colours=colours,
                drift=0.03,
                floor_y=float(take.rng.uniform(0.7, 0.95)),
                radius=float(take.rng.uniform(0.1, 0.14)),
            )
        )
        all_s += events_s
    return _scene(take, sprites, tracks, events_s=sorted(all_s))


def miming(take: Take) -> Scene:
    """A mouth moves while somebody else's music plays, singer included."""
    who, tracks = int(take.rng.integers(4)), _Tracks(take)
    heard, mimed = _talk(take, who), _talk(take, who + 1)
    tracks.add(sound.music(take.rng, take.duration_s))
    tracks.add(heard.wav_N, -2)
    person = actors.person(take.rng, mimed.jaw, x=take.across(0.4, 0.6), sounding=False)
    return _scene(take, [person], tracks, voices=_spans(who, heard, on_screen=False))


def late_sound(take: Take) -> Scene:
    seen_s, tracks = _events(take), _Tracks(take)
    late_s = float(take.rng.uniform(0.17, 0.23))
    heard_s = tuple(round(time_s + late_s, 3) for time_s in seen_s)
    tracks.hits(heard_s)
    return _scene(take, [_ball(take, seen_s)], tracks, events_s=heard_s)


def tiny(take: Take) -> Scene:
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    return _scene(take, [_ball(take, events_s, radius=0.035)], tracks, events_s=events_s)


def leaving(take: Take) -> Scene:
    """The ball has left the picture by half time and is heard on."""
    events_s, tracks = _events(take), _Tracks(take)
    tracks.hits(events_s)
    ball = _ball(take, events_s, x=0.75 * take.aspect)
    speed = 0.6 * take.aspect / (0.5 * take.duration_s)

    def motion_out(time_s: float) -> actors.Pose:
        pose = ball.motion(time_s)
        return actors.Pose(pose.x + speed * time_s, pose.y, pose.width, pose.height)

    gone = Sprite(ball.label, ball.layers, motion_out, sounding=True)
    return _scene(take, [gone], tracks, events_s=events_s)


def sync_ruler(take: Take) -> Scene:
    """A lamp that flashes with a beep, once each second."""
    flash_s = 0.1
    flashes_s = tuple(np.arange(0.5, take.duration_s - flash_s, 1.0).tolist())
    tracks = _Tracks(take)
    tracks.add(sound.place(sound.beep(flash_s), flashes_s, duration_s=take.duration_s))
    lamp = actors.lamp(flashes_s, x=take.aspect / 2, y=0.5, flash_s=flash_s)
    return Scene(
        (Shot(0.0, take.room(), (lamp,), noise_level=0),),
        sound.master(tracks.parts, take.rng, floor_db=-90, wet_db=-90),
        flashes_s,
    )


def _two_people(take: Take, turns_s: Sequence[Sequence[tuple[float, float]]]) -> Scene:
    first, tracks = int(take.rng.integers(4)), _Tracks(take)
    sprites, voices = [], []
    for index, place in enumerate((0.28, 0.72)):
        talk = _talk(take, first + index, turns_s[index])
        tracks.add(talk.wav_N)
        sprites.append(actors.person(take.rng, talk.jaw, x=place * take.aspect))
        voices += _spans(first + index, talk, on_screen=True)
    events_s = sorted(voice.start_s for voice in voices)
    return _scene(take, sprites, tracks, events_s=events_s, voices=voices)


def _drifters(take: Take) -> list[Sprite]:
    return [
        actors.drifter(take.rng, x=place * take.aspect, y=0.5, radius=take.rng.uniform(0.17, 0.25))
        for place in (0.3, 0.68)
    ]


def _frozen(sprite: Sprite, time_s: float) -> Sprite:
    """A sprite held as it is at one time."""
    pose = sprite.motion(time_s)
    layers = tuple(
        actors.Layer(actors.still(layer.outline(time_s)), layer.texture, layer.reach)
        for layer in sprite.layers
    )
    return Sprite(sprite.label, layers, lambda _: pose, sprite.sounding)


_UNSEEN = (Why.NO_VISIBLE_SOURCE, Why.OUT_OF_SYNC, Why.NO_INSTANCE)
_NTSC = Fraction(30_000, 1_001)

_ALL = (
    Kind("bounce", "keep", "A ball sounds at each touch of the floor.", bounce),
    Kind("strike", "keep", "A hammer strikes at irregular times.", strike),
    Kind("strike_beside_drifter", "keep", "A hammer strikes; a balloon drifts in silence.",
         strike_beside_drifter),
    Kind("bounce_handheld", "keep", "A ball, a shaky camera, much noise.", bounce_handheld),
    Kind("bounce_camouflaged", "keep", "A ball in the colours of the wall.", bounce_camouflaged),
    Kind("bounce_vfr", "keep", "A ball; frames come at irregular times.", bounce, vfr=True),
    Kind("strike_rotated", "keep", "A hammer; the picture is stored on its side.", strike,
         rotation_deg=90),
    Kind("strike_ntsc", "keep", "A hammer at 29.97 frames per second, in mono.", strike,
         fps=_NTSC, mono=True),
    Kind("motor", "keep", "A fan hums as fast as it turns.", motor),
    Kind("vehicle", "keep", "A car drives to and fro, loud as it is fast.", vehicle),
    Kind("barking", "keep", "A dog barks.", barking),
    Kind("speaker", "keep", "A person talks.", speaker),
    Kind("speaker_with_bystander", "keep", "A person talks beside a silent one.",
         speaker_with_bystander),
    Kind("violin", "keep", "A violinist bows slowly.", violin),
    Kind("cuts", "keep", "Shots of about two seconds, each with one thing that strikes.", cuts),
    Kind("silent", "drop", "A ball without any sound.", silent, (Why.SILENT,)),
    Kind("static_sound", "drop", "Impacts over a still picture.", static_sound,
         (Why.STATIC_PICTURE, *_UNSEEN)),
    Kind("voice_over_still", "drop", "A voice over a still picture.", voice_over_still,
         (Why.STATIC_PICTURE, *_UNSEEN)),
    Kind("voice_over_motion", "drop", "A voice over things that drift.", voice_over_motion,
         _UNSEEN),
    Kind("narrated_strike", "drop", "A hammer strikes while an unseen voice talks.",
         narrated_strike, (Why.SEVERAL_SOURCES, *_UNSEEN)),
    Kind("music_over", "drop", "Music over things that drift.", music_over,
         (Why.MUSIC_OVER_PICTURE, *_UNSEEN)),
    Kind("music_over_strike", "drop", "Music laid over a hammer's strokes.", music_over_strike,
         (Why.MUSIC_OVER_PICTURE, Why.SEVERAL_SOURCES, *_UNSEEN)),
    Kind("backing_track", "drop", "A violinist plays over an unseen band.", backing_track,
         (Why.MUSIC_OVER_PICTURE, Why.SEVERAL_SOURCES, *_UNSEEN)),
    Kind("two_sources", "drop", "A ball and a hammer, each with its own sound.", two_sources,
         (Why.SEVERAL_SOURCES, Why.SEVERAL_INSTANCES, *_UNSEEN)),
    Kind("dialogue", "drop", "Two people talk in turn.", dialogue,
         (Why.SEVERAL_SPEAKERS, Why.SEVERAL_INSTANCES, Why.SEVERAL_SOURCES)),
    Kind("overlap", "drop", "Two people talk at once.", overlap,
         (Why.OVERLAPPED_SPEECH, Why.SEVERAL_SPEAKERS, Why.SEVERAL_INSTANCES,
          Why.SEVERAL_SOURCES)),
    Kind("ambience", "drop", "A stream: sound everywhere, no one thing.", ambience, _UNSEEN),
    Kind("pack", "drop", "Many alike bark at once.", pack,
         (Why.SEVERAL_SOURCES, Why.SEVERAL_INSTANCES, *_UNSEEN)),
    Kind("miming", "drop", "A mouth moves to somebody else's song.", miming,
         (Why.OUT_OF_SYNC, Why.MUSIC_OVER_PICTURE, Why.NO_VISIBLE_SOURCE, Why.NO_INSTANCE)),
    Kind("late_sound", "drop", "A ball whose sound comes about 0.2 s late.", late_sound,
         (Why.OUT_OF_SYNC, Why.NO_VISIBLE_SOURCE, Why.NO_INSTANCE)),
    Kind("tiny", "drop", "A ball too small for a mask.", tiny,
         (Why.INSTANCE_TOO_SMALL, *_UNSEEN)),
    Kind("leaving", "drop", "A ball leaves the picture and is heard on.", leaving,
         (Why.INSTANCE_NOT_PERSISTENT, *_UNSEEN)),
    Kind("sync_ruler", "either", "A lamp flashes with a beep: measures sync.", sync_ruler),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}

DEFAULT_KINDS = (
    "bounce", "speaker", "motor", "strike_beside_drifter", "barking", "cuts",
    "voice_over_still", "music_over", "silent", "dialogue", "voice_over_motion", "two_sources",
)  # fmt: skip
"""Half to keep and half to drop: what a demonstration shows."""
