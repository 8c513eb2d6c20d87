"""Metrics by CLIP and ViCLIP: does an edit show what was asked for, and do its pictures match?"""

from collections.abc import Callable
from typing import Any

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import (
    Embeddings,
    clip_frames,
    clip_text,
    of_edit,
    ready,
)
from avipipe.evaluate.extractors.clip import ClipVitB32, ClipVitL14
from avipipe.evaluate.extractors.local_views import cropped_views, masked_views
from avipipe.evaluate.extractors.viclip import ViClipL14
from avipipe.evaluate.metric import Family, Metric, Need, metric_by
from avipipe.evaluate.metrics import clip_score
from avipipe.evaluate.metrics.video_text import video_text_similarity

_PERCENT = 100.0
"""Tables print cosines and shares times this."""
_FRAMES = "of all pictures, 24 a second, short side at most 240 px, the middle 224 px seen"
_MODELS = {"b32": ClipVitB32, "l14": ClipVitL14}


def _of_frames(
    function: Callable[[Embeddings], float], extractor: type[ClipVitB32]
) -> Callable[[CaseView], float]:
    return lambda view: _PERCENT * function(clip_frames(view, extractor))


def _to_target(extractor: type[ClipVitB32]) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        text_D = clip_text(extractor, view.case.target_prompt)
        return _PERCENT * clip_score.text_similarity(clip_frames(view, extractor), text_D)

    return measure


def _temporal(view: CaseView) -> float:
    text_D = clip_text(ClipVitB32, view.case.target_prompt)
    return _PERCENT * clip_score.temporal_semantics(clip_frames(view, ClipVitB32), text_D)


def _semantic(view: CaseView) -> float:
    texts = (clip_text(ClipVitB32, t) for t in (view.case.source_prompt, view.case.target_prompt))
    return clip_score.semantic_accuracy(clip_frames(view, ClipVitB32), *texts)


def _local(show: Callable[..., object]) -> Callable[[CaseView], float]:
    """CLIP-T of the place of the edit alone, in detail."""

    def measure(view: CaseView) -> float:
        _, edit = view.pairs
        shown: Any = show(edit.detail_THWC, view.detail_masks)
        text_D = clip_text(ClipVitL14, view.case.target_prompt)
        return _PERCENT * clip_score.text_similarity(ready(ClipVitL14).images(shown), text_D)

    return measure


def _as_video(view: CaseView) -> float:
    video_D = of_edit(view, ViClipL14, lambda model, frames_THWC: model.video(frames_THWC))
    return video_text_similarity(video_D, ready(ViClipL14).text(view.case.target_prompt))


def _metric(
    measure: Callable[[CaseView], float],
    extractor: type[ClipVitB32],
    words: str,
    protocol: str,
    *needs: Need,
    family: Family = "text",
) -> Metric:
    return metric_by(
        measure, extractor, "higher", words, protocol, "pictures", *needs, family=family
    )


WORDS: dict[str, Metric] = {}
for _name, _model in _MODELS.items():
    _called = f"CLIP ViT-{_name[0].upper()}/{_name[1:]}"
    WORDS |= {
        f"clipt.{_name}": _metric(
            _to_target(_model),
            _model,
            "How well the pictures fit the target prompt.",
            f"Mean cosine of {_called} with the whole prompt, times 100, {_FRAMES}.",
            "target_prompt",
        ),
        f"fc.{_name}": _metric(
            _of_frames(clip_score.adjacent_consistency, _model),
            _model,
            "How alike neighbouring pictures are; a still video has 100.",
            f"Mean cosine of {_called} of consecutive pictures, times 100, {_FRAMES}.",
            family="motion",
        ),
        f"fcall.{_name}": _metric(
            _of_frames(clip_score.all_pairs_consistency, _model),
            _model,
            "How alike all pictures are; a still video has 100.",
            f"Mean cosine of {_called} of all pairs of pictures, times 100 (AudioScenic's CLIP-F), "
            f"{_FRAMES}.",
            family="motion",
        ),
    }
WORDS |= {
    "clipt.masked": _metric(
        _local(masked_views),
        ClipVitL14,
        "How well the place of the edit fits the target prompt.",
        "As FiVE-Bench: CLIP ViT-L/14, black outside of the mask, times 100, of every 8th of 24 "
        "pictures a second.",
        "pairs",
        "mask",
        "target_prompt",
    ),
    "clipt.cropped": _metric(
        _local(cropped_views),
        ClipVitL14,
        "How well the box around the edit fits the target prompt.",
        "CLIP ViT-L/14 of the mask's box, times 100, of every 8th of 24 pictures a second, with "
        "the whole prompt: FlowAnchor takes all pictures and the phrase of the edited thing.",
        "pairs",
        "mask",
        "target_prompt",
    ),
    "sema.b32": _metric(
        _semantic,
        ClipVitB32,
        "The share of pictures that fit the target prompt better than the source's.",
        f"CLIP ViT-B/32, a tie counts against it (AudioScenic's Sem-A), {_FRAMES}.",
        "source_prompt",
        "target_prompt",
    ),
    "temps.b32": _metric(
        _temporal,
        ClipVitB32,
        "Steadiness times fit with the target prompt.",
        f"fcall.b32 / 100 times clipt.b32 (AudioScenic's Temp-S), {_FRAMES}.",
        "target_prompt",
    ),
    "viclip.vbench": metric_by(
        _as_video,
        ViClipL14,
        "higher",
        "How well the video as a whole, with its motion, fits the target prompt.",
        "As VBench's overall consistency: cosine of ViCLIP ViT-L/14 (InternVid-10M-FLT) of 8 "
        "pictures, from the middles of equal parts, with the first 32 tokens of the prompt, "
        f"{_FRAMES}; VBench takes them at the size of the file.",
        "pictures",
        "target_prompt",
        family="text",
    ),
}
