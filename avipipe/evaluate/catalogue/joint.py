"""Metrics of picture and sound at the same time: DeSync, JavisScore, and ImageBind's AC."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt

from avipipe.annotators.imagebind import views as imagebind_views
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import Embeddings, heard, of_edit, of_film, ready
from avipipe.evaluate.extractors.imagebind import ImageBindHuge
from avipipe.evaluate.extractors.synchformer import SynchformerAudioSet
from avipipe.evaluate.metric import Metric, metric_by
from avipipe.evaluate.metrics import audio_consistency, desync, javis
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.views import FPS, MOTION_PX, Frames, Waves

_WINDOW_S, _OVERLAP_S = 2.0, 1.5  # of JavisDiT's command line; its function has 0.5 and 0
_PICTURES_AT_ONCE = 32
"""Pictures whose views are held at a time: 40 MB, where those of a clip would be 580."""
_SLOW_STEP = round(float(FPS) / imagebind_views.AV_BENCHMARK_FPS)
"""Every so many pictures av-benchmark takes one."""


def _logits(view: CaseView) -> Embeddings:
    """Synchformer's, of both ends of the edit; kept for the other metric."""
    return of_film(view, SynchformerAudioSet, lambda: _measured_logits(view))


def _measured_logits(view: CaseView) -> Embeddings:
    frames_THWC = view.edit_sampled(Fraction(SynchformerAudioSet.fps), MOTION_PX)
    wave_N = heard(view.edit_wave(SynchformerAudioSet.sample_rate_hz))
    return ready(SynchformerAudioSet).logits(frames_THWC, wave_N)


def _pictures(view: CaseView) -> Embeddings:
    """ImageBind's embeddings of the edit's pictures, each by itself."""

    def embed(model: ImageBindHuge, frames_THWC: Frames) -> Embeddings:
        starts = range(0, len(frames_THWC), _PICTURES_AT_ONCE)
        parts = (frames_THWC[start : start + _PICTURES_AT_ONCE] for start in starts)
        return np.concatenate([model.pictures(imagebind_views.picture_views(p)) for p in parts])

    return of_edit(view, ImageBindHuge, embed, "pictures")


def _javis(view: CaseView) -> float:
    frames_TD = _pictures(view)
    rate_hz = imagebind_views.SAMPLE_RATE_HZ
    wave_N = heard(view.edit_wave(rate_hz))
    spans = javis.paired_spans(
        num_frames=len(frames_TD),
        fps=float(FPS),
        num_samples=len(wave_N),
        sample_rate_hz=rate_hz,
        window_s=_WINDOW_S,
        overlap_s=_OVERLAP_S,
    )
    windows = imagebind_views.audio_window_views(wave_N[None], [sound for _, sound in spans])
    windows_MD = [ready(ImageBindHuge).audio(views).mean(axis=0) for views in windows]
    return javis.javis_score(frames_TD, np.stack(windows_MD), [frames for frames, _ in spans])


def _avh(view: CaseView) -> float:
    return javis.avh_score(_pictures(view), _sound(view.edit_wave, 3).mean(axis=0))


def _sound(wave: Callable[[int], Waves], num_clips: int) -> Embeddings:
    """ImageBind's embeddings of clips of a sound."""
    rate_hz = imagebind_views.SAMPLE_RATE_HZ
    views = imagebind_views.audio_views(
        heard(wave(rate_hz))[None], sample_rate_hz=rate_hz, num_clips=num_clips
    )
    return ready(ImageBindHuge).audio(views)


def _consistency(view: CaseView) -> float:
    def embed(model: ImageBindHuge, frames_THWC: Frames) -> Embeddings:
        return model.video(imagebind_views.video_views(frames_THWC, fps=float(FPS)))

    video_KD = of_edit(view, ImageBindHuge, embed, "clips")
    return audio_consistency.audio_consistency(video_KD, _sound(view.edit_wave, 3))


