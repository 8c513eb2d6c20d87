"""What is laid over a finished picture: bars, a logo, a caption."""

from collections.abc import Sequence

import numpy as np

from avipipe.synth.picture import Colour, Frame, Layer, Pose, Sprite, still

_LETTERS: dict[str, Sequence[tuple[float, float]]] = {
    "A": [(0, 1), (0.4, 0), (0.6, 0), (1, 1), (0.75, 1), (0.5, 0.35), (0.25, 1)],
    "N": [(0, 0), (0.3, 0), (0.7, 0.6), (0.7, 0), (1, 0), (1, 1), (0.7, 1), (0.3, 0.4), (0.3, 1)],
    "V": [(0, 0), (0.28, 0), (0.5, 0.65), (0.72, 0), (1, 0), (0.6, 1), (0.4, 1)],
    "Z": [(0, 0), (1, 0), (1, 0.2), (0.4, 0.8), (1, 0.8), (1, 1), (0, 1), (0, 0.8), (0.6, 0.2)],
}
_WHITE: Colour = (244, 244, 244)
_DARK: Colour = (12, 12, 12)


def bars(aspect: float, *, height: float) -> Sprite:
    """Black bars over and under the picture, each of this share of its height."""
    wide = [(0.0, 0.0), (aspect, 0.0), (aspect, height), (0.0, height)]
    low = [(x, y + 1.0 - height) for x, y in wide]
    layers = tuple(Layer(still(bar), _plain((0, 0, 0))) for bar in (wide, low))
    return Sprite("bars", layers, _in_place)


def line(aspect: float, *, x: float, width: float) -> Sprite:
    """A white line from top to bottom."""
    sides = [(x - width / 2, 0.0), (x + width / 2, 0.0), (x + width / 2, 1.0), (x - width / 2, 1.0)]
    return Sprite("line", (Layer(still(sides), _plain(_WHITE)),), _in_place)


def frame(*, left: float, top: float, right: float, bottom: float, width: float) -> Sprite:
    """White lines around a part of the picture."""
    sides = [
        (left, top, right, top + width),
        (left, bottom - width, right, bottom),
        (left, top, left + width, bottom),
        (right - width, top, right, bottom),
    ]
    layers = [
        Layer(still([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), _plain(_WHITE))
        for x0, y0, x1, y1 in sides
    ]
    return Sprite("frame", tuple(layers), _in_place)


def lettering(text: str, *, x: float, y: float, height: float, label: str) -> Sprite:
    """White letters with dark outlines, the first one's corner at (x, y) heights."""
    advance = 0.9 * height
    places = [(letter, x + advance * n) for n, letter in enumerate(text) if letter != " "]
    shadows = [_letter(letter, left, y, height, grown=0.12) for letter, left in places]
    faces = [_letter(letter, left, y, height) for letter, left in places]
    layers = [Layer(still(shape), _plain(_DARK)) for shape in shadows]
    layers += [Layer(still(shape), _plain(_WHITE)) for shape in faces]
    return Sprite(label, tuple(layers), _in_place)


def _letter(
    letter: str, x: float, y: float, height: float, *, grown: float = 0.0
) -> list[tuple[float, float]]:
    size = (1 + 2 * grown) * height
    return [
        (x + 0.75 * (size * u - grown * height), y + size * v - grown * height)
        for u, v in _LETTERS[letter]
    ]


def _plain(colour: Colour) -> Frame:
    return np.full((8, 8, 3), colour, np.uint8)


def _in_place(_: float) -> Pose:
    """Outlines are given in heights."""
    return Pose(0.0, 0.0, 1.0, 1.0)
