"""A reference of a source: what it shows and sounds like, kept small, from one decode.

Whatever is cut from the source is compared with this, so that no other way of reading it has to be
trusted: 256 bytes for each picture and 16 kB for each second of sound.
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.media.crop import WHOLE, Shares
from avipipe.media.decode import iter_pictures, iter_sound, num_ticks, scaled_size
from avipipe.media.probe import MediaInfo

PICTURES_NAME = "pictures.npy"
TIMES_NAME = "times.npy"
SOUND_NAME = "sound.npy"
REFERENCE_NAMES = (PICTURES_NAME, TIMES_NAME, SOUND_NAME)
SOUND_RATE_HZ = 16_000
# Means across and down that are kept of each picture, and height at which it is decoded for them:
# four pixels for each mean. Choices of size.
SIDE_PX = 16
PICTURE_HEIGHT_PX = 64
_FINE = 16
"""Samples for each mean, across and down, of a picture that is cropped."""

_MU = 255.0
"""Of ITU-T G.711."""


def small_grey(picture_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Reduce a picture to 16x16 means of its three channels, (256,) in [0, 255].

    Unlike luma, the mean of red, green and blue is the same in every matrix and range.
    """
    grey_HW = picture_HWC.mean(axis=2, dtype=np.float32)
    small_HW = cv2.resize(grey_HW, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small_HW, np.float32).ravel()


def kept_grey(picture_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Round `small_grey` as it is kept: hours of it must fit in memory."""
    return np.asarray(np.round(small_grey(picture_HWC)), np.uint8)


def cells_within(crop: Shares) -> npt.NDArray[np.bool_]:
    """Which of the 256 means are of pixels that all lie in a part of the picture."""
    edges = np.arange(SIDE_PX + 1) / SIDE_PX
    x0, y0, x1, y1 = crop
    columns = (edges[:-1] >= x0) & (edges[1:] <= x1)
    rows = (edges[:-1] >= y0) & (edges[1:] <= y1)
    return np.asarray(rows[:, None] & columns).ravel()


def cropped_grey(picture_HWC: npt.NDArray[np.uint8], crop: Shares) -> npt.NDArray[np.float32]:
    """The part of the whole picture's `small_grey` that a crop of it shows: `cells_within`."""
    if crop == WHOLE:
        return small_grey(picture_HWC)
    grey_HW = picture_HWC.mean(axis=2, dtype=np.float32)
    height, width = grey_HW.shape
    x0, y0, x1, y1 = crop
    # Where the whole picture's fine cells lie in the part; those outside are not looked at.
    fine = SIDE_PX * _FINE
    middles = (np.arange(fine, dtype=np.float32) + 0.5) / fine
    columns, rows = np.meshgrid(
        (middles - x0) / (x1 - x0) * width - 0.5, (middles - y0) / (y1 - y0) * height - 0.5
    )
    fine_HW = cv2.remap(
        grey_HW,
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    small_HW = cv2.resize(fine_HW, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small_HW, np.float32).ravel()[cells_within(crop)]


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference: small pictures and sound of a part of a source.

    Attributes:
        times_T: when each picture appears, float64, in source time.
        pictures_TP: (T, 256) uint8; see `kept_grey`.
        sound_N: mono at 16 kHz, int8 on the mu-law; see `Reference.sound`.
        start_s: source time of the first sample.
    """

    times_T: npt.NDArray[np.float64]
    pictures_TP: npt.NDArray[np.uint8]
    sound_N: npt.NDArray[np.int8]
    start_s: float

    def pictures(
        self, start_s: float, end_s: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """Times (N,) and pictures (N, 256) from the one on screen at `start_s` until `end_s`."""
        first = max(bisect.bisect_right(self.times_T, start_s) - 1, 0)
        last = max(bisect.bisect_left(self.times_T, end_s), first + 1)
        return self.times_T[first:last], self.pictures_TP[first:last].astype(np.float32)

    def sound(self, start_s: float, end_s: float) -> npt.NDArray[np.float32]:
        """Sound of an interval, (N,) in [-1, 1]; silence beyond the part."""
        wave_N = np.zeros(num_ticks(end_s - start_s, SOUND_RATE_HZ), np.float32)
        offset = round((start_s - self.start_s) * SOUND_RATE_HZ)
        first, last = max(-offset, 0), min(len(self.sound_N) - offset, len(wave_N))
        if last > first:
            wave_N[first:last] = _from_mu_law(self.sound_N[first + offset : last + offset])
        return wave_N

    def save(self, folder: Path) -> None:
        """Write the files named in `REFERENCE_NAMES`."""
        np.save(folder / PICTURES_NAME, self.pictures_TP)
        np.save(folder / TIMES_NAME, np.append(self.times_T, self.start_s))
        np.save(folder / SOUND_NAME, self.sound_N)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` has written. Only what is asked for is read."""
        times_T = np.load(folder / TIMES_NAME)
        pictures_TP = np.load(folder / PICTURES_NAME, mmap_mode="r")
        sound_N = np.load(folder / SOUND_NAME, mmap_mode="r")
        return cls(times_T[:-1], pictures_TP, sound_N, float(times_T[-1]))

    @classmethod
    def read(cls, path: Path, info: MediaInfo, *, start_s: float, end_s: float) -> Self:
        """Decode a part of a file in order.

        Raises:
            MediaError: CORRUPT where most of it cannot be decoded.
        """
        times_s, kept = [], []
        for time_s, picture_HWC in iter_small_pictures(path, info, start_s=start_s, end_s=end_s):
            times_s.append(time_s)
            kept.append(kept_grey(picture_HWC))
        sound_N = read_companded(path, info, start_s=start_s, end_s=end_s)
        return cls(np.array(times_s), np.stack(kept), sound_N, start_s)


def iter_small_pictures(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    height_px: int = PICTURE_HEIGHT_PX,
) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Yield each picture of a part, small and in order: when it appears, and (H, W, 3) BGR."""
    return iter_pictures(
        path,
        info,
        start_s=start_s,
        end_s=end_s,
        size=scaled_size(info.video, height_px),
        pix_fmt="bgr24",
        reference=True,
    )


def read_companded(
    path: Path, info: MediaInfo, *, start_s: float, end_s: float
) -> npt.NDArray[np.int8]:
    """Decode the sound of a part in order: mono at 16 kHz on the mu-law, (N,)."""
    heard_N = np.zeros(num_ticks(end_s - start_s, SOUND_RATE_HZ), np.int8)
    pieces = iter_sound(
        path,
        info,
        start_s=start_s,
        end_s=end_s,
        sample_rate_hz=SOUND_RATE_HZ,
        mono=False,
        reference=True,
    )
    for first, piece_CN in pieces:
        heard_N[first : first + piece_CN.shape[1]] = to_mu_law(piece_CN.mean(axis=0))
    return heard_N


def to_mu_law(wave_N: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Compand samples in [-1, 1] by ITU-T G.711 (continuous form): noise 38 dB lower."""
    bent_N = np.sign(wave_N) * np.log1p(_MU * np.minimum(np.abs(wave_N), 1)) / np.log1p(_MU)
    return np.asarray(np.round(bent_N * 127), np.int8)


def _from_mu_law(bent_N: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    share_N = bent_N.astype(np.float32) / 127
    wave_N = np.sign(share_N) * np.expm1(np.abs(share_N) * np.log1p(_MU)) / _MU
    return np.asarray(wave_N, np.float32)
