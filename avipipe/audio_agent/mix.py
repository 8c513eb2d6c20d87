"""Puts sounds together: places, levels, fades, limits; lengths and rates are exact to the sample.

Everything is deterministic. Outside the spans that an edit covers nothing is touched, but for the
limiter, which only works where the mix would be louder than both what is kept and -1 dBTP.
"""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pyloudnorm
import scipy.ndimage
import scipy.signal

from avipipe.annotators.base import Wave
from avipipe.annotators.signal import resample
from avipipe.audio_agent.schema import AudioSpan
from avipipe.audio_agent.tools import Sound, TooLongError

FADE_S = 0.01
"""Of the edges of spans: short, and without a click."""
CEILING_DBTP = -1.0
"""Highest true peak, by EBU R 128."""
DEFAULT_LUFS = -23.0
"""Loudness of a sound that is put into silence, in LUFS: EBU R 128."""

MAX_SPEEDUP = 1.25
"""By which speech may be hurried into its span; a choice: more sounds hurried."""
SILENCE_DBFS = -70.0
"""Peak of what is silent; the number of BS.1770's absolute gate."""

_LOUDNESS_BLOCK_S = 0.4
"""Block of BS.1770: shorter sounds are repeated to fill one."""
# Under its peak a sound is not heard yet, or no more; kept before that as its attack. Choices.
_HEARD_DB = 40.0
_ATTACK_S = 0.005
_MAX_METER_CHANNELS = 5
"""That BS.1770 weighs."""
_LOOK_AHEAD_S = 0.005
"""In which the limiter goes down and up: long enough not to distort. A choice."""
_OVERSAMPLING = 4
"""For true peaks, as BS.1770 asks at 48 kHz."""
_MAX_GAIN_DB = 40.0
"""Most that a sound is raised: beyond, its noise would be heard. A choice."""

Envelope = npt.NDArray[np.float64]


def num_samples(time_s: float, sample_rate_hz: int) -> int:
    """Number of samples in a time, rounded to the nearest."""
    return round(Fraction(time_s).limit_denominator(10**9) * sample_rate_hz)


def is_silent(sound: Sound) -> bool:
    """Whether no sample of a sound is above -70 dBFS."""
    return float(np.abs(sound.wav_CN).max()) < 10 ** (SILENCE_DBFS / 20)


