"""Metrics of how steady an edit's pictures are."""

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.metrics.warp_error import dis_flows, warp_error

_CHUNK = 24
"""Pairs of pictures whose flow is held at a time: 20 MB, where that of a clip would be 400."""


def _warp_error(view: CaseView) -> float:
    frames_THWC = view.edit_pictures.motion_THWC
    num_pairs = len(frames_THWC) - 1
    if num_pairs < 1:
        raise Undefined("the edit has one picture: nothing moves")
    total = 0.0
    for start in range(0, num_pairs, _CHUNK):
        chunk = frames_THWC[start : start + _CHUNK + 1]
        total += warp_error(chunk, dis_flows(chunk)).valid * (len(chunk) - 1)
    return total / num_pairs


MOTION: dict[str, Metric] = {
    "warp.dis": Metric(
        measure=_warp_error,
        needs=("pictures",),
        sense="lower",
        family="motion",
        unit="1e-3",
        words="How much pictures flicker along the motion; a still video has none.",
        protocol="Mean squared error of each picture against the next, sampled along DIS' optical "
        "flow, of pixels that stay in the picture, times 1,000; 24 pictures a second, short side "
        "at most 240 px. Papers take RAFT's flow, so their numbers are others.",
    ),
}
