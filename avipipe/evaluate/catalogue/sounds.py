"""Metrics of what an edit does to the sound."""

from collections.abc import Callable

from avipipe.annotators.base import Wave
from avipipe.annotators.faces.mfcc import to_int16
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics.audio_kept import SAMPLE_RATE_HZ, audio_kept
from avipipe.evaluate.metrics.si_sdr import in_events, si_sdr_db
from avipipe.evaluate.metrics.undefined import Undefined

_RATE_HZ = 48_000
_EVENTS = "Samples of all such moments are joined; events are not padded."


def _si_sdr(view: CaseView) -> float:
    return si_sdr_db(*_mono(view))


def _mono(view: CaseView) -> tuple[Wave, Wave]:
    """Both sounds (N,) as long as both last."""
    source, edit = (
        wave_CN.mean(axis=0) for wave_CN in (view.source.wave(_RATE_HZ), view.edit_wave(_RATE_HZ))
    )
    num = min(len(source), len(edit))
    return source[:num], edit[:num]


def _si_sdr_by_events(*, is_inside: bool) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        source, edit = _mono(view)
        inside_N = in_events(view.case.events_s, num=len(source), sample_rate_hz=_RATE_HZ)
        counted_N = inside_N if is_inside else ~inside_N
        if not counted_N.any():
            where = "in the events" if is_inside else "outside of the events"
            raise Undefined(f"the sound has no moment {where}")
        return si_sdr_db(source, edit, counted_N=counted_N)

    return measure


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
    "sisdr.outside": Metric(
        measure=_si_sdr_by_events(is_inside=False),
        needs=("sound", "source_sound", "events"),
        sense="higher",
        family="sound",
        unit="dB",
        words="How much of the background is kept while what was edited is silent.",
        protocol=f"As sisdr.mix, outside of the case's `events_s` alone. {_EVENTS}",
    ),
    "sisdr.inside": Metric(
        measure=_si_sdr_by_events(is_inside=True),
        needs=("sound", "source_sound", "events"),
        sense="none",
        family="sound",
        unit="dB",
        words="How much of the source's sound is left while what was edited sounds.",
        protocol=f"As sisdr.mix, inside of the case's `events_s` alone. {_EVENTS}",
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
