"""Metrics of the sound by models."""

from collections.abc import Callable
from functools import partial

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import heard, ready
from avipipe.evaluate.extractors.clap import SAMPLE_RATE_HZ as CLAP_HZ
from avipipe.evaluate.extractors.clap import ClapHtsat
from avipipe.evaluate.extractors.htsat import SAMPLE_RATE_HZ as HTSAT_HZ
from avipipe.evaluate.extractors.htsat import HtsatBase
from avipipe.evaluate.metric import Metric, metric_by
from avipipe.evaluate.metrics import clap_score, lpaps


def _clap(view: CaseView) -> float:
    model = ready(ClapHtsat)
    windows_KD = model.audio(heard(view.edit_wave(CLAP_HZ)), sample_rate_hz=CLAP_HZ)
    text_D = model.texts([view.case.target_prompt])[0]
    return clap_score.clap_score(windows_KD.mean(axis=0), text_D)


def _lpaps(distance: Callable[[lpaps.Stages, lpaps.Stages], float]) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        waves = view.source.wave(HTSAT_HZ), view.edit_wave(HTSAT_HZ)
        source, edit = (
            ready(HtsatBase).windows(heard(wave_CN), sample_rate_hz=HTSAT_HZ) for wave_CN in waves
        )
        return lpaps.mean_over_windows(distance, list(zip(source, edit, strict=False)))

    return measure


_metric = partial(metric_by, family="sound")


HEARING: dict[str, Metric] = {
    "clap.tiny": _metric(
        _clap,
        ClapHtsat,
        "higher",
        "How well the sound fits the target prompt.",
        "Cosine of LAION-CLAP (HTSAT-tiny, unfused) with the prompt, mean embedding of windows of "
        "at most 10 s, mono at 48 kHz.",
        "sound",
        "target_prompt",
    ),
    "lpaps.zeus": _metric(
        _lpaps(lpaps.lpaps_zeus),
        HtsatBase,
        "none",
        "How different edit and source sound; 0 is the same.",
        "LPAPS as in published tables, normalised over tokens: LAION-CLAP's HTSAT-base, windows of "
        "10 s that overlap by a tenth, mono at 48 kHz.",
        "sound",
        "source_sound",
    ),
    "lpaps.channels": _metric(
        _lpaps(lpaps.lpaps_channels),
        HtsatBase,
        "none",
        "The same, normalised as LPIPS is.",
        "As lpaps.zeus, but normalised over channels.",
        "sound",
        "source_sound",
    ),
}
