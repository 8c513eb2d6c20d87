"""Proves, on the decoded streams, that a written clip is what its source holds, and when.

Nothing here knows how the clip was made: every picture and all of the sound of the written files
is compared with the source's reference, which one decode in order has left behind.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.media.container import open_media
from avipipe.media.crop import WHOLE, Shares
from avipipe.media.normalize import FPS
from avipipe.media.probe import MediaInfo, probe
from avipipe.media.reference import (
    SOUND_RATE_HZ,
    Reference,
    cells_within,
    cropped_grey,
    iter_small_pictures,
)

_Wave = npt.NDArray[np.float32]
_Matrix = npt.NDArray[np.float64]
_Vector = npt.NDArray[np.float64]

_VIDEO_SEARCH_S = 0.25
"""Lags of the picture that are looked for: six frames at 24 fps. A choice."""
_GRID_S = 0.001
"""Step of these lags: far less than a frame."""
_PLATEAU = 0.05
"""Part of the way from the best cost to the usual one within which lags fit equally well; a
choice."""
# Mean squares, in levels of 255. On 112 web clips written pictures are 0.1 to 3.3 from the source's
# (scaling, coding) and seldom twice as far as is usual in their clip.
_SAME = 2.0
_SAME_TIMES_USUAL = 3.0
# Beyond this share of the variance of all pictures nothing is alike, however usual it is.
_OTHER_SHARE = 0.3
_MIN_VARIANCE = 25.0
"""Least variance of a source's pictures, in squared levels: of five levels. A flat source is no
proof of anything."""
# A source that shrinks midway, and is scaled up from there on, is further away from there on (0.5,
# then 3 to 7, of a variance of 14,500). So what is usual on one side for half a second counts too
# (12 pictures and itself), up to a thousandth of the variance, and only where the source moves
# enough to tell its pictures apart: a wrong one is as far away as others, not a thirtieth of that.
_AROUND = 13
_WORSE_SHARE = 0.001
_TOLD_TIMES = 30.0
_AUDIO_SEARCH_S = 0.5
"""Lags of the sound that are looked for; a choice."""
_PEAK_WIDTH_S = 0.005
"""Around the best lag: what lies nearer is the same peak. A choice."""
_MIN_LEVEL = 1e-3
"""RMS, -60 dBFS, under which there is no sound to compare; a choice."""
_MIN_CONFIDENCE = 0.15
"""How much better the best lag must be than the usual one, in [0, 1]; a choice, as steady tones and
still pictures fit at any."""
# Pieces in which sound is compared, lags at which they are looked for, and lag within which they
# must be. Choices.
_WINDOW_S = 0.1
_WINDOW_SEARCH_S = 0.1
_SHIFT_S = 0.01
# Correlation of a window with the same window of the source. Of 2,584 windows of 40 web clips the
# least is 0.89 (at -53 dBFS), 99 of 100 are above 0.99, and none is better at another place.
_MIN_LIKENESS = 0.5
_MAX_BETTER = 0.3
"""By how much another place may be more like a window than its own; a choice, far from what was
seen."""


@dataclass(frozen=True, slots=True)
class Offset:
    """Offset of a written stream against its source, and how far that can be trusted.

    `method` is `content`, or `timestamps` where there is nothing to compare (a static picture,
    silence, a steady tone); then the offset is that of the file's first timestamp.
    `wrong_s` is how much of the stream is not what the source holds there.
    """

    offset_ms: float
    method: str
    confidence: float
    wrong_s: float


@dataclass(frozen=True, slots=True)
class SyncCertificate:
    """Offsets of a written clip against its source; positive: later than in the source.

    Attributes:
        av_offset_ms: of the sound against the picture; positive: the sound is late.
        method: `content`, `timestamps`, or `video-content` and `audio-content` where only that
            stream could be compared.
        video_confidence, audio_confidence: in [0, 1].
        wrong_picture_s: how long pictures are shown that the source does not show within one of
            its pictures of that time.
        wrong_sound_s: how long there is sound that the source does not have within 10 ms of that
            time, or none where it has some.
    """

    av_offset_ms: float
    video_offset_ms: float
    audio_offset_ms: float
    method: str
    video_confidence: float
    audio_confidence: float
    wrong_picture_s: float
    wrong_sound_s: float


def certify(
    reference: Reference,
    info: MediaInfo,
    *,
    start_s: float,
    video: Path,
    audio: Path,
    crop: Shares = WHOLE,
) -> SyncCertificate:
    """Compare `video` and `audio`, written from `start_s` on, with their source.

    Args:
        crop: what of the source's upright picture `video` shows.

    Costs one decode of the written files, whatever the length of the source.

    Raises:
        MediaError: CORRUPT where a written file cannot be decoded.
    """
    picture = _video_offset(reference, info, start_s, video, crop)
    sound = _audio_offset(reference, start_s, audio)
    methods = (picture.method, sound.method)
    if methods[0] == methods[1]:
        method = methods[0]
    else:
        method = "video-content" if methods[0] == "content" else "audio-content"
    return SyncCertificate(
        av_offset_ms=_rounded(sound.offset_ms - picture.offset_ms),
        video_offset_ms=_rounded(picture.offset_ms),
        audio_offset_ms=_rounded(sound.offset_ms),
        method=method,
        video_confidence=round(picture.confidence, 3),
        audio_confidence=round(sound.confidence, 3),
        wrong_picture_s=_rounded(picture.wrong_s),
        wrong_sound_s=_rounded(sound.wrong_s),
    )


def _video_offset(
    reference: Reference, info: MediaInfo, start_s: float, video: Path, crop: Shares
) -> Offset:
    written = probe(video)
    seen = list(iter_small_pictures(video, written, start_s=0.0, end_s=written.video.end_s))
    times_N = np.array([time_s for time_s, _ in seen]) + start_s + written.start_s
    written_NP = np.stack([cropped_grey(picture_HWC, crop) for _, picture_HWC in seen])
    source_times_M, source_MP = reference.pictures(
        times_N[0] - _VIDEO_SEARCH_S, times_N[-1] + _VIDEO_SEARCH_S
    )
    source_MP = source_MP[:, cells_within(crop)]
    if info.video.is_hdr:
        # A tone map has changed all levels. It must not be done for others: levels that are free
        # to move hide a shift in a fade.
        written_NP, source_MP = _standardised(written_NP), _standardised(source_MP)
    variance = max(float(source_MP.var()), _MIN_VARIANCE)
    distances_NM = (
        scipy.spatial.distance.cdist(written_NP, source_MP, "sqeuclidean") / written_NP.shape[1]
    )
    middles_N = times_N + float(1 / FPS / 2)
    if info.video.interlaced:
        # Whole pictures were made of halves, which blends what flips from one to the next.
        is_wrong_N = _nearest(distances_NM, middles_N, source_times_M) > _OTHER_SHARE * variance
    else:
        is_wrong_N = _is_wrong(distances_NM, middles_N, source_times_M, variance)
    wrong_s = float(int(is_wrong_N.sum()) / FPS)
    timestamp = Offset(1000 * (written.start_s + written.video.start_s), "timestamps", 0.0, wrong_s)

    lags_G = np.arange(-_VIDEO_SEARCH_S, _VIDEO_SEARCH_S + _GRID_S / 2, _GRID_S)
    shown_GN = np.searchsorted(source_times_M, middles_N + lags_G[:, None], side="right") - 1
    cost_G = distances_NM[np.arange(len(times_N)), shown_GN.clip(0)].mean(axis=1)
    best, usual = int(cost_G.argmin()), float(np.median(cost_G))
    confidence = 1 - float(cost_G[best]) / max(usual, 1e-9)
    if confidence < _MIN_CONFIDENCE:
        return timestamp
    # Between two changes of the picture all lags fit equally well: the middle is the estimate.
    is_worse_G = cost_G > cost_G[best] + _PLATEAU * (usual - cost_G[best])
    low = best - int(is_worse_G[best::-1].argmax())
    high = best + int(is_worse_G[best:].argmax())
    if not is_worse_G[low] or not is_worse_G[high]:
        return timestamp
    lag_s = float(lags_G[low + 1] + lags_G[high - 1]) / 2
    return Offset(-1000 * lag_s, "content", confidence, wrong_s)


def _is_wrong(
    distances_NM: _Matrix,
    middles_N: npt.NDArray[np.float64],
    source_times_M: npt.NDArray[np.float64],
    variance: float,
) -> npt.NDArray[np.bool_]:
    """Which written pictures are none of the source's within one of the right one."""
    near_N = _nearest(distances_NM, middles_N, source_times_M)
    is_far_NM = np.abs(source_times_M - middles_N[:, None]) > _VIDEO_SEARCH_S
    best_N = np.where(is_far_NM, np.inf, distances_NM).min(axis=1)
    is_elsewhere_N = near_N > _SAME_TIMES_USUAL * best_N + _SAME
    others_N = np.median(distances_NM, axis=1)
    allowed_N = np.minimum(_allowed(near_N, others_N, variance), _OTHER_SHARE * variance)
    return np.asarray(is_elsewhere_N | (near_N > allowed_N))


