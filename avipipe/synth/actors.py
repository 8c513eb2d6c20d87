"""The cast: things that bounce, strike, turn, drive, talk, bark, play, or only wander about."""

import colorsys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avipipe.synth.heads import DARK, FUR, SKINS, WHITE, ape_head, head
from avipipe.synth.motion import Activity, Track, hop, pulses, swing, wander
from avipipe.synth.picture import (
    Colour,
    Layer,
    Points,
    Pose,
    Sprite,
    blob,
    ellipse,
    skin,
    still,
)

Colours = Sequence[Colour]


def paint(rng: np.random.Generator) -> Colours:
    """Three shades of one random strong colour."""
    hue, saturation = rng.uniform(), rng.uniform(0.45, 0.8)
    return tuple(
        tuple(255 * part for part in colorsys.hsv_to_rgb(hue + turn, saturation, value))  # type: ignore[misc]
        for turn, value in ((-0.04, 0.35), (0.0, 0.65), (0.05, 0.95))
    )


def ball(
    rng: np.random.Generator,
    events_s: Sequence[float],
    *,
    x: float,
    floor_y: float,
    radius: float = 0.24,
    colours: Colours | None = None,
    sounding: bool = True,
    drift: float = 0.1,
) -> Sprite:
    """A lumpy ball that touches the floor at each event, squashed as it does."""
    height_at, squash_at = hop(events_s), pulses(events_s, decay_s=0.06)
    outline = blob(rng, lobes=int(rng.integers(5, 8)), depth=rng.uniform(0.08, 0.16), wobble=0.02)
    spin, phase = rng.uniform(-2.5, 2.5), rng.uniform(0, 6)

    def motion(time_s: float) -> Pose:
        height = height_at(time_s)
        squash = 0.22 * squash_at(time_s) * (height < 0.05)
        tall = radius * (1 - squash)
        sway = drift * np.sin(1.1 * time_s + phase)
        # The turn would move the squash axis, so the ball turns only through its own outline.
        return Pose(x + sway, floor_y - tall - height, radius * (1 + 0.7 * squash), tall)

    def turned(time_s: float) -> Points:
        return outline(time_s) @ _turn(spin * time_s)

    def spot(time_s: float) -> Points:
        return ellipse(0.25, -0.2, 0.28, 0.2) @ _turn(spin * time_s)

    body = Layer(turned, skin(rng, colours or paint(rng)))
    layers = (body, Layer(spot, skin(rng, colours or paint(rng))))
    return Sprite("ball", layers, motion, sounding)


def hammer(
    rng: np.random.Generator,
    events_s: Sequence[float],
    *,
    x: float,
    floor_y: float,
    size: float = 0.3,
    colours: Colours | None = None,
    sounding: bool = True,
    mirrored: bool = False,
) -> Sprite:
    """An arm with a knobbed head that comes down on the floor at each event."""
    angle_at = swing(events_s, raised_rad=-rng.uniform(0.8, 1.05))
    knob = blob(rng, lobes=6, depth=0.14, wobble=0.0)
    side = -1 if mirrored else 1

    def motion(time_s: float) -> Pose:
        return Pose(
            x - 0.8 * side * size, floor_y - 0.72 * size, side * size, size, side * angle_at(time_s)
        )

    def head(time_s: float) -> Points:
        return np.asarray(knob(time_s) * 0.78 + [1.65, 0.0])

    arm = still([(-0.3, -0.16), (1.4, -0.22), (1.4, 0.22), (-0.3, 0.16)])
    wood: Colours = ((96, 62, 34), (168, 118, 70))
    layers = (
        Layer(arm, skin(rng, colours or wood), reach=2.6),
        Layer(head, skin(rng, colours or paint(rng)), 2.6),
    )
    return Sprite("hammer", layers, motion, sounding)


def fan(rng: np.random.Generator, work: Activity, *, x: float, y: float, radius: float) -> Sprite:
    """A wheel with blades that turns as fast as it works, and trembles."""
    blades = blob(rng, lobes=5, depth=0.3, wobble=0.0)
    speed = rng.uniform(5.0, 7.0)

    def motion(time_s: float) -> Pose:
        turned = work.turned(time_s)
        tremble = 0.012 * np.sin(37 * turned)
        return Pose(x + tremble, y, radius, radius, speed * turned)

    hub = still(ellipse(0, 0, 0.22, 0.22))
    layers = (
        Layer(blades, skin(rng, paint(rng), detail=0.8, lit=False)),
        Layer(hub, skin(rng, DARK)),
    )
    return Sprite("fan", layers, motion, sounding=True)


