"""Backgrounds: rooms, streams, the weather, a game; and how a hand moves the camera before them."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from avipipe.manifests.rle import Size
from avipipe.synth.motion import Track
from avipipe.synth.picture import Colour, Frame, Path2D, texture

Backdrop = Callable[[float, tuple[float, float]], Frame]

_MARGIN = 0.06
"""How far a background goes on beyond the picture, in heights; a shake is smaller."""

PALETTES: tuple[tuple[Colour, Colour], ...] = (
    ((88, 92, 84), (156, 160, 148)),
    ((104, 84, 70), (186, 160, 132)),
    ((52, 66, 86), (112, 132, 152)),
    ((140, 134, 120), (206, 202, 190)),
    ((60, 74, 52), (128, 142, 96)),
)


def room(
    rng: np.random.Generator, size: Size, palette: Sequence[Colour], *, floor_y: float = 0.85
) -> Backdrop:
    """A wall with furniture, pictures and a floor, darker towards the corners."""
    height, width = size
    margin_px = round(_MARGIN * height)
    full = (height + 2 * margin_px, width + 2 * margin_px)
    picture = texture(rng, full, palette, detail=0.75)
    for _ in range(int(rng.integers(4, 8))):
        _furnish(rng, picture, palette)
    horizon = margin_px + round(floor_y * height)
    picture[horizon:] = (picture[horizon:] * np.array([0.62, 0.58, 0.55])).astype(np.uint8)
    blurred = cv2.GaussianBlur(picture, (0, 0), height / 300)
    picture = _vignette(np.asarray(blurred, np.uint8))
    return lambda _, shake: _window(picture, size, margin_px, shake)


def stream(rng: np.random.Generator, size: Size) -> Backdrop:
    """Running water: two ripple patterns that drift through each other."""
    height, width = size
    colours = ((18, 52, 70), (52, 104, 122), (176, 204, 210))
    # Twice as wide and mirrored, so that it can drift for ever without a seam.
    halves = [texture(rng, (height, width), colours, detail=0.95) for _ in range(2)]
    sheets = [np.hstack([half, half[:, ::-1]]) for half in halves]

    def at(time_s: float, _: tuple[float, float]) -> Frame:
        moved = []
        for sheet, speed, bob in zip(sheets, (0.35, -0.22), (0.02, 0.03), strict=True):
            start = round(time_s * speed * height) % (2 * width)
            rolled = np.roll(sheet, -start, axis=1)[:, :width]
            lift = round(bob * height * np.sin(2.3 * time_s + speed))
            moved.append(np.roll(rolled, lift, axis=0))
        return np.asarray(cv2.addWeighted(moved[0], 0.5, moved[1], 0.5, 0), np.uint8)

    return at


def meadow(rng: np.random.Generator, size: Size, gust: Track) -> Backdrop:
    """Grass to the horizon that the wind bends as strongly as it blows, `gust` in [0, 1]."""
    colours = ((34, 52, 22), (88, 118, 48), (168, 178, 96))
    grass = texture(rng, size, colours, detail=0.95)
    grid_y, grid_x = np.indices(size, np.float32)
    phases = texture(rng, size, ((0, 0, 0), (255, 255, 255)), detail=0.5)[..., 0] / 20.0

    def at(time_s: float, _: tuple[float, float]) -> Frame:
        sway = 0.4 * np.sin(7 * time_s + phases) + 0.6
        bent_x = grid_x + (0.05 * size[0] * gust(time_s) * sway).astype(np.float32)
        bent = cv2.remap(grass, bent_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(bent, np.uint8)

    return at


def rainfall(rng: np.random.Generator, behind: Backdrop) -> Backdrop:
    """Streaks of rain before another background."""
    starts_N3 = rng.uniform(0, 1, (400, 3))

    def at(time_s: float, shake: tuple[float, float]) -> Frame:
        frame = behind(time_s, shake)
        height, width = frame.shape[:2]
        streaks = np.zeros((height, width), np.uint8)
        for x, y, depth in starts_N3:
            top = (y + (1.2 + depth) * time_s) % 1.1 - 0.1
            length = 0.03 + 0.04 * depth
            ends = [(x * width, top * height), (x * width, (top + length) * height)]
            low, high = ([round(part) for part in end] for end in ends)
            cv2.line(streaks, low, high, round(60 + 60 * depth), 1, cv2.LINE_AA)
        return np.asarray(cv2.add(frame, cv2.cvtColor(streaks, cv2.COLOR_GRAY2RGB)), np.uint8)

    return at


def arcade(rng: np.random.Generator, size: Size) -> Backdrop:
    """The picture of a game: walls of bricks that scroll past for ever."""
    height, width = size
    rows, columns = 9, 16
    bricks = rng.integers(30, 220, (rows, columns, 3)).astype(np.uint8)
    bricks[rng.uniform(size=(rows, columns)) < 0.5] = (24, 22, 44)
    wall = cv2.resize(bricks, (width, height), interpolation=cv2.INTER_NEAREST)

    def at(time_s: float, _: tuple[float, float]) -> Frame:
        return np.roll(wall, -round(0.25 * time_s * height), axis=1)

    return at


def journey(rng: np.random.Generator, size: Size, travelled: Path2D) -> Backdrop:
    """A landscape with houses that goes by; the camera has travelled by (x, y) heights."""
    height, width = size
    picture = texture(rng, (height, 2 * width), ((58, 66, 50), (150, 148, 132)), detail=0.85)
    for _ in range(40):
        _furnish(rng, picture, PALETTES[int(rng.integers(len(PALETTES)))])
    # Mirrored, so that it can go by for ever without a seam.
    picture = np.hstack([picture, picture[:, ::-1]])
    picture = np.vstack([picture, picture[::-1]])

    def at(time_s: float, _: tuple[float, float]) -> Frame:
        x, y = travelled(time_s)
        onto = np.array([[1.0, 0.0, -x * height], [0.0, 1.0, -y * height]])
        seen = cv2.warpAffine(picture, onto, (width, height), borderMode=cv2.BORDER_WRAP)
        return np.asarray(seen, np.uint8)

    return at


def zoomed(picture: Frame, *, rate: float) -> Backdrop:
    """A still that is zoomed into, by a share of its size each second."""
    height, width = picture.shape[:2]

    def at(time_s: float, _: tuple[float, float]) -> Frame:
        onto = cv2.getRotationMatrix2D((0.45 * width, 0.4 * height), 0.0, 1.0 + rate * time_s)
        return np.asarray(cv2.warpAffine(picture, onto, (width, height)), np.uint8)

    return at


def beside(left: Backdrop, right: Backdrop) -> Backdrop:
    """Two pictures side by side."""
    return lambda time_s, shake: np.hstack([left(time_s, shake), right(time_s, shake)])


def inset(whole: Backdrop, part: Backdrop, *, top: float, left: float) -> Backdrop:
    """A small picture in a large one, its corner at shares of the large one's size."""

    def at(time_s: float, shake: tuple[float, float]) -> Frame:
        frame, small = whole(time_s, shake), part(time_s, shake)
        y, x = round(top * frame.shape[0]), round(left * frame.shape[1])
        frame[y : y + small.shape[0], x : x + small.shape[1]] = small
        return frame

    return at