def _allowed(near_N: _Vector, others_N: _Vector, variance: float) -> _Vector:
    """How far a written picture may be from the right one: by what is usual in its clip.

    Args:
        others_N: how far it is from the source's other pictures.
    """
    in_clip = _SAME_TIMES_USUAL * float(np.median(near_N)) + _SAME
    reach = _AROUND // 2
    before_N, after_N = (
        scipy.ndimage.median_filter(near_N, _AROUND, mode="reflect", origin=origin)
        for origin in (reach, -reach)
    )
    around_N = _SAME_TIMES_USUAL * np.maximum(before_N, after_N) + _SAME
    most_N = np.minimum(_WORSE_SHARE * variance + _SAME, others_N / _TOLD_TIMES)
    return np.asarray(np.maximum(in_clip, np.minimum(around_N, most_N)))


def _nearest(
    distances_NM: _Matrix,
    middles_N: npt.NDArray[np.float64],
    source_times_M: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """How far each written picture is from the right one of the source, or a neighbour of that."""
    right_N = np.searchsorted(source_times_M, middles_N, side="right") - 1
    last, rows_N = distances_NM.shape[1] - 1, np.arange(len(right_N))
    near_3N = [distances_NM[rows_N, (right_N + step).clip(0, last)] for step in (-1, 0, 1)]
    return np.asarray(np.min(near_3N, axis=0))


def _standardised(pictures_NP: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred_NP = pictures_NP - pictures_NP.mean()
    return np.asarray(centred_NP / max(float(centred_NP.std()), 1.0) * 50, np.float32)


def _audio_offset(reference: Reference, start_s: float, audio: Path) -> Offset:
    first_s, written_N = _read_mono(audio)
    start_s += first_s
    end_s = start_s + len(written_N) / SOUND_RATE_HZ
    # With what surrounds it: two cuts at the same place would agree there whatever they hold.
    around_N = reference.sound(start_s - _AUDIO_SEARCH_S, end_s + _AUDIO_SEARCH_S)
    wrong_s = _wrong_sound_s(written_N, around_N)
    timestamp = Offset(1000 * first_s, "timestamps", 0.0, wrong_s)
    if max(_rms(written_N), _rms(around_N)) < _MIN_LEVEL:
        return timestamp

    cross, length = _cross(written_N, around_N)
    # Half-whitened: sharper than plain correlation, and calmer on tones than PHAT.
    reach = round(_AUDIO_SEARCH_S * SOUND_RATE_HZ)
    weighted = scipy.fft.irfft(cross / np.sqrt(np.abs(cross) + 1e-12), length)[: 2 * reach + 1]
    best = int(weighted.argmax())
    width = round(_PEAK_WIDTH_S * SOUND_RATE_HZ)
    others = np.concatenate([weighted[: max(best - width, 0)], weighted[best + width + 1 :]])
    confidence = 1 - float(others.max()) / max(float(weighted[best]), 1e-12)
    if confidence < _MIN_CONFIDENCE:
        return timestamp
    late_s = (reach - best) / SOUND_RATE_HZ
    return Offset(1000 * (late_s + first_s), "content", min(confidence, 1.0), wrong_s)


def _wrong_sound_s(written_N: _Wave, around_N: _Wave) -> float:
    """How much of the sound is not the source's, or more than 10 ms from where that has it.

    Args:
        around_N: the source, from 0.5 s before to 0.5 s after.
    """
    size = round(_WINDOW_S * SOUND_RATE_HZ)
    margin, reach, allowed = (
        round(seconds * SOUND_RATE_HZ) for seconds in (_AUDIO_SEARCH_S, _WINDOW_SEARCH_S, _SHIFT_S)
    )
    wrong = 0
    for first in range(0, len(written_N) - size // 2, size):
        part_N = written_N[first : first + size]
        near_N = around_N[first + margin - reach : first + margin + len(part_N) + reach]
        if max(_rms(part_N), _rms(near_N[reach:-reach])) < _MIN_LEVEL:
            continue
        likeness_L = _likeness(part_N, near_N)
        best = float(likeness_L[reach - allowed : reach + allowed + 1].max())
        wrong += best < _MIN_LIKENESS or best < float(likeness_L.max()) - _MAX_BETTER
    return wrong * _WINDOW_S


def _likeness(part_N: _Wave, near_N: _Wave) -> npt.NDArray[np.float64]:
    """Normalised correlation of a part with a longer stretch, at each place within it."""
    cross, length = _cross(part_N, near_N)
    num_lags = len(near_N) - len(part_N) + 1
    sums_N = np.concatenate([[0.0], np.cumsum(np.square(near_N, dtype=np.float64))])
    energy_L = sums_N[-num_lags:] - sums_N[:num_lags]
    own = float(np.square(part_N, dtype=np.float64).sum())
    least = len(part_N) * (_MIN_LEVEL / 10) ** 2
    scale_L = np.sqrt(np.maximum(energy_L, least) * max(own, least))
    return np.asarray(scipy.fft.irfft(cross, length)[:num_lags] / scale_L, np.float64)


def _cross(part_N: _Wave, near_N: _Wave) -> tuple[npt.NDArray[np.complex128], int]:
    """The cross spectrum whose inverse tells how alike they are at each place, and its length."""
    length = scipy.fft.next_fast_len(len(near_N) + len(part_N), real=True)
    near, part = (scipy.fft.rfft(wave_N.astype(np.float64), length) for wave_N in (near_N, part_N))
    return np.asarray(near * np.conj(part), np.complex128), length


def _read_mono(path: Path) -> tuple[float, _Wave]:
    """Time of the first sample, and the whole sound at the rate of the comparison."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE_HZ)
    first_s: float | None = None
    chunks: list[_Wave] = []
    with open_media(path) as container:
        for frame in (*container.decode(audio=0), None):
            if frame is not None and first_s is None:
                first_s = frame.time
            for out in resampler.resample(frame):
                chunks.append(out.to_ndarray().mean(axis=0, dtype=np.float32))
    return first_s or 0.0, np.concatenate(chunks or [np.zeros(0, np.float32)])


def _rounded(number: float) -> float:
    return round(number, 3) + 0.0  # no negative zero


def _rms(wave_N: _Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave_N)))) if len(wave_N) else 0.0
