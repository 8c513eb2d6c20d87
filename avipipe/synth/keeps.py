"""Scenes to keep: one thing sounds, and it is seen."""

import itertools

import numpy as np

from avipipe.audio_agent.procedural import sound
from avipipe.synth import actors, motion
from avipipe.synth.backdrops import PALETTES
from avipipe.synth.picture import Shot
from avipipe.synth.takes import (
    FLOOR_Y,
    SceneParameters,
    SyntheticScene,
    any_ball,
    any_events,
    any_hammer,
    any_speaker,
    impacts,
    one_shot,
    starts_of,
    talk,
    voices_of,
)


def bounce(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    ball = any_ball(take, events_s)
    return one_shot(take, [ball], [impacts(take, events_s)], events_s=events_s)


def bounce_handheld(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    ball = any_ball(take, events_s)
    return one_shot(
        take,
        [ball],
        [impacts(take, events_s)],
        events_s=events_s,
        shaky=True,
        noise_level=5.0,
        floor_db=-32,
    )


def bounce_camouflaged(take: SceneParameters) -> SyntheticScene:
    events_s, palette = any_events(take), take.any_palette()
    dark, bright = np.array(PALETTES[palette])
    colours = [0.7 * dark, (dark + bright) / 2, 1.08 * bright]
    ball = actors.ball(
        take.rng,
        events_s,
        x=take.across(0.3, 0.7),
        floor_y=FLOOR_Y,
        radius=0.26,
        colours=[(red, green, blue) for red, green, blue in colours],
    )
    return one_shot(
        take,
        [ball],
        [impacts(take, events_s)],
        events_s=events_s,
        backdrop=take.room(palette),
    )


def strike(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    hammer = any_hammer(take, events_s)
    return one_shot(take, [hammer], [impacts(take, events_s)], events_s=events_s)


def strike_beside_drifter(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take)
    hammer = actors.hammer(take.rng, events_s, x=take.across(0.25, 0.35), floor_y=FLOOR_Y)
    other = actors.drifter(take.rng, x=take.across(0.74, 0.8), y=0.45, radius=0.17, reach=0.22)
    return one_shot(take, [other, hammer], [impacts(take, events_s)], events_s=events_s)


def motor(take: SceneParameters) -> SyntheticScene:
    work = motion.bursts(take.rng, take.duration_s)
    hum = sound.motor(take.rng, work.level_N, base_hz=take.rng.uniform(45, 75))
    fan = actors.fan(take.rng, work, x=take.across(0.3, 0.7), y=0.5, radius=0.33)
    return one_shot(take, [fan], [hum], events_s=work.starts_s)


def vehicle(take: SceneParameters) -> SyntheticScene:
    work = motion.bursts(take.rng, take.duration_s)
    hum = sound.motor(take.rng, work.level_N, base_hz=take.rng.uniform(40, 55))
    car = actors.car(take.rng, work, x=take.across(0.3, 0.4), floor_y=FLOOR_Y)
    return one_shot(take, [car], [hum], events_s=work.starts_s)


def barking(take: SceneParameters) -> SyntheticScene:
    events_s = any_events(take, gap_s=(0.35, 0.7))
    bark = sound.bark(take.rng, pitch_hz=take.rng.uniform(300, 600))
    barks = sound.place(bark, events_s, duration_s=take.duration_s)
    dog = actors.dog(take.rng, events_s, x=take.across(0.4, 0.6), floor_y=FLOOR_Y)
    return one_shot(take, [dog], [barks], events_s=events_s)


def speaker(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    person = actors.person(take.rng, said.jaw, x=take.across(0.4, 0.6))
    voices = voices_of(said, on_screen=True)
    return one_shot(take, [person], [said.wav_N], events_s=starts_of(said), voices=voices)


def speaker_with_bystander(take: SceneParameters) -> SyntheticScene:
    said = talk(take, any_speaker(take))
    person = actors.person(take.rng, said.jaw, x=take.across(0.27, 0.32))
    silent = actors.bystander(take.rng, x=take.across(0.71, 0.75))
    voices = voices_of(said, on_screen=True)
    return one_shot(take, [silent, person], [said.wav_N], events_s=starts_of(said), voices=voices)


def violin(take: SceneParameters, root_hz: float = 196.0) -> SyntheticScene:
    """A note for each stroke of the bow, loud as the bow is fast."""
    rate_hz, phase = take.rng.uniform(0.4, 0.6), take.rng.uniform(0, 2 * np.pi)
    time = sound.clock(take.duration_s)
    angle = 2 * np.pi * rate_hz * time + phase
    strokes = np.floor(angle / np.pi - 0.5).astype(int)
    strokes -= strokes.min()
    notes = take.rng.choice([0, 2, 4, 5, 7, 9], strokes.max() + 1)
    tone = sound.bowed(take.rng, np.abs(np.cos(angle)) ** 0.4, root_hz * 2 ** (notes[strokes] / 12))
    player = actors.violinist(
        take.rng,
        lambda time_s: float(np.sin(2 * np.pi * rate_hz * time_s + phase)),
        x=take.across(0.4, 0.6),
    )
    turns = np.flatnonzero(np.diff(strokes)) + 1
    events_s = [round(float(time[turn]), 3) for turn in turns]
    return one_shot(take, [player], [tone], events_s=events_s)


def violin_high(take: SceneParameters) -> SyntheticScene:
    return violin(take, root_hz=440.0)


def cuts(take: SceneParameters) -> SyntheticScene:
    """Two or more shots of about two seconds; each is kept by itself."""
    num_shots = max(2, round(take.duration_s / 2))
    edges_s = np.linspace(0, take.duration_s, num_shots + 1)
    edges_s[1:-1] += take.rng.uniform(-0.1, 0.1, num_shots - 1) * take.duration_s / num_shots
    first_palette = take.any_palette()
    shots, sounds, events_s = [], [], list[float]()
    for index, (start_s, end_s) in enumerate(itertools.pairwise(edges_s.tolist())):
        hits_s = motion.event_times(take.rng, end_s - start_s, start_s=start_s)
        sprite = (any_ball, any_hammer)[index % 2](take, hits_s)
        backdrop = take.room((first_palette + index) % len(PALETTES))
        shots.append(Shot(start_s, backdrop, (sprite,)))
        sounds.append(impacts(take, hits_s))
        events_s += hits_s
    wav_CN = sound.master(sounds, take.rng, floor_db=-50)
    return SyntheticScene(tuple(shots), wav_CN, tuple(events_s))


def sync_ruler(take: SceneParameters) -> SyntheticScene:
    """A lamp that flashes with a beep, once each second."""
    flash_s = 0.1
    flashes_s = np.arange(0.5, take.duration_s - flash_s, 1.0).tolist()
    beeps = sound.place(sound.beep(flash_s), flashes_s, duration_s=take.duration_s)
    lamp = actors.lamp(flashes_s, x=take.aspect / 2, y=0.5, flash_s=flash_s)
    shot = Shot(0.0, take.room(), (lamp,), noise_level=0)
    wav_CN = sound.master([beeps], take.rng, floor_db=-90, wet_db=-90)
    return SyntheticScene((shot,), wav_CN, tuple(flashes_s))
