"""Metrics of pictures by LPIPS, DINO and Inception."""

from collections.abc import Callable
from functools import partial

import numpy as np

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import of_edit, ready
from avipipe.evaluate.catalogue.pictures import DETAIL
from avipipe.evaluate.extractors import dino_views
from avipipe.evaluate.extractors.dino import (
    Dinov2VitB14,
    DinoVitB8,
    DinoVitB16,
    DinoVitS16,
    View,
)
from avipipe.evaluate.extractors.inception import InceptionFid
from avipipe.evaluate.extractors.local_views import blacked_out, cropped_views
from avipipe.evaluate.extractors.lpips import LpipsAlex, LpipsSqueeze
from avipipe.evaluate.metric import Metric, metric_by
from avipipe.evaluate.metrics import dino_similarity, lpips, structure_distance
from avipipe.evaluate.statistics.inception_score import inception_score_of_clip
from avipipe.evaluate.views import Frames

_THOUSAND = 1e3
"""Tables print LPIPS and structure distances times this."""


def _detail(view: CaseView) -> tuple[Frames, Frames]:
    source, edit = view.pairs
    return source.detail_THWC, edit.detail_THWC


def _lpips(view: CaseView) -> float:
    return lpips.mean_lpips(ready(LpipsAlex).distances(*_detail(view)))


def _lpips_outside(view: CaseView) -> float:
    return lpips.lpips_outside(ready(LpipsAlex).maps(*_detail(view)), view.detail_masks)


def _lpips_zero_fill(view: CaseView) -> float:
    source, edit = (blacked_out(each, ~view.detail_masks) for each in _detail(view))
    return _THOUSAND * lpips.mean_lpips(ready(LpipsSqueeze).distances(source, edit))


def _dino(view: CaseView) -> float:
    source, edit = (ready(DinoVitS16).cls(each) for each in _detail(view))
    return dino_similarity.frame_similarity(source, edit)


def _dino_cropped(view: CaseView) -> float:
    source, edit = (
        ready(Dinov2VitB14).cls(cropped_views(each, view.detail_masks), view=dino_views.crops)
        for each in _detail(view)
    )
    return dino_similarity.frame_similarity(source, edit)


def _layout(view: CaseView) -> float:
    source, edit = (ready(DinoVitB8).keys(each) for each in _detail(view))
    return dino_similarity.layout_similarity(source, edit)


def _structure(seen: View) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        source, edit = (ready(DinoVitB8).keys(each, view=seen) for each in _detail(view))
        return _THOUSAND * structure_distance.structure_distance(source, edit)

    return measure


def _subject(view: CaseView) -> float:
    features_TD = of_edit(
        view,
        DinoVitB16,
        lambda model, frames_THWC: model.cls(frames_THWC, view=dino_views.vbench),
        "vbench",
    )
    return dino_similarity.subject_consistency(features_TD)


def _inception(view: CaseView) -> float:
    frames_THWC = np.ascontiguousarray(view.edit_pictures.detail_THWC)
    return inception_score_of_clip(ready(InceptionFid).features(frames_THWC).logits_NK)


_metric = partial(metric_by, family="picture")


NETWORKS: dict[str, Metric] = {
    "lpips.alex": _metric(
        _lpips,
        LpipsAlex,
        "none",
        "How different edit and source look, everywhere.",
        f"LPIPS 0.1 on AlexNet, of {DETAIL}.",
        "pairs",
    ),
    "lpips.map": _metric(
        _lpips_outside,
        LpipsAlex,
        "lower",
        "How different both look outside of the mask.",
        f"Mean of LPIPS' map on AlexNet outside of the mask, of {DETAIL}.",
        "pairs",
        "mask",
    ),
    "lpips.zerofill": _metric(
        _lpips_zero_fill,
        LpipsSqueeze,
        "lower",
        "How different both look with the mask blacked out.",
        f"As FiVE-Bench: LPIPS 0.1 on SqueezeNet, times 1,000, of {DETAIL}.",
        "pairs",
        "mask",
        unit="1e-3",
    ),
    "dino.cls": _metric(
        _dino,
        DinoVitS16,
        "none",
        "How alike edit and source are by their content.",
        f"Mean cosine of class features of DINO ViT-S/16, picture by picture, of {DETAIL}.",
        "pairs",
    ),
    "dino.cropped": _metric(
        _dino_cropped,
        Dinov2VitB14,
        "none",
        "How alike the edited place and the source's are by their content.",
        "As FlowAnchor's L.DINO: cosine of class features of DINOv2 ViT-B/14 of the mask's box, of "
        f"{DETAIL}; FlowAnchor takes all pictures.",
        "pairs",
        "mask",
    ),
    "dino.layout": _metric(
        _layout,
        DinoVitB8,
        "none",
        "How alike the layouts of edit and source are; 1 is the same.",
        f"Normalised difference of self-similarities of keys of DINO ViT-B/8, of {DETAIL}.",
        "pairs",
    ),
    "structdist.dino": _metric(
        _structure(dino_views.whole),
        DinoVitB8,
        "none",
        "How far the edit's layout is from the source's; 0 is the same.",
        "Mean squared difference of self-similarities of keys of DINO ViT-B/8, times 1,000, of "
        f"{DETAIL}.",
        "pairs",
        unit="1e-3",
    ),
    "structdist.pie": _metric(
        _structure(dino_views.whole_pie),
        DinoVitB8,
        "none",
        "The same with the range of colours of PIE-Bench and FiVE-Bench.",
        "As structdist.dino, of colours in 0 to 255 where the network expects 0 to 1, of "
        f"{DETAIL}.",
        "pairs",
        unit="1e-3",
    ),
    "is.clip": _metric(
        _inception,
        InceptionFid,
        "higher",
        "How much what is seen changes within the clip; a still video has 1.",
        "Inception score of the FID's Inception-v3 over the pictures of one edit; tables near 1.1 "
        f"are likely means of it. Of {DETAIL}.",
        "pictures",
    ),
    "subject.vbench": _metric(
        _subject,
        DinoVitB16,
        "higher",
        "How steady the subject is; a still video has 1.",
        "As VBench's subject consistency: cosines of DINO ViT-B/16 with the previous and the first "
        "picture, 24 pictures a second, short side at most 240 px.",
        "pictures",
        family="motion",
    ),
}
