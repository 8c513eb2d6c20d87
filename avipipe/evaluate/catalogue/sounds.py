"""Metrics of what an edit does to the sound."""

from avipipe.annotators.faces.mfcc import to_int16
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics.audio_kept import SAMPLE_RATE_HZ, audio_kept
from avipipe.evaluate.metrics.si_sdr import si_sdr_db

_RATE_HZ = 48_000


def _si_sdr(view: CaseView) -> float:
    source, edit = (
        wave_CN.mean(axis=0) for wave_CN in (view.source.wave(_RATE_HZ), view.edit_wave(_RATE_HZ))
    )
    num = min(len(source), len(edit))
    return si_sdr_db(source[:num], edit[:num])


def _kept(view: CaseView) -> float:
    source, edit = (
        to_int16(wave_CN.mean(axis=0))
        for wave_CN in (view.source.wave(SAMPLE_RATE_HZ), view.edit_wave(SAMPLE_RATE_HZ))
    )
    return audio_kept(source, edit).score


def _loudness(view: CaseView) -> float:
    from avipipe.evaluate.metrics.loudness import loudness_difference_lu  # takes half a second

    return loudness_difference_lu(
        view.source.wave(_RATE_HZ), view.edit_wave(_RATE_HZ), sample_rate_hz=_RATE_HZ
    )


SOUNDS: dict[str, Metric] = {
    "sisdr.mix": Metric(
        measure=_si_sdr,
        needs=("sound", "source_sound"),
        sense="none",
        family="sound",
        unit="dB",
        words="How much of the source's sound is in the edit's, sample by sample.",
        protocol="SI-SDR of the mono mix at 48 kHz against the source's, within 100 dB either way, "
        "as long as both last. A shift by a sample breaks it.",
    ),
    "kept.avecompass": Metric(
        measure=_kept,
        needs=("sound", "source_sound"),
        sense="none",
        family="sound",
        words="How much of the source's sound is kept, whenever; unrelated sound has 0.5.",
        protocol="As AVE-Compass: (1 + correlation) / 2 of magnitude spectrograms at the best lag "
        "within 3 s and half of the shorter sound, mono at 16 kHz.",
    ),
    "loudness.change": Metric(
        measure=_loudness,
        needs=("sound", "source_sound"),
        sense="none",
        family="sound",
        unit="LU",
        words="How much louder than its source the edit is; 0 is as loud.",
        protocol="Difference of integrated loudness by ITU-R BS.1770-4, 48 kHz, stereo.",
    ),
}
