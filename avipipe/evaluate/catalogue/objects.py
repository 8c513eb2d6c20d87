"""Metrics of whether the object that was asked for is there: Obj., by CLIP and by a detector."""

import numpy as np

from avipipe.annotators.full.grounding_dino import GroundingDinoDetector
from avipipe.annotators.key_frames import key_frames
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import clip_frames, clip_text, ready
from avipipe.evaluate.extractors.clip import ClipVitB32
from avipipe.evaluate.metric import Metric, metric_by
from avipipe.evaluate.metrics.clip_score import object_accuracy
from avipipe.evaluate.metrics.object_found import share_found
from avipipe.evaluate.views import DETAIL_STEP, FPS


def _by_clip(view: CaseView) -> float:
    labels = view.case.label, view.case.target_label
    texts_KD = np.stack([clip_text(ClipVitB32, f"a photo of a {label}") for label in labels])
    return object_accuracy(clip_frames(view, ClipVitB32), texts_KD, target=1)


def _by_detector(view: CaseView) -> float:
    frames_THWC = view.edit_pictures.detail_THWC
    found = ready(GroundingDinoDetector).detect(
        frames_THWC, fps=FPS / DETAIL_STEP, prompts=[view.case.target_label], localization=None
    )
    return share_found(found, key_frames(frames_THWC))


OBJECTS: dict[str, Metric] = {
    "obj.clip": metric_by(
        _by_clip,
        ClipVitB32,
        "higher",
        "The share of pictures that show the target's class rather than the source's.",
        'CLIP ViT-B/32 between "a photo of a LABEL" of both classes, a tie counts against it, of '
        "all pictures, 24 a second, short side at most 240 px, the middle 224 px seen. AvED leaves "
        "Obj. open: this is a choice, and AvED's 11 classes would give other numbers.",
        "pictures",
        "label",
        "target_label",
        family="text",
    ),
    "obj.det": metric_by(
        _by_detector,
        GroundingDinoDetector,
        "higher",
        "The share of pictures in which a detector finds the target's class.",
        "Grounding DINO (tiny), a box from a score of 0.3 up, in the first, middle, last and "
        "sharpest of every 8th of 24 pictures a second, short side at most 480 px. AvED leaves "
        "Obj. open: this is a choice.",
        "pictures",
        "target_label",
        family="text",
    ),
}
