"""Measures, on the decoded streams, how far a written clip has moved against its source.

Nothing here knows how the clip was made: the source is decoded again with its own timestamps, and
compared with what the written files hold.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.spatial.distance import cdist

from avipipe.errors import FailKind, MediaError
from avipipe.media.decode import iter_pictures, read_audio
from avipipe.media.normalize import FPS
from avipipe.media.probe import MediaInfo, open_media, probe

_VIDEO_SEARCH_S = 0.25
_WINDOW_FRAMES = 48
_SMALL_SIZE = (48, 48)
_GRID_S = 0.001
_PLATEAU = 0.05
_MIN_VARIANCE = 25.0
_AUDIO_SEARCH_S = 0.5
_AUDIO_WINDOW_S = 20.0
_AUDIO_RATE_HZ = 16_000
_PEAK_WIDTH_S = 0.005
_MIN_LEVEL = 1e-3
_MIN_CONFIDENCE = 0.15
_MIN_LIKENESS = 0.3


@dataclass(frozen=True, slots=True)
class Offset:
    """How late a written stream is against its source, and how far that can be trusted.

    `method` is `content`, or `timestamps` where there is nothing to compare (a static picture,
    silence, a steady tone); then the offset is that of the file's first timestamp.
    """

    offset_ms: float
    method: str
    confidence: float


@dataclass(frozen=True, slots=True)
class SyncCertificate:
    """Offsets of a written clip against its source; positive: later than in the source.

    Attributes:
        av_offset_ms: of the sound against the picture; positive: the sound is late.
        method: `content`, `timestamps`, or `video-content` and `audio-content` where only that
            stream could be compared.
        video_confidence, audio_confidence: in [0, 1].
    """

    av_offset_ms: float
    video_offset_ms: float
    audio_offset_ms: float
    method: str
    video_confidence: float
    audio_confidence: float


def certify(
    path: Path, info: MediaInfo, *, start_s: float, end_s: float, video: Path, audio: Path
) -> SyncCertificate:
    """Compare `video` and `audio`, written from `[start_s, end_s)` of `path`, with that source.

    Costs about a tenth of the encode: the sound is compared as a whole, the picture in the two
    seconds that move most.

    Raises:
        MediaError: OUT_OF_SYNC where a written stream shows nothing of the source within half a
            second; CORRUPT where a file cannot be decoded.
    """
    picture = _video_offset(path, info, start_s, video)
    sound = _audio_offset(path, info, start_s, end_s, audio)
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
    )


def _video_offset(path: Path, info: MediaInfo, start_s: float, video: Path) -> Offset:
    written = probe(video)
    timestamp = Offset(1000 * (written.start_s + written.video.start_s), "timestamps", 0.0)
    first = _liveliest_frame(video)
    from_s, to_s = float(first / FPS), float((first + _WINDOW_FRAMES) / FPS)
    times_N, written_NP = _pictures(video, written, from_s, to_s, margin_s=0.0)
    from_s, to_s = start_s + from_s, start_s + to_s
    source_times_M, source_MP = _pictures(path, info, from_s, to_s, margin_s=_VIDEO_SEARCH_S)

    if info.video.is_hdr:
        # A tone map has changed all levels. It must not be done for others: levels that are free
        # to move hide a shift in a fade.
        written_NP = (written_NP - written_NP.mean()) / max(float(written_NP.std()), 1.0) * 50
        source_MP = (source_MP - source_MP.mean()) / max(float(source_MP.std()), 1.0) * 50
    distances_NM = cdist(written_NP, source_MP, "sqeuclidean") / written_NP[0].size
    middles_N = times_N + start_s + written.start_s + float(1 / FPS / 2)
    lags_G = np.arange(-_VIDEO_SEARCH_S, _VIDEO_SEARCH_S + _GRID_S / 2, _GRID_S)
    shown_GN = np.searchsorted(source_times_M, middles_N + lags_G[:, None], side="right") - 1
    cost_G = distances_NM[np.arange(len(times_N)), shown_GN.clip(0)].mean(axis=1)

    best, usual = int(cost_G.argmin()), float(np.median(cost_G))
    variance = max(float(source_MP.var()), _MIN_VARIANCE)
    likeness = 1 - float(cost_G[best]) / 2 / variance
    if likeness < _MIN_LIKENESS:
        raise _unlike("picture", video, likeness)
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
    return Offset(-1000 * lag_s, "content", confidence)


def _liveliest_frame(video: Path) -> int:
    """Where the window begins in which the encoder had most to say, key frames aside."""
    with open_media(video) as container:
        sizes = [
            0 if packet.is_keyframe else packet.size
            for packet in container.demux(container.streams.video[0])
            if packet.pts is not None
        ]
    sums = np.convolve(sizes, np.ones(min(_WINDOW_FRAMES, len(sizes))), mode="valid")
    return int(sums.argmax())


def _pictures(
    path: Path, info: MediaInfo, start_s: float, end_s: float, *, margin_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times (N,) and small grey pictures (N, P) of `[start_s, end_s)` and a margin on both sides.

    Grey is the mean of red, green and blue: unlike luma it is the same in every matrix and range.
    """
    from_s, to_s = start_s - margin_s, end_s + margin_s
    pictures = list(
        iter_pictures(path, info, start_s=from_s, end_s=to_s, size=_SMALL_SIZE, pix_fmt="rgb24")
    )
    if not pictures:
        return np.zeros(1), np.zeros((1, _SMALL_SIZE[0] * _SMALL_SIZE[1]))
    times_N = np.array([time_s for time_s, _ in pictures], np.float64)
    return times_N, np.stack([picture.mean(axis=2).ravel() for _, picture in pictures])


