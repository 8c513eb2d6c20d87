"""Metrics of lips and voice by SyncNet: Sync-C, Sync-D and their offset."""

from collections.abc import Callable
from dataclasses import astuple, fields
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from avipipe.annotators.faces.mfcc import to_int16
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.catalogue.embeddings import kept_name, of_film, ready
from avipipe.evaluate.extractors.face_tracks import FaceTracker
from avipipe.evaluate.extractors.syncnet import SyncNetV2, of_track
from avipipe.evaluate.metric import Metric, Sense
from avipipe.evaluate.metrics.sync import (
    LATENTSYNC_LEAST_FRAMES,
    LEAST_FRAMES,
    LipSync,
    distances_at_offsets,
    latentsync,
    lip_sync,
    share_in_sync,
)
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.views import DETAIL_PX


def _tracks(view: CaseView, least_frames: int) -> npt.NDArray[np.float64]:
    """How lips go with the voice, (tracks, fields of `LipSync`); kept for the other metrics."""
    form = "" if least_frames == LEAST_FRAMES else f"{least_frames}-"
    name = kept_name(FaceTracker, form)
    found = of_film(view, SyncNetV2, lambda: _measured(view, least_frames), name)
    return np.asarray(found, np.float64)


def _measured(view: CaseView, least_frames: int) -> npt.NDArray[np.float64]:
    fps = Fraction(SyncNetV2.fps)
    frames_THWC = view.edit_sampled(fps, DETAIL_PX)
    samples_N = to_int16(view.edit_wave(SyncNetV2.sample_rate_hz).mean(axis=0))
    tracks = ready(FaceTracker).tracks(frames_THWC, fps=fps, least_frames=least_frames)
    found = np.zeros((len(tracks), len(fields(LipSync))))
    for row, track in enumerate(tracks):
        features = ready(SyncNetV2).features(*of_track(frames_THWC, samples_N, track))
        found[row] = astuple(lip_sync(distances_at_offsets(*features)))
    return found


def _followed(view: CaseView) -> npt.NDArray[np.float64]:
    found = _tracks(view, LEAST_FRAMES)
    if not len(found):
        raise Undefined("no face was followed for 4 s")
    return found


def _mean(column: int) -> Callable[[CaseView], float]:
    return lambda view: float(_followed(view)[:, column].mean())


def _offset_s(view: CaseView) -> float:
    return float(np.abs(_followed(view)[:, 0]).mean() / SyncNetV2.fps)


def _in_sync(view: CaseView) -> float:
    return share_in_sync([round(offset) for offset in _followed(view)[:, 0]])


def _latentsync(view: CaseView) -> tuple[int, float]:
    """Offset in pictures and confidence of the film."""
    rows = _tracks(view, LATENTSYNC_LEAST_FRAMES)
    if not len(rows):
        raise Undefined("no face was followed for 2 s")
    return latentsync([LipSync(round(row[0]), *row[1:].tolist()) for row in rows])


def _metric(
    measure: Callable[[CaseView], float],
    sense: Sense,
    words: str,
    protocol: str,
    unit: str = "",
    least_s: int = 4,
) -> Metric:
    return Metric(
        measure=measure,
        needs=("sound",),
        sense=sense,
        family="synchrony",
        words=words,
        protocol=f"{protocol} SyncNet v2 over tracks of faces of at least {least_s} s by YuNet, "
        "not by S3FD; 25 pictures a second, short side at most 480 px, mono at 16 kHz, offsets of "
        "up to 15 pictures; mean over tracks.",
        unit=unit,
        extractors=(SyncNetV2, FaceTracker),
    )


LIPS: dict[str, Metric] = {
    "syncc.syncnet": _metric(
        _mean(1),
        "higher",
        "How sure lips go with the voice, at whatever offset.",
        "Sync-C (LSE-C).",
    ),
    "syncd.syncnet": _metric(
        _mean(2), "lower", "How far lips are from the voice, at the best offset.", "Sync-D (LSE-D)."
    ),
    "syncc.at0": _metric(
        _mean(3), "higher", "How sure lips go with the voice as it stands.", "Sync-C at offset 0."
    ),
    "syncd.at0": _metric(
        _mean(4), "lower", "How far lips are from the voice as it stands.", "Sync-D at offset 0."
    ),
    "syncoffset.syncnet": _metric(
        _offset_s,
        "lower",
        "By how much lips and voice are apart, at most 0.6 s; without a voice it is chance.",
        "Absolute offset at which Sync-D is least.",
        unit="s",
    ),
    "syncoffset.share": _metric(
        _in_sync,
        "higher",
        "The share of faces whose lips go with the voice within a picture.",
        "Share of tracks whose offset is at most one picture, 40 ms.",
    ),
    "syncc.latentsync": _metric(
        lambda view: _latentsync(view)[1],
        "higher",
        "The same over shorter stretches of a face too, as LatentSync measures it.",
        "Confidence as LatentSync has it; films in which no face is followed are undefined here, "
        "and left out there.",
        least_s=2,
    ),
    "syncoffset.latentsync": _metric(
        lambda view: _latentsync(view)[0] / SyncNetV2.fps,
        "none",
        "By how much the voice comes early, or late where it is negative.",
        "Offset as LatentSync has it: the mean over tracks, cut towards 0 to a whole picture.",
        unit="s",
        least_s=2,
    ),
}
"""Columns are those of what is kept of a track. At the best offset both are blind to a constant
one of up to 0.6 s; at offset 0 they are not."""
