"""Metrics of the mask that an edit came out with."""

from collections.abc import Callable

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics.davis import MaskAgreement, mask_agreement

_PROTOCOL = (
    "As DAVIS 2017, of one object, with the first and the last picture, at 24 masks a second, "
    "short side at most 480 px; both empty counts as 1."
)


def _agreement(part: Callable[[MaskAgreement], float]) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        assert view.mask is not None
        assert view.edit_mask is not None
        size = view.source.own_sizes[1]
        truth, found = (each.masks(view.num_frames, size) for each in (view.mask, view.edit_mask))
        return part(mask_agreement(truth, found, given_ends=False))

    return measure


def _metric(part: Callable[[MaskAgreement], float], words: str) -> Metric:
    return Metric(
        measure=_agreement(part),
        needs=("both_masks",),
        sense="higher",
        family="mask",
        words=words,
        protocol=_PROTOCOL,
    )


MASKS: dict[str, Metric] = {
    "jf.davis": _metric(lambda found: found.jf, "How well the edit's own mask fits the given one."),
    "j.davis": _metric(lambda found: found.j, "The share of both masks that they have in common."),
    "f.davis": _metric(lambda found: found.f, "How well their outlines lie on each other."),
}
