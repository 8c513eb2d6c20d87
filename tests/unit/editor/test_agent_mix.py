"""Placing, levelling and limiting sounds, exactly."""

import numpy as np
import pytest
import scipy.signal

from avipipe.audio_agent.files import decode_bytes, flac_bytes, wav_bytes
from avipipe.audio_agent.mix import (
    CEILING_DBTP,
    MAX_SPEEDUP,
    cut,
    duck,
    faster,
    levelled,
    loudness_lufs,
    mix,
    place,
    true_peak_db,
)
from avipipe.audio_agent.procedural.voice import VOICES, speak
from avipipe.audio_agent.schema import AudioSpan
from avipipe.audio_agent.tools import Sound, TooLongError

RATE_HZ = 44_100


def noise(
    duration_s: float, *, rms: float = 0.05, rate_hz: int = RATE_HZ, channels: int = 1
) -> Sound:
    size = (channels, round(duration_s * rate_hz))
    wave_CN = np.random.default_rng(3).standard_normal(size) * rms
    return Sound(wave_CN.astype(np.float32), rate_hz)


def span(start_s: float, end_s: float) -> AudioSpan:
    return AudioSpan(start_s=start_s, end_s=end_s)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_starts_at_its_very_sample(rate_hz: int, channels: int) -> None:
    click = Sound(np.ones((1, 4800), np.float32), 48_000)
    like = Sound(np.zeros((channels, 3 * rate_hz + 7), np.float32), rate_hz)
    track = place(click, [span(1.5, 1.55), span(2.25, 9.0)], like=like)
    assert track.wav_CN.shape == like.wav_CN.shape
    assert track.sample_rate_hz == rate_hz
    sounding = np.abs(track.wav_CN[0]) > 0.5
    first = [round(1.5 * rate_hz), round(2.25 * rate_hz)]
    starts = np.flatnonzero(sounding[1:] & ~sounding[:-1]) + 1
    # The fade of 2 ms reaches one half after 1 ms; resampling rings for a sample or two.
    assert np.abs(starts - np.array(first)).max() <= 0.002 * rate_hz
    silent = np.ones(track.wav_CN.shape[1], bool)
    for start_s, length_s in ((1.5, 0.05), (2.25, 0.1)):
        silent[round(start_s * rate_hz) : round((start_s + length_s) * rate_hz) + 2] = False
    assert not track.wav_CN[:, silent].any()


def test_loudness_is_matched_in_the_spans() -> None:
    spans = [span(0.5, 1.5), span(2.0, 3.0)]
    like = Sound(np.zeros((1, 4 * RATE_HZ), np.float32), RATE_HZ)
    track = levelled(place(noise(1.0, rms=0.3), spans, like=like), spans, lufs=-30.0)
    heard = cut(track, spans)
    assert heard is not None
    assert loudness_lufs(heard) == pytest.approx(-30.0, abs=0.1)


def test_a_short_bark_is_as_loud_as_it_is() -> None:
    long, short = loudness_lufs(noise(3.0)), loudness_lufs(noise(0.1))
    assert long is not None
    assert short == pytest.approx(long, abs=1.0)
    assert loudness_lufs(Sound(np.zeros((1, 9000), np.float32), RATE_HZ)) is None


def test_a_mix_stays_below_the_ceiling_where_something_is_new() -> None:
    kept = noise(2.0, rms=0.02)
    loud = scipy.signal.chirp(np.arange(RATE_HZ // 2) / RATE_HZ, 200, 0.5, 9000)
    new_CN = np.zeros_like(kept.wav_CN)
    new_CN[:, 40_000 : 40_000 + loud.size] = 2.0 * loud
    mixed = mix(kept, kept.like(new_CN))
    assert mixed.wav_CN.shape == kept.wav_CN.shape
    assert true_peak_db(mixed.wav_CN) <= CEILING_DBTP + 0.1
    beside = np.ones(kept.wav_CN.shape[1], bool)
    beside[40_000 - 500 : 40_000 + loud.size + 500] = False
    assert np.array_equal(mixed.wav_CN[:, beside], kept.wav_CN[:, beside])


def test_what_was_loud_already_is_left_as_it_is() -> None:
    kept = noise(1.0, rms=0.5)
    assert true_peak_db(kept.wav_CN) > 0
    silence = kept.like(np.zeros_like(kept.wav_CN))
    assert np.array_equal(mix(kept, silence).wav_CN, kept.wav_CN)


def test_ducking_turns_the_span_down() -> None:
    before = noise(2.0)
    after = duck(before, [span(0.5, 1.0)], by_db=12.0)
    ratio_db = [
        20 * np.log10(np.abs(after.wav_CN[0, n]).sum() / np.abs(before.wav_CN[0, n]).sum())
        for n in (slice(0, 20_000), slice(23_000, 44_000), slice(45_000, None))
    ]
    assert ratio_db == pytest.approx([0.0, -12.0, 0.0], abs=0.01)


def test_speech_is_spoken_faster_but_never_cut() -> None:
    words = speak(VOICES[0], np.random.default_rng(1), duration_s=2.0, turns_s=((0.0, 2.0),))
    speech = Sound(words.wav_N[None], 48_000)
    quick = faster(speech, 1.8)
    assert quick.duration_s <= 1.8
    assert quick.duration_s == pytest.approx(1.8, abs=0.03)
    assert faster(speech, 2.5) is speech
    with pytest.raises(TooLongError, match="Use fewer words"):
        faster(speech, 2.0 / MAX_SPEEDUP - 0.05)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encode", [wav_bytes, flac_bytes])
def test_files_hold_every_sample(encode: object, channels: int) -> None:
    assert callable(encode)
    sound = noise(0.7, channels=channels)
    again = decode_bytes(encode(sound))
    assert again.sample_rate_hz == sound.sample_rate_hz
    assert again.wav_CN.shape == sound.wav_CN.shape
    assert np.abs(again.wav_CN - sound.wav_CN).max() <= 2**-15
