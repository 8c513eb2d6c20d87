"""Scenes to drop: several things sound, or none, or none that is seen."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.procedural.sound import quieter
from avipipe.audio_agent.procedural.voice import VOICES
from avipipe.synth import actors, motion
from avipipe.synth.backdrops import arcade, meadow, rainfall, stream
from avipipe.synth.keeps import violin
from avipipe.synth.picture import Colour, Pose, Sprite
from avipipe.synth.takes import (
    FLOOR_Y,
    SceneParameters,
    SyntheticScene,
    any_ball,
    any_events,
    any_hammer,
    any_speaker,
    frozen,
    impacts,
    one_shot,
    starts_of,
    talk,
    two_drifters,
    voices_of,
)
from avipipe.synth.truth import VoiceSpan


def silent(take: SceneParameters) -> SyntheticScene:
    ball = any_ball(take, any_events(take), sounding=False)
    return one_shot(take, [ball], [sound.silence(take.duration_s)], floor_db=-78)


def static_sound(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    ball = frozen(any_ball(take, events_s), take.rng.uniform(0, take.duration_s))
    return one_shot(take, [ball], [impacts(take, events_s)], events_s=events_s, noise_level=0)


def voice_over_still(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    star = frozen(actors.drifter(take.rng, x=take.across(0.3, 0.7), y=0.5, radius=0.28))
    voices = voices_of(said, on_screen=False)
    return one_shot(take, [star], [said.wav_N], voices=voices, noise_level=0)


def voice_over_motion(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    voices = voices_of(said, on_screen=False)
    return one_shot(take, two_drifters(take), [said.wav_N], voices=voices)


def listener(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    person = actors.bystander(take.rng, x=take.across(0.4, 0.6))
    return one_shot(take, [person], [said.wav_N], voices=voices_of(said, on_screen=False))


def narrated_strike(take: SceneParameters) -> SyntheticScene:
    events_s, said = any_events(take), talk(take, any_speaker(take))
    return one_shot(
        take,
        [any_hammer(take, events_s)],
        [said.wav_N, quieter(impacts(take, events_s), 3)],
        events_s=events_s,
        voices=voices_of(said, on_screen=False),
    )


def music_over(take: SceneParameters) -> SyntheticScene:
    return one_shot(take, two_drifters(take), [sound.music(take.rng, take.duration_s)])


def music_over_strike(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    sounds = [sound.music(take.rng, take.duration_s), quieter(impacts(take, events_s), 8)]
    return one_shot(take, [any_hammer(take, events_s)], sounds, events_s=events_s)


def music_over_speaker(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    person = actors.person(take.rng, said.jaw, x=take.across(0.4, 0.6))
    return one_shot(
        take,
        [person],
        [said.wav_N, quieter(sound.music(take.rng, take.duration_s), 7)],
        events_s=starts_of(said),
        voices=voices_of(said, on_screen=True),
    )


def backing_track(take: SceneParameters) -> SyntheticScene:
    solo = violin(take)
    band = quieter(sound.music(take.rng, take.duration_s), 2)
    mix_CN = sound.master([band, quieter(solo.wav_CN[0], 6)], take.rng, floor_db=-50)
    return replace(solo, wav_CN=mix_CN)


def two_sources(take: SceneParameters) -> SyntheticScene:
    left_s, right_s = any_events(take), any_events(take)
    sprites = [
        any_ball(take, left_s, x=take.across(0.2, 0.27)),
        actors.hammer(take.rng, right_s, x=take.across(0.75, 0.8), floor_y=FLOOR_Y, mirrored=True),
    ]
    sounds = [impacts(take, left_s), impacts(take, right_s)]
    return one_shot(take, sprites, sounds, events_s=sorted(left_s + right_s))


def dialogue(take: SceneParameters) -> SyntheticScene:
    half_s = take.duration_s * take.rng.uniform(0.45, 0.55)
    return _two_people(take, (0.1, half_s), (half_s + 0.15, take.duration_s - 0.05))


def overlap(take: SceneParameters) -> SyntheticScene:
    whole_s = (0.12, take.duration_s - 0.1)
    return _two_people(take, whole_s, whole_s)


def ambience(take: SceneParameters) -> SyntheticScene:
    water = sound.water(take.rng, take.duration_s)
    return one_shot(take, [], [water], backdrop=stream(take.rng, take.size), floor_db=-45)


def wind(take: SceneParameters) -> SyntheticScene:
    gust_K = take.rng.uniform(0.05, 1.0, round(take.duration_s / 0.7) + 2)

    def gust(time_s: float) -> float:
        return float(np.interp(time_s / 0.7, np.arange(gust_K.size), gust_K))

    gust_N = np.interp(sound.clock(take.duration_s) / 0.7, np.arange(gust_K.size), gust_K)
    grass = meadow(take.rng, take.size, gust)
    return one_shot(take, [], [sound.wind(take.rng, gust_N)], backdrop=grass, floor_db=-45)


def rain(take: SceneParameters) -> SyntheticScene:
    drops = sound.rain(take.rng, take.duration_s)
    return one_shot(take, [], [drops], backdrop=rainfall(take.rng, take.room()), floor_db=-45)


def crowd(take: SceneParameters) -> SyntheticScene:
    """Three rows of people who all talk at once, each with a voice of their own."""
    people, waves, voices = [], [], list[VoiceSpan]()
    for number, (row, place) in enumerate(itertools.product(range(3), np.linspace(0.1, 0.9, 5))):
        voice, turned = VOICES[number % len(VOICES)], take.rng.uniform(0.85, 1.2)
        said = talk(take, replace(voice, name=f"{number}", pitch_hz=turned * voice.pitch_hz))
        x, y = take.across(place - 0.02, place + 0.02), 0.2 + 0.27 * row
        people.append(actors.person(take.rng, said.jaw, x=x, y=y, size=0.1))
        waves.append(said.wav_N)
        voices += voices_of(said, on_screen=True)
    return one_shot(take, people, waves, voices=voices)


def face_cam(take: SceneParameters) -> SyntheticScene:
    """A game with its music and its blows, and in a corner the one who plays and talks."""
    said, blows_s = talk(take, any_speaker(take)), any_events(take)
    game = [sound.music(take.rng, take.duration_s), impacts(take, blows_s)]
    x = 0.87 * take.aspect
    corner = actors.panel(take.rng, x=x, y=0.8, size=0.2)
    player = actors.person(take.rng, said.jaw, x=x, y=0.79, size=0.1)
    return one_shot(
        take,
        [*two_drifters(take), corner, player],
        [said.wav_N, *(quieter(wave, 6) for wave in game)],
        events_s=blows_s,
        voices=voices_of(said, on_screen=True),
        backdrop=arcade(take.rng, take.size),
    )


def narrated_ape(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    munch = motion.pulses(any_events(take), decay_s=0.15)
    ape = actors.ape(take.rng, munch, x=take.across(0.4, 0.6))
    return one_shot(take, [ape], [said.wav_N], voices=voices_of(said, on_screen=False))


def dubbed(take: SceneParameters) -> SyntheticScene:
    """The mouth says something else than is heard, and began earlier."""
    heard, early_s = talk(take, any_speaker(take)), take.rng.uniform(1, 2)
    mimed = talk(replace(take, duration_s=take.duration_s + early_s), any_speaker(take))
    person = actors.person(
        take.rng,
        lambda time_s: mimed.jaw(time_s + early_s),
        x=take.across(0.4, 0.6),
        sounding=False,
    )
    return one_shot(take, [person], [heard.wav_N], voices=voices_of(heard, on_screen=False))


def pack(take: SceneParameters) -> SyntheticScene:
    sprites, sounds, events_s = [], [], list[float]()
    colours = actors.paint(take.rng)
    for place in np.linspace(0.08, 0.92, 8):
        own_s = any_events(take, gap_s=(0.3, 0.6))
        bark = sound.bark(take.rng, pitch_hz=take.rng.uniform(300, 650))
        sounds.append(sound.place(bark, own_s, duration_s=take.duration_s))
        sprites.append(_one_of_many(take, own_s, place * take.aspect, colours))
        events_s += own_s
    return one_shot(take, sprites, sounds, events_s=sorted(events_s))


def miming(take: SceneParameters) -> SyntheticScene:
    """The singer who is heard is not the one who is seen."""
    who = any_speaker(take)
    heard, mimed = talk(take, who), talk(take, who + 1)
    person = actors.person(take.rng, mimed.jaw, x=take.across(0.4, 0.6), sounding=False)
    sounds = [sound.music(take.rng, take.duration_s), quieter(heard.wav_N, 2)]
    return one_shot(take, [person], sounds, voices=voices_of(heard, on_screen=False))


def late_sound(take: SceneParameters) -> SyntheticScene:
    seen_s = any_events(take)
    late_s = take.rng.uniform(0.17, 0.23)
    heard_s = [round(time_s + late_s, 3) for time_s in seen_s]
    return one_shot(take, [any_ball(take, seen_s)], [impacts(take, heard_s)], events_s=heard_s)


def tiny(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    ball = any_ball(take, events_s, radius=0.035)
    return one_shot(take, [ball], [impacts(take, events_s)], events_s=events_s)


def huge(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    ball = actors.ball(take.rng, events_s, x=take.aspect / 2, floor_y=1.65, radius=1.05, drift=0.03)
    return one_shot(take, [ball], [impacts(take, events_s)], events_s=events_s)


def leaving(take: SceneParameters) -> SyntheticScene:
    """The ball has left the picture by half time, and is heard on."""
    events_s = any_events(take)
    ball = any_ball(take, events_s, x=0.7 * take.aspect)
    speed = take.aspect / take.duration_s

    def outwards(time_s: float) -> Pose:
        pose = ball.motion(time_s)
        return replace(pose, x=pose.x + speed * time_s)

    gone = replace(ball, motion=outwards)
    return one_shot(take, [gone], [impacts(take, events_s)], events_s=events_s)


def _two_people(
    take: SceneParameters, left_s: tuple[float, float], right_s: tuple[float, float]
) -> SyntheticScene:
    who = any_speaker(take)
    left, right = talk(take, who, [left_s]), talk(take, who + 1, [right_s])
    people = [
        actors.person(take.rng, said.jaw, x=place * take.aspect)
        for said, place in ((left, 0.28), (right, 0.72))
    ]
    voices = [voice for said in (left, right) for voice in voices_of(said, on_screen=True)]
    events_s = sorted(voice.start_s for voice in voices)
    return one_shot(take, people, [left.wav_N, right.wav_N], events_s=events_s, voices=voices)


def _one_of_many(
    take: SceneParameters, events_s: Sequence[float], x: float, colours: Sequence[Colour]
) -> Sprite:
    return actors.ball(
        take.rng,
        events_s,
        x=x,
        floor_y=float(take.rng.uniform(0.7, 0.95)),
        radius=float(take.rng.uniform(0.1, 0.14)),
        colours=colours,
        drift=0.03,
    )
