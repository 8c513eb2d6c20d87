"""Sounds from and to files, at their own rate and exact to the sample."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np
from av.container import InputContainer

from avipipe.annotators.base import Frames, Wave
from avipipe.audio_agent.tools import Sound
from avipipe.errors import ConfigError, FailKind, MediaError
from avipipe.files import written_whole
from avipipe.media.container import DEFAULT_LIMITS, open_bytes, open_media
from avipipe.media.decode import read_audio, read_frames
from avipipe.media.probe import MediaInfo, probe

CODECS = {".flac": ("flac", "s32"), ".wav": ("pcm_f32le", "flt")}
"""Suffix -> codec and sample format; WAV holds what was computed, FLAC 24 bits of it."""

_BLOCK = 4096
"""Samples that are encoded at a time, which bounds the memory."""
_MAX_VALUES = 1 << 28
"""Samples of all channels together, 1 GiB as float32: 46 minutes of 48 kHz stereo."""


def read_sound(path: Path) -> Sound:
    """Read the sound of an audio file, or that of a video on the clock of its pictures.

    Raises:
        MediaError: there is no such file, no sound in it, or too much.
    """
    info = _video(path)
    if info is None:
        return _read_audio_file(path)
    rate_hz, mono = info.audio.rate_hz, info.audio.channels == 1
    _check_size(int(info.duration_s * rate_hz) * info.audio.channels, _MAX_VALUES, str(path))
    wave_CN = read_audio(
        path, info, start_s=0.0, end_s=info.duration_s, sample_rate_hz=rate_hz, mono=mono
    )
    return Sound(wave_CN, rate_hz)


def read_pictures(path: Path, *, count: int, height_px: int = 360) -> list[Frames]:
    """Read some pictures of a video, evenly spread, (H, W, 3); none of an audio file."""
    info = _video(path)
    if info is None:
        return []
    fps = Fraction(count) / Fraction(info.duration_s).limit_denominator(1_000_000)
    return list(
        read_frames(path, info, start_s=0.0, end_s=info.duration_s, fps=fps, height_px=height_px)
    )


def write_sound(path: Path, sound: Sound) -> None:
    """Write a WAV or FLAC file, whole or not at all.

    Raises:
        ConfigError: the name ends otherwise.
    """
    check_suffix(path)
    with written_whole(path) as draft, draft.open("wb") as file:
        _encode(file, sound, path.suffix.lower())


def check_suffix(path: Path) -> None:
    """Refuse a file name whose suffix is of no known format.

    Raises:
        ConfigError: it does not end in `.wav` or `.flac`.
    """
    if path.suffix.lower() not in CODECS:
        raise ConfigError(f"{path}: expected a name that ends in {' or '.join(CODECS)}")


def wav_bytes(sound: Sound) -> bytes:
    """Encode a sound as a WAV file of 16 bits, which every model takes."""
    return _bytes(sound, "wav", "pcm_s16le", "s16")


def flac_bytes(sound: Sound) -> bytes:
    """Encode a sound as a FLAC file of 16 bits, for a page."""
    return _bytes(sound, "flac", "flac", "s16")


def decode_bytes(data: bytes) -> Sound:
    """Decode the sound in the bytes of any audio file.

    Raises:
        MediaError: there is none.
    """
    return _decode(lambda: open_bytes(io.BytesIO(data)), "the answer")


def _bytes(sound: Sound, container: str, codec: str, sample_format: str) -> bytes:
    file = io.BytesIO()
    _encode_as(file, sound, container, codec, sample_format)
    return file.getvalue()


def _video(path: Path) -> MediaInfo | None:
    try:
        return probe(path)
    except MediaError as error:
        if error.kind is FailKind.NO_VIDEO_STREAM:
            return None
        raise


def _read_audio_file(path: Path) -> Sound:
    return _decode(lambda: open_media(path), str(path))


def _decode(opened: Callable[[], InputContainer], name: str) -> Sound:
    pieces: list[Wave] = []
    rate_hz = num_values = 0
    try:
        with opened() as container:
            if not container.streams.audio:
                raise MediaError(FailKind.NO_AUDIO_STREAM, f"there is no sound in {name}")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise MediaError(FailKind.CORRUPT, f"{name}: its sound is in no codec known here")
            rate_hz = stream.rate
            _check_size(stream.layout.nb_channels, DEFAULT_LIMITS.max_audio_channels, name)
            resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate_hz)
            for frame in container.decode(stream):
                num_values += frame.samples * frame.layout.nb_channels
                _check_size(num_values, _MAX_VALUES, name)
                pieces += [_floats(out) for out in resampler.resample(frame)]
            pieces += [_floats(out) for out in resampler.resample(None)]
    except av.FFmpegError as error:
        raise MediaError(FailKind.NOT_MEDIA, f"{name} cannot be decoded: {error}") from error
    if not pieces:
        raise MediaError(FailKind.EMPTY_FILE, f"expected audio in {name}, found no samples")
    return Sound(np.concatenate(pieces, axis=1), rate_hz)


def _check_size(found: int, most: int, name: str) -> None:
    if found > most:
        raise MediaError(
            FailKind.TOO_LARGE,
            f"expected at most {DEFAULT_LIMITS.max_audio_channels} channels and {_MAX_VALUES} "
            f"samples of all of them in {name}, found more; cut it to what is needed",
        )


def _floats(frame: av.AudioFrame) -> Wave:
    return frame.to_ndarray().astype(np.float32)


def _encode(file: IO[bytes], sound: Sound, suffix: str) -> None:
    codec, sample_format = CODECS[suffix]
    _encode_as(file, sound, suffix[1:], codec, sample_format)


def _encode_as(
    file: IO[bytes], sound: Sound, container: str, codec: str, sample_format: str
) -> None:
    num_channels, num = sound.wav_CN.shape
    layout = av.AudioLayout(_layout(num_channels))
    wav_CN = np.ascontiguousarray(np.clip(sound.wav_CN, -1, 1))
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=sound.sample_rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.format = layout, av.AudioFormat(sample_format)
        # At one rate the resampler only changes the format of samples.
        resampler = av.AudioResampler(sample_format, layout, sound.sample_rate_hz)
        for first in range(0, num, _BLOCK):
            piece = np.ascontiguousarray(wav_CN[:, first : first + _BLOCK])
            frame = av.AudioFrame.from_ndarray(piece, "fltp", layout.name)
            frame.sample_rate, frame.pts = sound.sample_rate_hz, first
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))


def _layout(num_channels: int) -> str:
    return {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1"}.get(
        num_channels, f"{num_channels}c"
    )
