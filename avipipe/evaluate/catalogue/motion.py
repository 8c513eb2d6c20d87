"""Metrics of how steady an edit's pictures are, and of whether they move as the source's."""

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.extractors.dis_tracks import TRACKS_VERSION, dis_tracks
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics.motion_fidelity import Tracks, box_five, fidelity_moving
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.metrics.warp_error import dis_flows, warp_error
from avipipe.evaluate.views import Frames, MediaView

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


def _fidelity(view: CaseView) -> float:
    return fidelity_moving(*_both_tracks(view))


def _fidelity_in_box(view: CaseView) -> float:
    place = view.mask or view.edit_mask
    assert place is not None
    box_HW = box_five(place.masks(view.num_frames, view.sizes[0]))
    edit, source = (_beginning_in(each, box_HW) for each in _both_tracks(view))
    return fidelity_moving(edit, source)


def _both_tracks(view: CaseView) -> tuple[Tracks, Tracks]:
    """Of edit and source; kept by the content of their files."""

    def tracks(media: MediaView, frames_THWC: Frames, derived: str) -> Tracks:
        num_frames, height, width = frames_THWC.shape[:3]
        name = f"dis_tracks-{TRACKS_VERSION}-{width}x{height}-{num_frames}-{derived}"
        return view.cached(media, name, lambda: dis_tracks(frames_THWC))

    source, edit = view.pairs
    derived = "frozen" if view.control == "frozen" else ""
    return (
        tracks(view.edit, edit.motion_THWC, derived),
        tracks(view.source, source.motion_THWC, ""),
    )


def _beginning_in(tracks_WPTC: Tracks, place_HW: npt.NDArray[np.bool_]) -> Tracks:
    """Tracks that begin in a part of the picture; all windows begin with the same points."""
    columns, rows = tracks_WPTC[0, :, 0].astype(int).T
    return tracks_WPTC[:, place_HW[rows, columns]]


_FOLLOWED = (
    "Mean of the best match of every track that moves, of edit and source, by the cosine of its "
    "steps over a sixth of a second, at least half a pixel long; tracks of a second along DIS' "
    "optical flow, from points every 8 px{where}, as far as flow forth and back agree; 24 pictures "
    "a second, short side at most 240 px. Papers follow points by CoTracker over whole clips, so "
    "their numbers are others."
)

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
    "motion_fidelity.dis": Metric(
        measure=_fidelity,
        needs=("pairs",),
        sense="higher",
        family="motion",
        words="Whether what moves in edit and source moves alike; 1 is the same, a still video "
        "has 0.",
        protocol=_FOLLOWED.format(where=""),
    ),
    "motion_fidelity.dis_box": Metric(
        measure=_fidelity_in_box,
        needs=("pairs", "mask"),
        sense="higher",
        family="motion",
        words="The same of what begins in the box of the mask.",
        protocol=_FOLLOWED.format(
            where=" within the box of all masks of the clip, as FiVE-Bench cuts it"
        ),
    ),
}
