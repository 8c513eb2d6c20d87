"""Heads: drawn faces that a face detector finds, and whose lips move as in talking."""

import numpy as np

from avipipe.synth.motion import Track
from avipipe.synth.picture import Colour, Layer, Points, ellipse, skin, still

Colours = tuple[Colour, ...]

SKINS: tuple[Colours, ...] = (
    ((196, 146, 118), (232, 190, 164)),
    ((120, 78, 56), (160, 112, 86)),
    ((214, 170, 146), (244, 212, 194)),
)
DARK: Colours = ((18, 14, 14), (52, 40, 36))
WHITE: Colours = ((222, 222, 218), (246, 246, 244))
_HAIRS: tuple[Colours, ...] = (
    ((18, 14, 14), (52, 40, 36)),
    ((70, 42, 20), (124, 84, 48)),
    ((120, 92, 52), (196, 164, 110)),
)
FUR: Colours = ((60, 34, 18), (112, 66, 34), (150, 96, 56))
_LIPS: Colours = ((110, 40, 40), (140, 60, 60))
_GUMS: Colours = ((40, 10, 12), (76, 24, 26))


def head(rng: np.random.Generator, jaw: Track) -> tuple[Layer, ...]:
    """A face with hair, about one unit around its centre, whose mouth opens with `jaw`."""
    tone = SKINS[int(rng.integers(len(SKINS)))]
    hair = still(
        [
            (-0.72, 0.25),
            (-0.74, -0.45),
            (-0.45, -0.95),
            (0.1, -1.05),
            (0.58, -0.85),
            (0.75, -0.35),
            (0.7, 0.25),
            (0.56, -0.3),
            (0.2, -0.62),
            (-0.35, -0.6),
            (-0.56, -0.25),
        ]
    )
    return (
        _face(rng, tone, jaw),
        Layer(hair, skin(rng, _HAIRS[int(rng.integers(len(_HAIRS)))], detail=0.9)),
        *_eyes(rng),
        *_nose(rng, tone),
        *_mouth(rng, jaw),
    )


def ape_head(rng: np.random.Generator, jaw: Track) -> tuple[Layer, ...]:
    """A furry head with round ears, and a face that is near enough to ours to be taken for one."""
    ears = [still(ellipse(place, -0.3, 0.3, 0.34)) for place in (-0.85, 0.85)]
    return (
        *(Layer(ear, skin(rng, FUR, detail=0.9)) for ear in ears),
        Layer(still(ellipse(0, -0.1, 0.86, 0.98)), skin(rng, FUR, detail=0.9)),
        _face(rng, SKINS[0], jaw),
        *_eyes(rng),
        *_nose(rng, SKINS[0]),
        *_mouth(rng, jaw),
    )


def _face(rng: np.random.Generator, tone: Colours, jaw: Track) -> Layer:
    def outline(time_s: float) -> Points:
        points = ellipse(0, 0, 0.62, 0.85)
        points[:, 1] += np.where(points[:, 1] > 0, 0.25 * jaw(time_s) * points[:, 1], 0)
        return points

    return Layer(outline, skin(rng, tone, detail=0.8))


def _eyes(rng: np.random.Generator) -> list[Layer]:
    layers = []
    for place in (-0.24, 0.24):
        layers += [
            Layer(still(ellipse(place, -0.12, 0.12, 0.07)), skin(rng, WHITE)),
            Layer(still(ellipse(place, -0.12, 0.06, 0.065)), skin(rng, DARK)),
            Layer(still(ellipse(place, -0.31, 0.17, 0.03)), skin(rng, DARK)),
        ]
    return layers


def _nose(rng: np.random.Generator, tone: Colours) -> list[Layer]:
    bridge = still([(-0.05, -0.1), (0.05, -0.1), (0.12, 0.2), (-0.12, 0.2)])
    shade = tuple((0.82 * red, 0.82 * green, 0.82 * blue) for red, green, blue in tone)
    # Without nostrils YuNet is too unsure of most faces.
    nostrils = [still(ellipse(place, 0.19, 0.045, 0.028)) for place in (-0.07, 0.07)]
    return [
        Layer(bridge, skin(rng, shade)),
        *(Layer(nostril, skin(rng, DARK)) for nostril in nostrils),
    ]


def _mouth(rng: np.random.Generator, jaw: Track) -> list[Layer]:
    """Lips around a dark opening with the upper teeth in it."""

    def lips(time_s: float) -> Points:
        return opening(time_s, rim=0.02 + 0.07 * jaw(time_s))

    def opening(time_s: float, rim: float = 0.0) -> Points:
        # The upper lip hardly moves; the lower one goes with the jaw.
        top, bottom = 0.40 - 0.02 * jaw(time_s), 0.43 + 0.36 * jaw(time_s)
        width = 0.24 - 0.06 * jaw(time_s)
        return ellipse(0, (top + bottom) / 2, width + 1.3 * rim, (bottom - top) / 2 + rim)

    def teeth(time_s: float) -> Points:
        width, height = 0.17 - 0.03 * jaw(time_s), 0.035 * min(1.0, 2 * jaw(time_s))
        return ellipse(0, 0.395 + 0.02 * jaw(time_s), width, height)

    return [
        Layer(lips, skin(rng, _LIPS)),
        Layer(opening, skin(rng, _GUMS)),
        Layer(teeth, skin(rng, WHITE)),
    ]