def car(rng: np.random.Generator, work: Activity, *, x: float, floor_y: float) -> Sprite:
    """A car that drives to and fro as fast as it works."""
    size = rng.uniform(0.3, 0.34)

    def motion(time_s: float) -> Pose:
        shake = 0.008 * np.sin(60 * work.turned(time_s))
        return Pose(x + 0.75 * work.travelled(time_s), floor_y - 0.55 * size + shake, size, size)

    shell = still(
        [
            (-1.3, 0.3),
            (-1.3, -0.1),
            (-0.85, -0.18),
            (-0.5, -0.65),
            (0.35, -0.65),
            (0.75, -0.15),
            (1.3, -0.05),
            (1.3, 0.3),
        ]
    )
    glass = still([(-0.6, -0.18), (-0.4, -0.52), (0.28, -0.52), (0.55, -0.18)])
    wheels = [still(ellipse(place, 0.3, 0.25, 0.25)) for place in (-0.75, 0.75)]
    layers = (
        Layer(shell, skin(rng, paint(rng), lit=False)),
        Layer(glass, skin(rng, ((96, 118, 130), (176, 198, 206)))),
        *(Layer(wheel, skin(rng, DARK)) for wheel in wheels),
    )
    return Sprite("car", layers, motion, sounding=True)


def person(
    rng: np.random.Generator,
    jaw: Track,
    *,
    x: float,
    y: float = 0.42,
    size: float = 0.26,
    label: str = "person",
    sounding: bool = True,
) -> Sprite:
    """A head and shoulders whose mouth opens with `jaw`."""
    sway = wander(rng, reach=0.02)

    def motion(time_s: float) -> Pose:
        dx, dy = sway(time_s)
        nod = 0.012 * jaw(time_s)
        return Pose(x + dx, y + dy + nod, size, size, 1.5 * dx)

    shoulders = still(
        [
            (-0.3, 0.6),
            (0.3, 0.6),
            (0.42, 0.95),
            (1.15, 1.2),
            (1.35, 2.4),
            (-1.35, 2.4),
            (-1.15, 1.2),
            (-0.42, 0.95),
        ]
    )
    layers = (Layer(shoulders, skin(rng, paint(rng)), 2.6), *head(rng, jaw))
    return Sprite(label, layers, motion, sounding)


