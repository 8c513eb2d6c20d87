"""Metrics of the sound, and of sound with pictures, by models."""

from collections.abc import Callable

from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import Embeddings, of_edit, ready
from avipipe.evaluate.extractors import imagebind_views
from avipipe.evaluate.extractors.clap import SAMPLE_RATE_HZ as CLAP_HZ
from avipipe.evaluate.extractors.clap import ClapHtsat
from avipipe.evaluate.extractors.htsat import SAMPLE_RATE_HZ as HTSAT_HZ
from avipipe.evaluate.extractors.htsat import HtsatBase
from avipipe.evaluate.extractors.imagebind import ImageBindHuge
from avipipe.evaluate.metric import Family, Metric, Need, Sense
from avipipe.evaluate.metrics import audio_consistency, clap_score, lpaps
from avipipe.evaluate.metrics.undefined import require_sound
from avipipe.evaluate.views import FPS, Frames, Waves


def _mono(wave_CN: Waves) -> Waves:
    wave_N: Waves = wave_CN.mean(axis=0)
    require_sound(wave_N)
    return wave_N


def _clap(view: CaseView) -> float:
    model = ready(ClapHtsat)
    windows_KD = model.audio(_mono(view.edit_wave(CLAP_HZ)), sample_rate_hz=CLAP_HZ)
    text_D = model.texts([view.case.target_prompt])[0]
    return clap_score.clap_score(windows_KD.mean(axis=0), text_D)


def _lpaps(distance: Callable[[lpaps.Stages, lpaps.Stages], float]) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        waves = view.source.wave(HTSAT_HZ), view.edit_wave(HTSAT_HZ)
        source, edit = (
            ready(HtsatBase).windows(_mono(wave_CN), sample_rate_hz=HTSAT_HZ) for wave_CN in waves
        )
        return lpaps.mean_over_windows(distance, list(zip(source, edit, strict=False)))

    return measure


def _consistency(view: CaseView) -> float:
    def embed(model: ImageBindHuge, frames_THWC: Frames) -> Embeddings:
        return model.video(imagebind_views.video_views(frames_THWC, fps=float(FPS)))

    video_KD = of_edit(view, ImageBindHuge, embed, "clips")
    rate_hz = imagebind_views.SAMPLE_RATE_HZ
    wave_N = _mono(view.edit_wave(rate_hz))
    sound = imagebind_views.audio_views(wave_N[None], sample_rate_hz=rate_hz)
    return audio_consistency.audio_consistency(video_KD, ready(ImageBindHuge).audio(sound))


def _metric(
    measure: Callable[[CaseView], float],
    extractor: type[Weighted],
    sense: Sense,
    words: str,
    protocol: str,
    *needs: Need,
    family: Family = "sound",
) -> Metric:
    return Metric(
        measure=measure,
        needs=needs,
        sense=sense,
        family=family,
        words=words,
        protocol=protocol,
        extractors=(extractor,),
    )


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
    "ac.imagebind": _metric(
        _consistency,
        ImageBindHuge,
        "higher",
        "Whether sound and pictures are of the same thing.",
        "Cosine of ImageBind-Huge's mean embeddings, times 100: 5 clips of 2 s in 3 crops from 24 "
        "pictures a second, short side at most 240 px; 3 clips of mono sound at 16 kHz. Weights "
        "are not for commercial use.",
        "pictures",
        "sound",
        family="synchrony",
    ),
}
