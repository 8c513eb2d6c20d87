"""Scenes that somebody has edited, or whose camera travels: bars, logos, pictures in pictures."""

from dataclasses import replace

import numpy as np

from avipipe.audio_agent.procedural import sound
from avipipe.synth import actors, keeps, motion
from avipipe.synth.backdrops import beside, inset, journey, zoomed
from avipipe.synth.overlays import bars, frame, lettering, line
from avipipe.synth.picture import Path2D, Sprite
from avipipe.synth.takes import (
    FLOOR_Y,
    SceneParameters,
    SyntheticScene,
    any_events,
    any_hammer,
    any_speaker,
    impacts,
    one_shot,
    starts_of,
    talk,
    two_drifters,
    voices_of,
)


def letterboxed(take: SceneParameters) -> SyntheticScene:
    return _laid_over(keeps.bounce(take), bars(take.aspect, height=0.12))


def logo_over(take: SceneParameters) -> SyntheticScene:
    logo = lettering("ZVA", x=take.aspect - 0.42, y=0.07, height=0.11, label="logo")
    return _laid_over(vehicle_followed(take), logo)


def captioned(take: SceneParameters) -> SyntheticScene:
    """A person walks and talks."""
    said = talk(take, any_speaker(take))
    person = actors.person(take.rng, said.jaw, x=take.across(0.4, 0.6))
    scene = one_shot(
        take,
        [person],
        [said.wav_N],
        events_s=starts_of(said),
        voices=voices_of(said, on_screen=True),
        backdrop=journey(take.rng, take.size, _walk(take, 0.3)),
    )
    words = lettering("AN VAN NAZ AVZ", x=0.32, y=0.83, height=0.09, label="caption")
    return _laid_over(scene, words)


def vehicle_followed(take: SceneParameters) -> SyntheticScene:
    """A car, and a camera that goes along with it."""
    work = motion.bursts(take.rng, take.duration_s)
    hum = sound.motor(take.rng, work.level_N, base_hz=take.rng.uniform(40, 55))
    car = actors.car(take.rng, work, x=take.across(0.3, 0.4), floor_y=FLOOR_Y)

    def beside_it(time_s: float) -> tuple[float, float]:
        return 0.6 * work.turned(time_s) + 0.1 * time_s, 0.0

    backdrop = journey(take.rng, take.size, beside_it)
    return one_shot(take, [car], [hum], events_s=work.starts_s, backdrop=backdrop)


def carried(take: SceneParameters) -> SyntheticScene:
    """What is seen from a vehicle, whose engine is heard."""
    work = motion.bursts(take.rng, take.duration_s)
    hum = sound.motor(take.rng, work.level_N, base_hz=take.rng.uniform(40, 55))

    def ahead(time_s: float) -> tuple[float, float]:
        turned_s = work.turned(time_s)
        return 0.5 * turned_s + 0.1 * time_s, 0.008 * float(np.sin(50 * turned_s))

    backdrop = journey(take.rng, take.size, ahead)
    return one_shot(take, [], [hum], events_s=work.starts_s, backdrop=backdrop)


def zoomed_still(take: SceneParameters) -> SyntheticScene:
    """Blows laid under a picture that is zoomed into."""
    events_s = any_events(take)
    whole = one_shot(take, two_drifters(take), [impacts(take, events_s)], noise_level=0)
    picture = whole.shots[0].draw(0.0, take.size)
    backdrop = zoomed(picture, rate=0.1)
    return one_shot(take, [], [impacts(take, events_s)], events_s=events_s, backdrop=backdrop)


def split_screen(take: SceneParameters) -> SyntheticScene:
    """Two people talk in turn, each filmed by a camera of his own."""
    half_s, who = take.duration_s / 2, any_speaker(take)
    said = [
        talk(take, who, [(0.1, half_s)]),
        talk(take, who + 1, [(half_s + 0.15, take.duration_s - 0.05)]),
    ]
    people = [
        actors.person(take.rng, each.jaw, x=place * take.aspect)
        for each, place in zip(said, (0.25, 0.75), strict=True)
    ]
    half = take.size[0], take.size[1] // 2
    rooms = [journey(take.rng, half, _walk(take, speed)) for speed in (0.12, -0.15)]
    scene = one_shot(
        take,
        people,
        [each.wav_N for each in said],
        events_s=sorted(time_s for each in said for time_s in starts_of(each)),
        voices=[voice for each in said for voice in voices_of(each, on_screen=True)],
        backdrop=beside(*rooms),
    )
    return _laid_over(scene, line(take.aspect, x=take.aspect / 2, width=0.012))


def picture_in_picture(take: SceneParameters) -> SyntheticScene:
    """A hammer strikes; in a corner runs another film, whose sound is heard, too."""
    events_s, others_s = any_events(take), any_events(take)
    small = take.size[0] // 3, take.size[1] // 3
    film = journey(take.rng, small, _walk(take, -0.2))
    room = journey(take.rng, take.size, _walk(take, 0.1))
    scene = one_shot(
        take,
        [any_hammer(take, events_s)],
        [impacts(take, events_s), impacts(take, others_s)],
        events_s=sorted(events_s + others_s),
        backdrop=inset(room, film, top=0.06, left=0.62),
    )
    left, third = 0.62 * take.aspect, 1 / 3
    edge = frame(
        left=left, top=0.06, right=left + third * take.aspect, bottom=0.06 + third, width=0.012
    )
    return _laid_over(scene, edge)


def _laid_over(scene: SyntheticScene, *overlays: Sprite) -> SyntheticScene:
    shots = tuple(replace(shot, overlays=overlays) for shot in scene.shots)
    return replace(scene, shots=shots)


def _walk(take: SceneParameters, speed: float) -> Path2D:
    """A camera that goes on at a speed in heights/s, and up and down a little."""
    sway = motion.wander(take.rng, reach=0.02)

    def at(time_s: float) -> tuple[float, float]:
        x, y = sway(time_s)
        return speed * time_s + x, 0.5 * abs(speed) * time_s + y

    return at
