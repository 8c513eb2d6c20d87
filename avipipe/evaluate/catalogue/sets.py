"""Metrics of whole sets of edits: FVD, KVD, FAD and Inception score."""

from collections.abc import Callable
from typing import Any

from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import Embeddings, kept_name, ready
from avipipe.evaluate.extractors import fvd_views
from avipipe.evaluate.extractors.clap import ClapHtsat
from avipipe.evaluate.extractors.cnn14 import Cnn14Audio
from avipipe.evaluate.extractors.i3d import I3dStyleganV, I3dVideoGpt
from avipipe.evaluate.extractors.inception import InceptionFid
from avipipe.evaluate.extractors.vggish import VggishAudio
from avipipe.evaluate.extractors.videomae import VideoMaeV2
from avipipe.evaluate.metric import Need
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.set_metric import FeatureKind, FeaturePair, SetMetric
from avipipe.evaluate.statistics.set_statistics import Frechet, InceptionOfSet, KernelDistance
from avipipe.evaluate.views import Frames, MediaView, Waves

_CLIP_FRAMES = 16
"""Pictures in a row that StyleGAN-V and cd-fvd compare of each video."""
_SEEN = (
    "of the 16 middle pictures in a row of the time that source and edit both last, 24 a second, "
    "short side at most 240 px"
)
_BIASED = "It is biased upward by about 1/N: compare it with its null, and never across N."


def _of_videos(
    extractor: type[Weighted], look: Callable[[Any, Frames], Embeddings], form: str
) -> Callable[[CaseView], FeaturePair]:
    """What a model makes of sixteen pictures; kept by the content of their file."""

    def embed(view: CaseView) -> FeaturePair:
        first = (view.num_frames - _CLIP_FRAMES) // 2
        if first < 0:
            raise Undefined(
                f"source and edit both last {view.num_frames} pictures, and {_CLIP_FRAMES} are "
                "compared"
            )

        def side(media: MediaView, frames_THWC: Frames, derived: str) -> Embeddings:
            shown_BTHWC = frames_THWC[None, first : first + _CLIP_FRAMES]
            height, width = shown_BTHWC.shape[2:4]
            name = kept_name(extractor, f"{form}-{width}x{height}-{first}-{derived}")
            return view.cached(media, name, lambda: look(ready(extractor), shown_BTHWC))

        derived = "frozen" if view.control == "frozen" else ""
        return FeaturePair(
            side(view.source, view.source.pictures.motion_THWC, ""),
            side(view.edit, view.edit_pictures.motion_THWC, derived),
        )

    return embed


def _of_sounds(
    extractor: type[Any], hear: Callable[[Any, Waves], Embeddings]
) -> Callable[[CaseView], FeaturePair]:
    """What a model makes of both sounds, as long as both last; kept by the content of the file."""
    rate_hz: int = extractor.sample_rate_hz

    def embed(view: CaseView) -> FeaturePair:
        waves = [w.mean(axis=0) for w in (view.source.wave(rate_hz), view.edit_wave(rate_hz))]
        num = min(map(len, waves))

        def side(media: MediaView, wave_N: Waves, derived: str) -> Embeddings:
            name = kept_name(extractor, f"{num}-{derived}")
            return view.cached(media, name, lambda: hear(ready(extractor), wave_N[:num]))

        derived = "shifted" if view.control == "shifted" else ""
        pair = FeaturePair(side(view.source, waves[0], ""), side(view.sound, waves[1], derived))
        if not len(pair.edit_MD):
            raise Undefined(
                f"the sounds both last {num / rate_hz:.2f} s: too short for {extractor.name}"
            )
        return pair

    return embed


def _of_middles(view: CaseView) -> FeaturePair:
    """Inception's logits of the middle picture in detail of either."""

    def side(media: MediaView, frames_THWC: Frames, derived: str) -> Embeddings:
        middle = len(frames_THWC) // 2
        shown_THWC = frames_THWC[middle : middle + 1]
        height, width = shown_THWC.shape[1:3]
        name = kept_name(InceptionFid, f"logits-{width}x{height}-{middle}-{derived}")
        return view.cached(
            media, name, lambda: ready(InceptionFid).features(shown_THWC.copy()).logits_NK
        )

    derived = "frozen" if view.control == "frozen" else ""
    return FeaturePair(
        side(view.source, view.source.pictures.detail_THWC, ""),
        side(view.edit, view.edit_pictures.detail_THWC, derived),
    )