def loudness_lufs(sound: Sound) -> float | None:
    """Integrated loudness in LUFS; None for silence.

    What is shorter than a gating block of 0.4 s is repeated, so a bark is as loud as it is, not as
    the pause around it.

    Source: ITU-R BS.1770-4, by pyloudnorm.
    """
    if is_silent(sound):
        return None
    wav_CN = sound.wav_CN[:_MAX_METER_CHANNELS].astype(np.float64)
    block = int(np.ceil(_LOUDNESS_BLOCK_S * sound.sample_rate_hz)) + 1
    if wav_CN.shape[1] < block:
        wav_CN = np.tile(wav_CN, (1, -(-block // wav_CN.shape[1])))
    lufs = float(pyloudnorm.Meter(sound.sample_rate_hz).integrated_loudness(wav_CN.T))
    return lufs if np.isfinite(lufs) else None


def cut(sound: Sound, spans: Sequence[AudioSpan]) -> Sound | None:
    """The parts of a sound, end to end; None where there are none."""
    rate_hz = sound.sample_rate_hz
    parts = [
        sound.wav_CN[:, num_samples(span.start_s, rate_hz) : num_samples(span.end_s, rate_hz)]
        for span in spans
    ]
    joined_CN = np.concatenate([*parts, sound.wav_CN[:, :0]], axis=1)
    return sound.like(joined_CN) if joined_CN.shape[1] else None


def covered(spans: Sequence[AudioSpan], *, num: int, sample_rate_hz: int) -> npt.NDArray[np.bool_]:
    """Which of `num` samples lie in a span, bool (N,)."""
    inside_N = np.zeros(num, np.bool_)
    for span in spans:
        inside_N[
            num_samples(span.start_s, sample_rate_hz) : num_samples(span.end_s, sample_rate_hz)
        ] = True
    return inside_N


def place(sound: Sound, spans: Sequence[AudioSpan], *, like: Sound) -> Sound:
    """A track as long as `like`, at its rate and channels, with the sound in each span.

    The sound starts where the span does, is cut where that ends, and is faded for 10 ms at both
    cuts; a shorter one leaves the rest of its span silent.
    """
    rate_hz = like.sample_rate_hz
    wav_CN = resample(sound.wav_CN, from_hz=sound.sample_rate_hz, to_hz=rate_hz)
    wav_CN = _to_channels(wav_CN, like.wav_CN.shape[0])
    track_CN = np.zeros_like(like.wav_CN)
    for span in spans:
        first = num_samples(span.start_s, rate_hz)
        last = min(num_samples(span.end_s, rate_hz), track_CN.shape[1])
        piece_CN = _faded(wav_CN[:, : max(0, last - first)], rate_hz)
        track_CN[:, first : first + piece_CN.shape[1]] += piece_CN
    return like.like(track_CN)


def levelled(track: Sound, spans: Sequence[AudioSpan], *, lufs: float) -> Sound:
    """The track, with the sound in its spans as loud as `lufs`; silence stays silence."""
    heard = cut(track, spans)
    now = loudness_lufs(heard) if heard is not None else None
    if now is None:
        return track
    gain_db = min(lufs - now, _MAX_GAIN_DB)
    return track.like(track.wav_CN * np.float32(10 ** (gain_db / 20)))


def within(sound: Sound, spans: Sequence[AudioSpan]) -> Sound:
    """The sound in its spans alone, with 10 ms slopes outside them."""
    num, rate_hz = sound.wav_CN.shape[1], sound.sample_rate_hz
    inside_N = covered(spans, num=num, sample_rate_hz=rate_hz)
    return sound.like(sound.wav_CN * _sloped(inside_N, rate_hz).astype(np.float32))


def duck(sound: Sound, spans: Sequence[AudioSpan], *, by_db: float) -> Sound:
    """The sound, quieter within the spans, with 10 ms slopes outside them; no spans: all of it."""
    ducked = within(sound, spans) if spans else sound
    return sound.like(sound.wav_CN - (1 - 10 ** (-by_db / 20)) * ducked.wav_CN)


def from_onset(sound: Sound) -> Sound:
    """The sound without the silence before and after it; what is silent stays as it is.

    Models like to take a breath first, which would put what they make behind its onset.
    """
    loud_N = np.abs(sound.wav_CN).max(axis=0)
    (heard,) = np.nonzero(loud_N > loud_N.max() * 10 ** (-_HEARD_DB / 20))
    if heard.size == 0:
        return sound
    first = max(0, heard[0] - num_samples(_ATTACK_S, sound.sample_rate_hz))
    return sound.like(sound.wav_CN[:, first : heard[-1] + 1])


def faster(speech: Sound, limit_s: float) -> Sound:
    """Speech that lasts `limit_s` at most, at the same pitch.

    Raises:
        TooLongError: it would have to be spoken more than 1.25 times as fast; it is never cut.
    """
    factor = speech.duration_s / limit_s
    if factor <= 1:
        return speech
    if factor > MAX_SPEEDUP:
        raise TooLongError(
            message=f"the words last {speech.duration_s:.2f} s, and {limit_s:.2f} s are there; "
            f"even {MAX_SPEEDUP} times as fast they do not fit. Use fewer words"
        )
    return _tempo(speech, factor)


def true_peak_db(wav_CN: Wave) -> float:
    """Highest level between samples, too, in dBTP; -120 for silence.

    Source: ITU-R BS.1770-4, annex 2: the peak of the signal 4 times oversampled.
    """
    return 20 * float(np.log10(max(float(_peaks(wav_CN).max()), 1e-6)))


def limit(wav_CN: Wave, allowed_N: Envelope, *, sample_rate_hz: int) -> Wave:
    """Turn down what is above an allowed true peak, and 5 ms around it, by a smooth gain."""
    peaks_N = _peaks(wav_CN)
    if (peaks_N <= allowed_N).all():
        return wav_CN
    reach = max(1, num_samples(_LOOK_AHEAD_S, sample_rate_hz))
    needed_N = np.minimum(1.0, allowed_N / np.maximum(peaks_N, 1e-9))
    lowest_N = scipy.ndimage.minimum_filter1d(needed_N, 2 * reach + 1, mode="nearest")
    bell = scipy.signal.windows.hann(2 * reach + 1)
    gain_N = scipy.ndimage.convolve1d(lowest_N, bell / bell.sum(), mode="nearest")
    return np.asarray(wav_CN * gain_N, dtype=np.float32)


def mix(kept: Sound, generated: Sound) -> Sound:
    """Mix the kept with the generated sound, below -1 dBTP wherever the kept one alone is."""
    ceiling = 10 ** (CEILING_DBTP / 20)
    wav_CN = limit(
        kept.wav_CN + generated.wav_CN,
        np.maximum(ceiling, _peaks(kept.wav_CN)),
        sample_rate_hz=kept.sample_rate_hz,
    )
    assert wav_CN.shape == kept.wav_CN.shape
    return kept.like(wav_CN)


def _peaks(wav_CN: Wave) -> Envelope:
    """The true peak around each sample (N,), over all channels."""
    dense = np.abs(scipy.signal.resample_poly(wav_CN, _OVERSAMPLING, 1, axis=1)).max(axis=0)
    around = dense.reshape(-1, _OVERSAMPLING).max(axis=1)
    return np.asarray(np.maximum(around, np.abs(wav_CN).max(axis=0)), dtype=np.float64)


def _sloped(inside_N: npt.NDArray[np.bool_], rate_hz: int) -> Envelope:
    """1 inside, 0 from 10 ms outside on, linear between."""
    away_N = scipy.ndimage.distance_transform_edt(~inside_N)
    return np.asarray(np.clip(1.0 - away_N / (FADE_S * rate_hz), 0.0, 1.0), dtype=np.float64)


def _faded(wav_CN: Wave, rate_hz: int) -> Wave:
    num = wav_CN.shape[1]
    ramp = min(num_samples(FADE_S, rate_hz), num // 2)
    if ramp == 0:
        return wav_CN
    shape_N = np.ones(num, np.float32)
    # Two milliseconds at the start: longer, the attack of a knock would be gone.
    rise = max(1, ramp // 5)
    shape_N[:rise] = np.linspace(0, 1, rise, endpoint=False)
    shape_N[-ramp:] = np.linspace(1, 0, ramp + 1)[1:]
    return wav_CN * shape_N


def _to_channels(wav_CN: Wave, num: int) -> Wave:
    if wav_CN.shape[0] == num:
        return wav_CN
    return np.repeat(wav_CN.mean(axis=0, keepdims=True), num, axis=0).astype(np.float32)


def _tempo(sound: Sound, factor: float) -> Sound:
    """ffmpeg's `atempo` (WSOLA), in process."""
    num_channels, num = sound.wav_CN.shape
    layout = "stereo" if num_channels == 2 else "mono"
    wav_CN = _to_channels(sound.wav_CN, 2 if num_channels == 2 else 1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wav_CN), "fltp", layout)
    frame.sample_rate, frame.pts = sound.sample_rate_hz, 0
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=sound.sample_rate_hz,
        format="fltp",
        layout=layout,
        time_base=Fraction(1, sound.sample_rate_hz),
    )
    tempo, sink = graph.add("atempo", f"{factor:.6f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    source.push(frame)
    source.push(None)
    pieces: list[Wave] = []
    while True:
        try:
            piece = sink.pull()
            assert isinstance(piece, av.AudioFrame)
            pieces.append(piece.to_ndarray().astype(np.float32))
        except av.EOFError:
            break
    length = min(round(num / factor), sum(piece.shape[1] for piece in pieces))
    return sound.like(_to_channels(np.concatenate(pieces, axis=1)[:, :length], num_channels))