def panel(rng: np.random.Generator, *, x: float, y: float, size: float) -> Sprite:
    """A dark square, as behind a picture in the picture."""
    square = still([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    layers = (Layer(square, skin(rng, DARK, lit=False)),)
    return Sprite("panel", layers, lambda _: Pose(x, y, size, size))


def bystander(rng: np.random.Generator, *, x: float) -> Sprite:
    """A person who sways a little, and is silent."""
    return person(rng, lambda _: 0.0, x=x, label="bystander", sounding=False)


def ape(rng: np.random.Generator, munch: Track, *, x: float) -> Sprite:
    """An ape that sits and munches, and is silent."""
    body = Layer(still(ellipse(0, 1.9, 1.25, 1.2)), skin(rng, FUR, detail=0.9), 3.2)
    sitter = person(rng, munch, x=x, size=0.24, label="ape", sounding=False)
    return replace(sitter, layers=(body, *ape_head(rng, munch)))


def dog(rng: np.random.Generator, events_s: Sequence[float], *, x: float, floor_y: float) -> Sprite:
    """A dog in profile that jerks and opens its mouth at each bark."""
    size = rng.uniform(0.27, 0.31)
    jerk = pulses(events_s, decay_s=0.11)
    sway = wander(rng, reach=0.02)

    def motion(time_s: float) -> Pose:
        return Pose(
            x + sway(time_s)[0] + 0.03 * jerk(time_s),
            floor_y - 1.12 * size - 0.03 * jerk(time_s),
            size,
            size,
            -0.12 * jerk(time_s),
        )

    def jaw(time_s: float) -> Points:
        drop = 0.45 * jerk(time_s)
        return np.array([(0.95, -0.42), (1.5, -0.4 + drop), (1.45, -0.28 + drop), (0.9, -0.22)])

    body = still(
        [
            (-1.2, -0.35),
            (-0.9, -0.5),
            (0.3, -0.45),
            (0.6, -0.1),
            (0.5, 0.3),
            (0.52, 1.1),
            (0.28, 1.1),
            (0.2, 0.4),
            (-0.6, 0.38),
            (-0.7, 1.1),
            (-0.95, 1.1),
            (-1.0, 0.3),
        ]
    )
    head = still(
        [
            (0.2, -0.4),
            (0.4, -0.95),
            (0.52, -1.2),
            (0.68, -0.98),
            (0.95, -0.85),
            (1.5, -0.55),
            (1.5, -0.4),
            (0.95, -0.25),
            (0.6, 0.0),
        ]
    )
    coat = skin(rng, ((92, 62, 36), (150, 108, 66), (196, 160, 116)), detail=0.85)
    tail = still([(-1.15, -0.3), (-1.5, -0.75), (-1.4, -0.85), (-0.95, -0.42)])
    layers = (
        Layer(tail, coat, 1.6),
        Layer(body, coat, 1.6),
        Layer(jaw, skin(rng, ((110, 50, 46), (150, 80, 70))), 1.6),
        Layer(head, skin(rng, ((104, 72, 44), (170, 126, 80)), detail=0.8), 1.6),
        Layer(still(ellipse(0.85, -0.68, 0.07, 0.07)), skin(rng, DARK), 1.6),
    )
    return Sprite("dog", layers, motion, sounding=True)


def violinist(rng: np.random.Generator, bow: Track, *, x: float) -> Sprite:
    """A head and shoulders with a fiddle; the bow moves to and fro with `bow` in [-1, 1]."""
    sitter = person(rng, lambda _: 0.0, x=x, y=0.36, size=0.25)

    def stick(time_s: float) -> Points:
        push = 0.55 * bow(time_s)
        line: Points = np.array([(-1.1, 1.75), (1.1, 0.75), (1.16, 0.87), (-1.04, 1.87)])
        line += [push * 0.91, -push * 0.41]
        return line

    def hand(time_s: float) -> Points:
        push = 0.55 * bow(time_s)
        return ellipse(-0.95 + push * 0.91, 1.75 - push * 0.41, 0.2, 0.18)

    fiddle = still(
        [
            (-0.5, 0.85),
            (0.0, 0.95),
            (0.2, 1.15),
            (0.75, 1.5),
            (0.68, 1.65),
            (0.1, 1.45),
            (-0.15, 1.6),
            (-0.6, 1.45),
            (-0.75, 1.1),
        ]
    )
    layers = (
        *sitter.layers,
        Layer(fiddle, skin(rng, ((120, 58, 22), (186, 104, 50))), 2.0),
        Layer(stick, skin(rng, WHITE, lit=False), 2.0),
        Layer(hand, skin(rng, SKINS[0]), 2.0),
    )
    return Sprite("violinist", layers, sitter.motion, sounding=True)


def drifter(
    rng: np.random.Generator,
    *,
    x: float,
    y: float,
    radius: float,
    reach: float = 0.3,
    colours: Colours | None = None,
    label: str = "balloon",
) -> Sprite:
    """A star that wanders and turns by itself and makes no sound."""
    path = wander(rng, reach=reach)
    turn = wander(rng, reach=1.6)
    outline = blob(rng, lobes=int(rng.integers(4, 8)), depth=rng.uniform(0.1, 0.28))

    def motion(time_s: float) -> Pose:
        dx, dy = path(time_s)
        return Pose(x + dx, y + dy, radius, radius, turn(time_s)[0])

    return Sprite(label, (Layer(outline, skin(rng, colours or paint(rng))),), motion)


def lamp(flashes_s: Sequence[float], *, x: float, y: float, flash_s: float) -> Sprite:
    """A grey disc that is white for `flash_s` from each flash on."""
    grey = np.full((8, 8, 3), 70, np.uint8)
    white = np.full((8, 8, 3), 255, np.uint8)

    def lit(time_s: float) -> Points:
        # A little grace, for frame times that are not whole in binary.
        shines = any(0 <= time_s - flash + 1e-6 < flash_s for flash in flashes_s)
        return ellipse(0, 0, 0.97, 0.97) if shines else np.full((3, 2), 1e3)

    layers = (Layer(still(ellipse(0, 0, 1, 1)), grey), Layer(lit, white))
    return Sprite("lamp", layers, lambda _: Pose(x, y, 0.28, 0.28), sounding=True)


def _turn(angle_rad: float) -> Points:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, sin], [-sin, cos]])