_STYLEGANV = FeatureKind(
    "i3d.styleganv",
    _of_videos(
        I3dStyleganV, lambda model, frames: model.logits(fvd_views.styleganv(frames)), "styleganv"
    ),
    ("pictures",),
    (I3dStyleganV,),
)
_CENTRE_CROP = FeatureKind(
    "i3d.centrecrop",
    _of_videos(
        I3dStyleganV,
        lambda model, frames: model.logits(fvd_views.common_styleganv(frames), is_ready=True),
        "centrecrop",
    ),
    ("pictures",),
    (I3dStyleganV,),
)
_CDFVD_I3D = FeatureKind(
    "i3d.cdfvd",
    _of_videos(
        I3dVideoGpt, lambda model, frames: model.logits(fvd_views.cdfvd_array(frames)), "squashed"
    ),
    ("pictures",),
    (I3dVideoGpt,),
)
_CDFVD_VIDEOMAE = FeatureKind(
    "videomae.cdfvd",
    _of_videos(
        VideoMaeV2,
        lambda model, frames: model.features(fvd_views.cdfvd_videomae(frames)),
        "squashed",
    ),
    ("pictures",),
    (VideoMaeV2,),
)
_SOUNDS: tuple[Need, ...] = ("sound", "source_sound")
_VGGISH = FeatureKind(
    "vggish",
    _of_sounds(VggishAudio, VggishAudio.features),
    _SOUNDS,
    (VggishAudio,),
)
_CLAP = FeatureKind(
    "clap",
    _of_sounds(
        ClapHtsat,
        lambda model, wave_N: model.each_second(wave_N, sample_rate_hz=model.sample_rate_hz),
    ),
    _SOUNDS,
    (ClapHtsat,),
)
_CNN14 = FeatureKind("cnn14", _of_sounds(Cnn14Audio, Cnn14Audio.features), _SOUNDS, (Cnn14Audio,))
_INCEPTION = FeatureKind("inception.middle", _of_middles, ("pictures",), (InceptionFid,))

SETS: dict[str, SetMetric] = {
    "fvd.styleganv16": SetMetric(
        _STYLEGANV,
        Frechet(ddof=0),
        "lower",
        "How far the edits as a set are from their sources, in picture and motion.",
        f"As StyleGAN-V: Fréchet distance of I3D's logits {_SEEN}, squashed to 224 px, covariances "
        f"divided by N. {_BIASED}",
    ),
    "fvd.cdfvd_i3d": SetMetric(
        _CDFVD_I3D,
        Frechet(ddof=0),
        "lower",
        "The same by another checkpoint of I3D.",
        f"As cd-fvd has it for arrays: Fréchet distance of I3D's logits {_SEEN}, squashed to "
        "224 px without antialias, covariances divided by N; for files its own loader cuts out the "
        f"middle first. {_BIASED}",
    ),
    "fvd.cdfvd_videomae": SetMetric(
        _CDFVD_VIDEOMAE,
        Frechet(ddof=0),
        "lower",
        "The same by a model that looks at motion more than at content.",
        f"As cd-fvd has it for arrays: Fréchet distance of features of VideoMAE-v2 ViT-g {_SEEN}, "
        f"squashed to 224 px, covariances divided by N. {_BIASED}",
    ),
    "fvd.centrecrop": SetMetric(
        _CENTRE_CROP,
        Frechet(ddof=1),
        "lower",
        "As fvd.styleganv16, of the middle of the picture.",
        f"As common_metrics: Fréchet distance of I3D's logits {_SEEN}, short side 224 px and "
        "centre crop, covariances divided by N - 1; common_metrics takes all pictures of a clip. "
        f"{_BIASED}",
    ),
    "kvd.i3d": SetMetric(
        _STYLEGANV,
        KernelDistance(),
        "lower",
        "The same as fvd.styleganv16 without its bias, so that it serves for few clips; 0 is "
        "chance.",
        "Maximum mean discrepancy with KID's cubic kernel, over pairs of different source videos, "
        f"of I3D's logits {_SEEN}, squashed to 224 px.",
    ),
    "kvd.videomae": SetMetric(
        _CDFVD_VIDEOMAE,
        KernelDistance(),
        "lower",
        "The same by a model that looks at motion more than at content.",
        "Maximum mean discrepancy with KID's cubic kernel, over pairs of different source videos, "
        f"of features of VideoMAE-v2 ViT-g {_SEEN}, squashed to 224 px.",
    ),
    "fad.vggish": SetMetric(
        _VGGISH,
        Frechet(ddof=1),
        "lower",
        "How far the sounds of the edits as a set are from those of their sources.",
        "Fréchet distance of VGGish's embeddings of each whole 0.96 s, mono at 16 kHz, without PCA "
        "and the last rectifier, as frechet-audio-distance and av-benchmark have it, covariances "
        f"divided by N - 1. {_BIASED}",
    ),
    "fad.clap": SetMetric(
        _CLAP,
        Frechet(ddof=1),
        "lower",
        "The same by a model that knows words for sounds.",
        "Fréchet distance of embeddings of LAION-CLAP (HTSAT-tiny, unfused), as fadtk's "
        "clap-laion-audio has it: 10 s from each second on, zeros beyond the end, mono at 48 kHz, "
        "covariances divided by N - 1; without its rounding to 16 bits, and by the checkpoint "
        f"that transformers was made for. {_BIASED}",
    ),
    "fad.cnn14": SetMetric(
        _CNN14,
        Frechet(ddof=1),
        "lower",
        "The same by a model that tells sounds apart.",
        "Fréchet distance of embeddings of PANNs' Cnn14 at 32 kHz, one for each whole sound, mono, "
        "as frechet-audio-distance has them, covariances divided by N - 1; av-benchmark takes the "
        f"network for 16 kHz. {_BIASED}",
    ),
    "is.set": SetMetric(
        _INCEPTION,
        InceptionOfSet(),
        "higher",
        "How sure a classifier is of each edit, and how different the edits are.",
        "Inception score of the FID's Inception-v3, of the middle picture of each edit in detail, "
        "mean over ten splits in StyleGAN-V's order. StyleGAN-V takes C3D of whole clips, so its "
        "numbers are others.",
    ),
}
"""Numbers of all edits of a method together; `METRICS` has those of each."""
