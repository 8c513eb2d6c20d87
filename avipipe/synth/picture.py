"""Drawing: textured outlines that move over a textured background, and their exact masks.

Places are in picture heights, x to the right and y down, so that a scene looks the same at any
size. A mask is every pixel that the outline covers; nothing is drawn outside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.manifests.rle import Mask, Size

Frame = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
Path2D = Callable[[float], tuple[float, float]]

_SUBPIXEL_BITS = 4
_TEXTURE_PX = 192


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a sprite is: its centre, its size along both of its axes (heights), its turn."""

    x: float
    y: float
    width: float
    height: float
    angle_rad: float = 0.0

    def matrix(self, size: Size, shake: tuple[float, float]) -> npt.NDArray[np.float64]:
        """(2, 3): from sprite coordinates to pixels."""
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        turn = np.array([[cos, -sin], [sin, cos]]) * [self.width, self.height]
        centre = [[self.x + shake[0]], [self.y + shake[1]]]
        return np.hstack([turn, centre]) * size[0]


@dataclass(frozen=True, slots=True)
class Layer:
    """A filled outline, (M, 2) in sprite coordinates at a time.

    The texture covers the square from -`reach` to `reach`.
    """

    outline: Callable[[float], Points]
    texture: Frame
    reach: float = 1.5


@dataclass(frozen=True, slots=True)
class Sprite:
    """A thing in the picture, drawn layer over layer."""

    label: str
    layers: tuple[Layer, ...]
    motion: Callable[[float], Pose]
    sounding: bool = False


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture without a cut.

    Attributes:
        start_s: on the clock of the clip.
        backdrop: the background at a time, with the camera moved by (x, y) heights; a fresh array.
        sprites: back to front.
        shake: how far the camera has moved, in heights.
        noise_level: standard deviation of sensor noise, in grey levels.
        overlays: what was laid over the picture afterwards: no camera moves it, and it has no
            noise; things are not seen behind it.
    """

    start_s: float
    backdrop: Callable[[float, tuple[float, float]], Frame]
    sprites: tuple[Sprite, ...]
    shake: Path2D = lambda _: (0.0, 0.0)
    noise_level: float = 2.0
    overlays: tuple[Sprite, ...] = ()

    def draw(self, time_s: float, size: Size, *, seed: int = 0) -> Frame:
        """The picture at a time, uint8 RGB (H, W, 3)."""
        shake = self.shake(time_s)
        frame = self.backdrop(time_s, shake)
        _paint_all(frame, self.sprites, time_s, shake)
        if self.noise_level > 0:
            _add_noise(frame, self.noise_level, [seed, round(time_s * 1e6)])
        _paint_all(frame, self.overlays, time_s, (0.0, 0.0))
        return frame

    def masks(self, time_s: float, size: Size) -> Iterator[tuple[Sprite, Mask]]:
        """What can be seen of each sprite, bool (H, W), front to back."""
        shake = self.shake(time_s)
        covered = np.zeros(size, np.uint8)
        for sprite in self.overlays:
            covered |= _outline(sprite, time_s, size, (0.0, 0.0))
        for sprite in reversed(self.sprites):
            mask = _outline(sprite, time_s, size, shake)
            yield sprite, (mask > covered)
            covered |= mask


def _paint_all(
    frame: Frame, sprites: Sequence[Sprite], time_s: float, shake: tuple[float, float]
) -> None:
    for sprite in sprites:
        matrix = sprite.motion(time_s).matrix((frame.shape[0], frame.shape[1]), shake)
        for layer in sprite.layers:
            _paint(frame, layer, time_s, matrix)


def _outline(
    sprite: Sprite, time_s: float, size: Size, shake: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    matrix = sprite.motion(time_s).matrix(size, shake)
    mask = np.zeros(size, np.uint8)
    for layer in sprite.layers:
        _fill(mask, _pixels(layer.outline(time_s), matrix))
    return mask


def texture(
    rng: np.random.Generator, size: Size, colours: Sequence[Colour], *, detail: float = 0.5
) -> Frame:
    """A cloudy pattern between colours, uint8 RGB; `detail` in [0, 1] says how rough it is."""
    height, width = size
    field = np.zeros(size, np.float32)
    cells = 3
    weight = 1.0
    while cells < height:
        grid = rng.standard_normal((cells, max(2, cells * width // height))).astype(np.float32)
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
        weight *= detail
    low, high = np.quantile(field, (0.02, 0.98))
    shares = np.clip((field - low) / (high - low), 0, 1)
    stops = np.linspace(0, 1, len(colours))
    table = np.array(
        [np.interp(np.linspace(0, 1, 256), stops, channel) for channel in np.array(colours).T]
    ).T
    palette = np.clip(table, 0, 255).astype(np.uint8)
    return np.asarray(np.take(palette, (shares * 255).astype(np.uint8), axis=0), np.uint8)


def shaded(picture: Frame, *, light: tuple[float, float] = (-0.4, -0.5)) -> Frame:
    """A texture lit from one side, as on something round."""
    side = picture.shape[0]
    grid = np.linspace(-1, 1, side, dtype=np.float32)
    distance = np.hypot(grid[None, :] - light[0], grid[:, None] - light[1])
    lit = np.clip(picture * (1.25 - 0.55 * distance)[..., None], 0, 255)
    return np.asarray(lit, np.uint8)


def skin(
    rng: np.random.Generator, colours: Sequence[Colour], *, detail: float = 0.6, lit: bool = True
) -> Frame:
    """A square texture for a layer."""
    square = texture(rng, (_TEXTURE_PX, _TEXTURE_PX), colours, detail=detail)
    return shaded(square) if lit else square


def blob(
    rng: np.random.Generator, *, lobes: int, depth: float, wobble: float = 0.05
) -> Callable[[float], Points]:
    """A closed non-convex outline of about unit radius that slowly deforms."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    phases = rng.uniform(0, 2 * np.pi, 3)
    base = 1 + depth * np.cos(lobes * angle + phases[0]) + 0.06 * np.cos(2 * angle + phases[1])
    base /= base.max()
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def outline(time_s: float) -> Points:
        radius = base + wobble * np.sin(3 * angle + 5 * time_s + phases[2])
        return np.asarray(circle * radius[:, None])

    return outline