def _ib_score(view: CaseView) -> float:
    def embed(model: ImageBindHuge, frames_THWC: Frames) -> Embeddings:
        return model.video(imagebind_views.av_benchmark_views(frames_THWC[::_SLOW_STEP]))

    if len(view.edit_pictures.motion_THWC) <= _SLOW_STEP:
        raise Undefined("the edit has fewer than two pictures at 0.5 a second")
    video_KD = of_edit(view, ImageBindHuge, embed, "avbench")
    return audio_consistency.ib_score(video_KD, _sound(view.edit_wave, 3))


def _coherent(view: CaseView) -> float:
    def embed(model: ImageBindHuge, frames_THWC: Frames) -> Embeddings:
        return model.video(imagebind_views.video_views(frames_THWC, fps=float(FPS), num_crops=1))

    video_KD = of_edit(view, ImageBindHuge, embed, "coherent")
    return audio_consistency.coherent_consistency(video_KD, _sound(view.source.wave, len(video_KD)))


_metric = partial(metric_by, family="synchrony")


def _of_logits(function: Callable[[npt.NDArray[np.floating]], float]) -> Callable[..., float]:
    return lambda view: function(_logits(view))


_SYNCHFORMER = (
    "Synchformer over the first and the last 4.8 s, 25 pictures a second, short side at most "
    "240 px, mono at 16 kHz."
)
_LICENCE = "Weights are not for commercial use."
_STILLS = "every picture, 24 a second, short side at most 240 px"

JOINT: dict[str, Metric] = {
    "ac.imagebind": _metric(
        _consistency,
        ImageBindHuge,
        "higher",
        "Whether sound and pictures are of the same thing.",
        "Cosine of ImageBind-Huge's mean embeddings, times 100: 5 clips of 2 s in 3 crops from 24 "
        "pictures a second, short side at most 240 px; 3 clips of mono sound at 16 kHz. "
        f"{_LICENCE}",
        "pictures",
        "sound",
    ),
    "desync.synchformer": _metric(
        _of_logits(desync.desync_s),
        SynchformerAudioSet,
        "lower",
        "By how much the sound is off; a multiple of 0.1 s, at most 2 s.",
        f"As av-benchmark's DeSync: mean absolute likeliest offset of {_SYNCHFORMER}",
        "sound",
        unit="s",
    ),
    "desync.expected": _metric(
        _of_logits(desync.expected_abs_desync_s),
        SynchformerAudioSet,
        "lower",
        "The same without steps; about 1 s where the network cannot tell.",
        f"Mean expected absolute offset of {_SYNCHFORMER}",
        "sound",
        unit="s",
    ),
    "javis.score": _metric(
        _javis,
        ImageBindHuge,
        "higher",
        "Whether the pictures that fit the sound least still fit it.",
        "JavisScore as JavisDiT's command has it: windows of 2 s that overlap by 1.5 s, the lowest "
        f"40 % of cosines of ImageBind of pictures with the window's sound, {_STILLS}. {_LICENCE}",
        "pictures",
        "sound",
    ),
    "javis.avh": _metric(
        _avh,
        ImageBindHuge,
        "higher",
        "Whether each picture fits the sound as a whole.",
        "AVHScore of JavisBench: mean cosine of ImageBind of pictures with the whole sound, "
        f"{_STILLS}. {_LICENCE}",
        "pictures",
        "sound",
    ),
    "ac.avbench": _metric(
        _ib_score,
        ImageBindHuge,
        "higher",
        "Whether sound and pictures are of the same thing, as av-benchmark measures it.",
        "IB-score: cosine of ImageBind's mean embeddings, a picture every 2 s shown with the next, "
        f"in 3 crops, short side at most 240 px; 3 clips of mono sound at 16 kHz. {_LICENCE}",
        "pictures",
        "sound",
    ),
    "ac.coherent": _metric(
        _coherent,
        ImageBindHuge,
        "higher",
        "Whether the pictures are of what the source's sound is of, moment by moment.",
        "As CoherentAVEdit: mean cosine of ImageBind of 5 clips of 2 s of the edited pictures, "
        "centre crop, with those of the source's sound, 24 pictures a second, short side at most "
        f"240 px, mono at 16 kHz. {_LICENCE}",
        "pictures",
        "source_sound",
    ),
}
