"""Metrics of the sound by models."""

from collections.abc import Callable
from functools import partial

from avipipe.annotators.full.tag import AstTagger
from avipipe.annotators.light.tag import YamnetTagger
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import heard, ready
from avipipe.evaluate.extractors.clap import SAMPLE_RATE_HZ as CLAP_HZ
from avipipe.evaluate.extractors.clap import ClapHtsat
from avipipe.evaluate.extractors.cnn14 import Cnn14Classes
from avipipe.evaluate.extractors.htsat import SAMPLE_RATE_HZ as HTSAT_HZ
from avipipe.evaluate.extractors.htsat import HtsatBase
from avipipe.evaluate.metric import Metric, metric_by
from avipipe.evaluate.metrics import clap_score, lpaps
from avipipe.evaluate.metrics.audio_kl import kl_scores
from avipipe.evaluate.metrics.kl_divergence import kl_divergence
from avipipe.evaluate.views import Waves


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


def _both(view: CaseView, rate_hz: int) -> tuple[Waves, Waves]:
    """Both sounds, mono (N,), as long as both last."""
    source_CN, edit_CN = view.source.wave(rate_hz), view.edit_wave(rate_hz)
    num = min(source_CN.shape[1], edit_CN.shape[1])
    return heard(source_CN[:, :num]), heard(edit_CN[:, :num])


def _kl_panns(view: CaseView) -> float:
    model = ready(Cnn14Classes)
    waves = _both(view, Cnn14Classes.sample_rate_hz)
    return kl_divergence(*(model.logits(wave_N - wave_N.mean()) for wave_N in waves))


def _kl_ast(view: CaseView) -> float:
    model = ready(AstTagger)
    waves = _both(view, AstTagger.sample_rate_hz)
    return kl_divergence(*(model.logits(wave_N).mean(axis=0) for wave_N in waves))


def _kl_yamnet(view: CaseView) -> float:
    model = ready(YamnetTagger)
    waves = _both(view, YamnetTagger.sample_rate_hz)
    return kl_scores(*(model.scores(wave_N).mean(axis=0) for wave_N in waves))


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
    "kl.panns": _metric(
        _kl_panns,
        Cnn14Classes,
        "none",
        "By how much the edit sounds of other classes than its source; 0 is the same.",
        "KL(source || edit) in nats of the softmax over AudioSet's 527 classes by PANNs' Cnn14 for "
        "16 kHz, as av-benchmark's KL-PANNS-softmax, of the whole mono sound without its mean, as "
        "long as both last; av-benchmark takes the first 8 s.",
        "sound",
        "source_sound",
    ),
    "kl.ast": _metric(
        _kl_ast,
        AstTagger,
        "none",
        "The same by a transformer.",
        "As kl.panns, but by AST, where published numbers are of PaSST or PANNs: mean logits of "
        "windows of 10 s every second, mono at 16 kHz, as long as both last.",
        "sound",
        "source_sound",
    ),
    "kl.yamnet": _metric(
        _kl_yamnet,
        YamnetTagger,
        "none",
        "The same by a small network, where several classes may be heard at once.",
        "Sum over YAMNet's 521 classes of KL(source || edit) in nats of each being there or not: "
        "mean scores of windows of 0.975 s every 0.48 s, mono at 16 kHz, as long as both last.",
        "sound",
        "source_sound",
    ),
}