def ellipse(x: float, y: float, width: float, height: float) -> Points:
    """An ellipse by its centre and half axes, (M, 2)."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def still(points: Sequence[tuple[float, float]] | Points) -> Callable[[float], Points]:
    """An outline that keeps its form."""
    fixed = np.asarray(points, np.float64)
    return lambda _: fixed


def _pixels(points: Points, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    return np.round(placed * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _fill(mask: npt.NDArray[np.uint8], pixels: npt.NDArray[np.int32]) -> None:
    cv2.fillPoly(mask, [pixels], 1, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)


def _paint(frame: Frame, layer: Layer, time_s: float, matrix: npt.NDArray[np.float64]) -> None:
    pixels = _pixels(layer.outline(time_s), matrix)
    height, width = frame.shape[:2]
    low = np.maximum((pixels.min(axis=0) >> _SUBPIXEL_BITS) - 2, 0)
    high = np.minimum((pixels.max(axis=0) >> _SUBPIXEL_BITS) + 3, (width, height))
    if (low >= high).any():
        return
    part = frame[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape[:2], np.uint8)
    _fill(mask, pixels - (low << _SUBPIXEL_BITS).astype(np.int32))
    # Soft on the inner side of the edge only, so that the mask stays exactly what is drawn.
    cover = cv2.blur(mask.astype(np.float32), (3, 3)) * mask
    side = layer.texture.shape[0]
    to_sprite = np.array(
        [
            [2 * layer.reach / side, 0, -layer.reach],
            [0, 2 * layer.reach / side, -layer.reach],
            [0, 0, 1],
        ]
    )
    onto = matrix @ to_sprite
    onto[:, 2] -= low
    skin_HWC = cv2.warpAffine(
        layer.texture, onto, (part.shape[1], part.shape[0]), borderMode=cv2.BORDER_REFLECT
    )
    part[:] = cv2.blendLinear(skin_HWC, np.ascontiguousarray(part), cover, 1 - cover)


def _add_noise(frame: Frame, level: float, seed: Sequence[int]) -> None:
    # Grain of one row of numbers, drawn anew for each frame and shuffled by rows: sampling every
    # pixel would cost more than all the rest of the picture.
    rng = np.random.default_rng(seed)
    height, width, channels = frame.shape
    grain = (128 + level * rng.standard_normal(4 * width * channels)).round().astype(np.uint8)
    starts = rng.integers(0, 3 * width * channels, height)
    rows = np.lib.stride_tricks.sliding_window_view(grain, width * channels)[starts]
    noise = rows.reshape(frame.shape)
    cv2.addWeighted(frame, 1, noise, 1, -128, dst=frame)