def handheld(rng: np.random.Generator, *, reach: float = 0.012) -> Path2D:
    """A camera in a hand: slow drift and faster tremor, at most `_MARGIN` heights."""
    rates_hz = np.array([0.3, 0.8, 1.9, 4.1])
    phases = rng.uniform(0, 2 * np.pi, (2, rates_hz.size))
    levels = reach / np.array([1.0, 1.6, 3.5, 9.0])

    def shake(time_s: float) -> tuple[float, float]:
        x, y = (levels * np.sin(2 * np.pi * rates_hz * time_s + phases)).sum(axis=1)
        return float(x), float(y)

    return shake


def _furnish(rng: np.random.Generator, picture: Frame, palette: Sequence[Colour]) -> None:
    height, width = picture.shape[:2]
    low = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    high = (
        low[0] + int(rng.integers(height // 8, height // 2)),
        low[1] + int(rng.integers(height // 8, height // 3)),
    )
    part = picture[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return
    colour = np.array(palette[int(rng.integers(2))]) + rng.uniform(-45, 45, 3)
    tinted = 0.45 * part + 0.55 * np.clip(colour, 0, 255)
    part[:] = tinted.astype(np.uint8)
    cv2.rectangle(picture, low, high, [int(c * 0.5) for c in np.clip(colour, 0, 255)], 2)


def _vignette(picture: Frame) -> Frame:
    height, width = picture.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)
    fall = 1.05 - 0.16 * (x[None, :] ** 2 + y[:, None] ** 2)
    return np.clip(picture * fall[..., None], 0, 255).astype(np.uint8)


def _window(picture: Frame, size: Size, margin_px: int, shake: tuple[float, float]) -> Frame:
    height, width = size
    if shake == (0.0, 0.0):
        return picture[margin_px : margin_px + height, margin_px : margin_px + width].copy()
    onto = np.array([[1, 0, shake[0] * height - margin_px], [0, 1, shake[1] * height - margin_px]])
    return np.asarray(cv2.warpAffine(picture, onto, (width, height)), np.uint8)