def _audio_offset(path: Path, info: MediaInfo, start_s: float, end_s: float, audio: Path) -> Offset:
    first_s, written_N = _read_mono(audio)
    written_N = written_N[: round(_AUDIO_WINDOW_S * _AUDIO_RATE_HZ)]
    timestamp = Offset(1000 * first_s, "timestamps", 0.0)
    end_s = min(end_s, start_s + _AUDIO_WINDOW_S)
    source_N = read_audio(
        path, info, start_s=start_s, end_s=end_s, sample_rate_hz=_AUDIO_RATE_HZ, mono=True
    )[0]
    if max(_rms(written_N), _rms(source_N)) < _MIN_LEVEL:
        return timestamp

    length = next_fast_len(len(written_N) + len(source_N), real=True)
    cross = rfft(written_N, length) * np.conj(rfft(source_N, length))
    energy = len(written_N) * _rms(written_N) * _rms(source_N)
    likeness = float(_lags(irfft(cross, length)).max()) / max(energy, 1e-12)
    if likeness < _MIN_LIKENESS:
        raise _unlike("sound", audio, likeness)
    # Half-whitened: sharper than plain correlation, and calmer on tones than PHAT.
    weighted = _lags(irfft(cross / np.sqrt(np.abs(cross) + 1e-12), length))
    best = int(weighted.argmax())
    width = round(_PEAK_WIDTH_S * _AUDIO_RATE_HZ)
    others = np.concatenate([weighted[: max(best - width, 0)], weighted[best + width + 1 :]])
    confidence = 1 - float(others.max()) / float(weighted[best])
    if confidence < _MIN_CONFIDENCE:
        return timestamp
    lag_s = (best - len(weighted) // 2) / _AUDIO_RATE_HZ
    return Offset(1000 * (lag_s + first_s), "content", min(confidence, 1.0))


def _lags(circular: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The lags within the search, from the most negative to the most positive."""
    reach = round(_AUDIO_SEARCH_S * _AUDIO_RATE_HZ)
    return np.concatenate([circular[-reach:], circular[: reach + 1]])


def _read_mono(path: Path) -> tuple[float, npt.NDArray[np.float32]]:
    """Time of the first sample, and the whole sound at the rate of the comparison."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_AUDIO_RATE_HZ)
    first_s: float | None = None
    chunks: list[npt.NDArray[np.float32]] = []
    with open_media(path) as container:
        for frame in (*container.decode(audio=0), None):
            if frame is not None and first_s is None:
                first_s = frame.time
            for out in resampler.resample(frame):
                chunks.append(out.to_ndarray()[0].astype(np.float32))
    return first_s or 0.0, np.concatenate(chunks or [np.zeros(0, np.float32)])


def _rounded(offset_ms: float) -> float:
    return round(offset_ms, 3) + 0.0  # no negative zero


def _rms(wave_N: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(wave_N)))) if len(wave_N) else 0.0


def _unlike(what: str, path: Path, likeness: float) -> MediaError:
    message = (
        f"expected the {what} of the source in {path.name}, found another or a far later one "
        f"(likeness {likeness:.2f}, expected at least {_MIN_LIKENESS})"
    )
    return MediaError(FailKind.OUT_OF_SYNC, message)
