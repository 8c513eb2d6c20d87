"""What metrics look at: pictures, sound and masks of a case in a few fixed forms.

The pictures of a file are decoded once, for both forms in which they are held. All pictures are
those on show at 24 a second, on the clock of each file's first picture, so that source and edit are
compared by time whatever their rates.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.errors import FailKind, MediaError
from avipipe.evaluate.cases import Control
from avipipe.evaluate.controls import SHIFT_S
from avipipe.media.crop import WHOLE, Shares
from avipipe.media.decode import iter_frames, iter_pictures, num_ticks, read_audio
from avipipe.media.dubbed import Dubbed, dubbed

Frames = npt.NDArray[np.uint8]
Waves = npt.NDArray[np.float32]
Sizes = tuple[tuple[int, int], tuple[int, int]]
Curve = npt.NDArray[np.float64]

VIEWS_VERSION = 1
"""Raised whenever the same file would give other arrays, so that no stored score is stale."""

FPS = Fraction(24)
"""Of all pictures: the rate of datasets and edits here; slower and faster files are sampled."""
DETAIL_STEP = 8
"""Every so many pictures one is held in detail, as FiVE-Bench samples for preservation."""
DETAIL_PX = 480
"""Short side of pictures in detail: what FlowAnchor and FiVE-Bench edit and measure at."""
MOTION_PX = 256
"""Short side of all pictures, for motion: DIS finds flow of a few pixels there, in 4 ms."""
MAX_S = 20.0
"""How much of a file is looked at: twice the mean clip of AVISET. With it a file takes at most
480 pictures of 256x640 and 60 of 480x1200: 0.35 GB. Longer ones are measured so far, which their
scores say."""
_MAX_ASPECT = 2.5
"""Wider pictures have a smaller short side, so that the bound of the memory holds."""
_SAME_SHAPE = 0.02
"""Logarithm of the ratio of two aspects: 2 % are what rounding to even sides and the multiples of
16 of codecs make. Pictures that differ by more do not show the same, and are not compared."""
_WHITE = 127
"""Levels above this are inside of a mask: the middle of 0 to 255, which JPEG's halo does not
reach."""


def size_within(shape: tuple[float, float], short_px: int) -> tuple[int, int]:
    """Width and height, even, of a picture of some shape in a view; nothing is enlarged."""
    width, height = shape
    short, long = min(shape), max(shape)
    scale = min(1.0, short_px / short, _MAX_ASPECT * short_px / long)
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a file in both forms.

    Attributes:
        motion_THWC: uint8 RGB, T at `FPS`, short side at most `MOTION_PX`.
        detail_THWC: uint8 RGB, every `DETAIL_STEP`-th of them, short side at most `DETAIL_PX`.
    """

    motion_THWC: Frames
    detail_THWC: Frames

    def first(self, num_frames: int) -> "Pictures":
        """Only so many of the pictures."""
        return Pictures(
            self.motion_THWC[:num_frames], self.detail_THWC[: -(-num_frames // DETAIL_STEP)]
        )

    def frozen(self) -> "Pictures":
        """The first picture all the time."""
        return Pictures(
            np.broadcast_to(self.motion_THWC[:1], self.motion_THWC.shape),
            np.broadcast_to(self.detail_THWC[:1], self.detail_THWC.shape),
        )


@dataclass
class MediaView:
    """One file, decoded when asked.

    Attributes:
        path: the file.
        folder: for a copy with silence, where it has no sound.
        shown: the part of the upright picture to look at.
    """

    path: Path
    folder: Path
    shown: Shares = WHOLE
    _waves: dict[int, Waves] = field(default_factory=dict, repr=False)

    @cached_property
    def file(self) -> Dubbed:
        """What was measured of it.

        Raises:
            MediaError: it cannot be read.
        """
        own = self.folder / hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        own.mkdir(parents=True, exist_ok=True)
        return dubbed(self.path, own)

    @property
    def duration_s(self) -> float:
        """Of its pictures, all of them."""
        video = self.file.info.video
        return video.end_s - video.start_s

    @property
    def looked_s(self) -> float:
        """How much of it is looked at."""
        return min(self.duration_s, MAX_S)

    @property
    def shape(self) -> tuple[float, float]:
        """Width and height of what is shown, in square pixels."""
        width, height = self.file.info.video.shape
        x0, y0, x1, y1 = self.shown
        return float(width) * (x1 - x0), float(height) * (y1 - y0)

    @cached_property
    def own_sizes(self) -> Sizes:
        """Width and height of its pictures for motion and in detail."""
        return size_within(self.shape, MOTION_PX), size_within(self.shape, DETAIL_PX)

    @cached_property
    def pictures(self) -> Pictures:
        """Its pictures at its own sizes.

        Raises:
            MediaError: it cannot be decoded.
        """
        return self.pictures_at(self.own_sizes)

    def pictures_at(self, sizes: Sizes) -> Pictures:
        """Decode its pictures.

        Args:
            sizes: width and height of those for motion and of those in detail.
        Raises:
            MediaError: it cannot be decoded.
        """
        motion_size, detail_size = sizes
        num_frames = num_ticks(self.looked_s, FPS)
        motion = np.empty((num_frames, *motion_size[::-1], 3), np.uint8)
        detail = np.empty((-(-num_frames // DETAIL_STEP), *detail_size[::-1], 3), np.uint8)
        for number, frame_HWC in enumerate(self._frames(max(detail_size), min(detail_size))):
            motion[number] = _resized(frame_HWC, motion_size)
            if number % DETAIL_STEP == 0:
                detail[number // DETAIL_STEP] = _resized(frame_HWC, detail_size)
        return Pictures(motion, detail)

    def _frames(self, long_px: int, short_px: int) -> Iterator[Frames]:
        """Pictures of what is shown, not smaller than asked where the file has as many pixels."""
        info = self.file.info
        share = max(short_px / min(self.shape), long_px / max(self.shape))
        short_side_px = max(2, round(share * float(min(info.video.shape))))
        start_s = info.video.start_s
        for frame_HWC in iter_frames(
            self.file.path,
            info,
            start_s=start_s,
            end_s=start_s + self.looked_s,
            fps=FPS,
            height_px=short_side_px,
        ):
            yield _cut(frame_HWC, self.shown)

    @property
    def has_sound(self) -> bool:
        return self.file.has_sound

    def wave(self, rate_hz: int) -> Waves:
        """Its sound as (2, N) float32 in [-1, 1], from its first picture to the last.

        Raises:
            MediaError: it cannot be decoded.
        """
        if rate_hz not in self._waves:
            start_s = self.file.info.video.start_s
            self._waves[rate_hz] = read_audio(
                self.file.path,
                self.file.info,
                start_s=start_s,
                end_s=start_s + self.looked_s,
                sample_rate_hz=rate_hz,
                mono=False,
            )
        return self._waves[rate_hz]

    def recorded(self) -> Iterator[tuple[float, Frames]]:
        """Its pictures as recorded, at its own size and rate, one at a time.

        AV-Align is defined on these. They are read anew: held, they would take gigabytes.

        Yields:
            seconds from the first picture, and (H, W, 3) uint8 BGR.
        """
        info = self.file.info
        start_s = info.video.start_s
        width, height = (max(2, 2 * round(side / 2)) for side in info.video.shape)
        for time_s, frame_HWC in iter_pictures(
            self.file.path,
            info,
            start_s=start_s,
            end_s=start_s + self.looked_s,
            size=(width, height),
            pix_fmt="bgr24",
        ):
            yield max(0.0, time_s - start_s), _cut(frame_HWC, self.shown)


@dataclass
class MaskView:
    """A mask, which is of what the edit shows."""

    path: Path
    folder: Path

    def masks(self, num_frames: int, size: tuple[int, int], step: int = 1) -> npt.NDArray[np.bool_]:
        """The masks of pictures at `FPS`, every `step`-th of them, as bool (T, H, W).

        Args:
            size: width and height.
        Raises:
            MediaError: it cannot be read; ManifestError: it is no `masks.json`.
        """
        found = np.zeros((-(-num_frames // step), *size[::-1]), np.bool_)
        for number in range(0, num_frames, step):
            levels_HW = self._levels(number)
            own_size = (levels_HW.shape[1], levels_HW.shape[0])
            grown = size[0] > own_size[0]
            way = cv2.INTER_NEAREST if grown else cv2.INTER_AREA
            found[number // step] = cv2.resize(levels_HW, size, interpolation=way) > _WHITE
        return found

    @cached_property
    def _levels(self) -> Callable[[int], Frames]:
        """From the number of a picture to its mask, 0 to 255, at its own size."""
        if self.path.suffix.lower() == ".json":
            return self._coded()
        if (still_HW := _still(self.path)) is not None:
            return lambda number: still_HW
        return self._filmed()

    def _coded(self) -> Callable[[int], Frames]:
        from avipipe.manifests.rle import read_masks

        track = read_masks(self.path)
        if not track.frames:
            raise MediaError(FailKind.CORRUPT, f"expected a mask of each frame in {self.path}")

        def levels(number: int) -> Frames:
            at = min(int((number + Fraction(1, 2)) / FPS * track.fps), len(track.frames) - 1)
            return np.where(track.mask(at), 255, 0).astype(np.uint8)

        return levels

    def _filmed(self) -> Callable[[int], Frames]:
        view = MediaView(self.path, self.folder)
        size = size_within(view.shape, DETAIL_PX)
        num_frames = num_ticks(view.looked_s, FPS)
        held = np.empty((num_frames, *size[::-1]), np.uint8)
        for number, frame_HWC in enumerate(view._frames(max(size), min(size))):
            held[number] = _resized(frame_HWC, size)[..., 0]
        return lambda number: held[min(number, num_frames - 1)]


@dataclass
class CaseView:
    """Source and edit side by side.

    Attributes:
        source, edit: the files; a control's edit is its source.
        sound: the file whose sound the edit has; the edit itself but for a shuffled control.
        control: how the edit is derived.
        mask, edit_mask: of what the edit shows, if there are any.
        cached: keeps arrays by the content of a file, across cases and runs.
    """

    source: MediaView
    edit: MediaView
    sound: MediaView
    control: Control
    mask: MaskView | None
    edit_mask: MaskView | None
    cached: Callable[[MediaView, str, Callable[[], Curve]], Curve]

    @property
    def num_frames(self) -> int:
        """At `FPS`, of the time that both last."""
        return num_ticks(min(self.source.looked_s, self.edit.looked_s), FPS)

    @property
    def is_same_shape(self) -> bool:
        """Whether both pictures can show the same."""
        one, other = (view.shape[0] / view.shape[1] for view in (self.source, self.edit))
        return abs(float(np.log(one / other))) <= _SAME_SHAPE

    @property
    def sizes(self) -> Sizes:
        """Of both pictures where they are compared: those of the source."""
        return self.source.own_sizes if self.is_same_shape else self.edit.own_sizes

    @cached_property
    def edit_pictures(self) -> Pictures:
        """Of the edit, all of them, at the sizes of the source's where the shapes are alike."""
        if self.control:
            own = self.source.pictures
            return own.frozen() if self.control == "frozen" else own
        return self.edit.pictures_at(self.sizes)

    @cached_property
    def pairs(self) -> tuple[Pictures, Pictures]:
        """Source and edit, picture by picture, for the time that both last."""
        both = self.source.pictures, self.edit_pictures
        return both[0].first(self.num_frames), both[1].first(self.num_frames)

    @cached_property
    def detail_masks(self) -> npt.NDArray[np.bool_]:
        """The mask of each picture in detail that both have, bool (T, H, W)."""
        assert self.mask is not None
        return self.mask.masks(self.num_frames, self.sizes[1], DETAIL_STEP)

    def edit_wave(self, rate_hz: int) -> Waves:
        """The sound of the edit, (2, N) float32, as long as its pictures."""
        own = self.sound.wave(rate_hz)
        length = num_ticks(self.edit.looked_s, rate_hz)
        late = round(SHIFT_S * rate_hz) if self.control == "shifted" else 0
        wave_CN = np.zeros((2, length), np.float32)
        heard = own[:, : max(0, length - late)]
        wave_CN[:, late : late + heard.shape[1]] = heard
        return wave_CN

    def notes(self) -> list[str]:
        """What was done to make the two comparable, in words."""
        said = []
        for name, view in (("source", self.source), ("edit", self.edit)):
            if view.duration_s > MAX_S:
                said.append(f"the first {MAX_S:g} s of the {name}'s {view.duration_s:.1f} s")
        one_s, other_s = self.source.duration_s, self.edit.duration_s
        if abs(one_s - other_s) > 1 / FPS:
            said.append(
                f"the source lasts {one_s:.2f} s, the edit {other_s:.2f} s: compared as long as "
                "both last"
            )
        if self.is_same_shape and self.source.file.shape != self.edit.file.shape:
            said.append(
                f"the edit's {_size(self.edit)} was scaled to the view of the source's "
                f"{_size(self.source)}"
            )
        one, other = (view.file.info.video.fps for view in (self.source, self.edit))
        if abs(float(one) - float(other)) > 0.01:
            said.append(f"{float(one):.2f} and {float(other):.2f} fps: compared at {FPS} by time")
        return said


def _size(view: MediaView) -> str:
    width, height = view.shape
    return f"{width:.0f}x{height:.0f}"


def _cut(frame_HWC: Frames, shown: Shares) -> Frames:
    if shown == WHOLE:
        return frame_HWC
    height, width = frame_HWC.shape[:2]
    x0, y0, x1, y1 = shown
    rows = slice(round(y0 * height), max(round(y1 * height), round(y0 * height) + 1))
    columns = slice(round(x0 * width), max(round(x1 * width), round(x0 * width) + 1))
    return frame_HWC[rows, columns]


def _resized(frame_HWC: Frames, size: tuple[int, int]) -> Frames:
    if frame_HWC.shape[1::-1] == size:
        return frame_HWC
    is_smaller = frame_HWC.shape[1] > size[0]
    way = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    resized: Frames = cv2.resize(frame_HWC, size, interpolation=way)
    return resized


def _still(path: Path) -> Frames | None:
    """An image of a mask, (H, W) uint8; None for what is no image."""
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff"}:
        return None
    with suppress(cv2.error):
        still_HW: Frames | None = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if still_HW is not None:
            return still_HW
    raise MediaError(FailKind.CORRUPT, f"expected an image of a mask in {path}, found none")
