"""How good mask tracks of known truth are, and whether their predicted quality says so."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from composites import Track
from propagation import boundary_accuracy, region_similarity
from scipy.stats import spearmanr

from avipipe.annotators import track_signs
from avipipe.annotators.base import (
    Box,
    Detection,
    FrameMask,
    Frames,
    Mask,
    Propagator,
    Segmenter,
    ThingFinder,
    ThingTrack,
)
from avipipe.annotators.instance import (
    Instance,
    Seed,
    cycle_consistency,
    find_instance,
    propagate_seed,
)
from avipipe.annotators.mask_quality import bounding_box, box_overlap
from avipipe.media.normalize import FPS
from avipipe.stages.mask import RETURN_FRAMES

THRESHOLD_JF = 0.68
"""Predicted J&F from which tracks are looked at by themselves; half of all pass it."""

BAD_JF = 0.6
SAME_BOX = 0.5


@dataclass(frozen=True)
class Scored:
    """A track that was followed.

    Attributes:
        carried_jf: J&F of the mask that is only carried from the first one.
        jf: with everything that corrects it.
        signs: see `track_signs.signs`.
    """

    name: str
    source: str
    given: str
    carried_jf: float | None
    jf: float
    signs: Mapping[str, float | None]
    cpu_s: float

    @property
    def predicted(self) -> float:
        return track_signs.predicted_jf(self.signs)


class Follower:
    """Follows things with the backends of a profile."""

    def __init__(self, backends: Mapping[str, Any]) -> None:
        self._detector = backends["detect"]
        self._segmenter: Segmenter = backends["segment"]
        self._propagator: Propagator = backends["propagate"]

    def score(self, track: Track, given: str) -> Scored:
        """J&F of one track.

        Args:
            given: `mask`, the true one of its first frame, as DAVIS does; or `box`: the boxes of
                what the detector has seen of the thing, as the stage is given them.
        """
        began_s = time.process_time()
        things = self._things(track.frames_THWC)
        sights = [sight for thing in things for sight in _detections(thing)]
        first = track.known[0]
        carried_jf = None
        if given == "mask":
            seed = _true_seed(track, first)
            instance: Instance | None = propagate_seed(
                track.frames_THWC,
                seed,
                sights,
                segmenter=self._segmenter,
                propagator=self._propagator,
            )
            plain = self._propagator.propagate(
                track.frames_THWC, seed_frame=first, seed_mask_HW=seed.segment.mask_HW
            )
            carried_jf = j_and_f(plain.masks_THW, track)
        else:
            instance = find_instance(
                track.frames_THWC,
                _seen(track, things) or [_true_seed(track, first).detection],
                segmenter=self._segmenter,
                propagator=self._propagator,
                max_seeds=3,
                min_agreement=0.8,
                sights=sights,
            )
        if instance is None:
            return Scored(track.name, track.source, given, carried_jf, 0.0, {}, 0.0)
        returned = cycle_consistency(
            track.frames_THWC, instance, self._propagator, stretch=RETURN_FRAMES
        )
        signs = track_signs.signs(track.frames_THWC, instance, sights, returned)
        jf = j_and_f(instance.track.masks_THW, track)
        spent_s = time.process_time() - began_s
        return Scored(track.name, track.source, given, carried_jf, jf, signs, spent_s)

    def _things(self, frames_THWC: Frames) -> list[ThingTrack]:
        if not isinstance(self._detector, ThingFinder):
            return []
        return self._detector.things(frames_THWC, fps=FPS)


def j_and_f(masks_THW: Mask, track: Track) -> float:
    """Mean of region similarity and boundary accuracy, the first and the last frame left out."""
    frames = track.known[1:-1]
    pairs = [(masks_THW[frame], track.truth_THW[frame]) for frame in frames]
    return float(
        np.mean([(region_similarity(*pair) + boundary_accuracy(*pair)) / 2 for pair in pairs])
    )


def table(rows: Sequence[Scored], threshold: float) -> Iterator[str]:
    """Every track, then what each group comes to and what passes the threshold."""
    yield "| track | given | J&F carried | J&F | predicted | passes |"
    yield "|---|---|---:|---:|---:|---|"
    for row in rows:
        plain = "" if row.carried_jf is None else f"{row.carried_jf:.3f}"
        passes = "yes" if row.predicted >= threshold else ""
        yield (
            f"| {row.name} | {row.given} | {plain} | {row.jf:.3f} | {row.predicted:.3f} "
            f"| {passes} |"
        )
    yield ""
    yield f"| kind | given | tracks | J&F carried | J&F | pass {threshold:g} | their J&F | < 0.6 |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for name, given, group in _groups(rows):
        passing = [row.jf for row in group if row.predicted >= threshold]
        bad = np.mean([jf < BAD_JF for jf in passing]) if passing else float("nan")
        mean = np.mean(passing) if passing else float("nan")
        carried_jfs = [row.carried_jf for row in group if row.carried_jf is not None]
        before = f"{np.mean(carried_jfs):.3f}" if carried_jfs else ""
        yield (
            f"| {name} | {given} | {len(group)} | {before} "
            f"| {np.mean([row.jf for row in group]):.3f} | {len(passing)} | {mean:.3f} "
            f"| {bad:.0%} |"
        )


def _groups(rows: Sequence[Scored]) -> Iterator[tuple[str, str, list[Scored]]]:
    for given in dict.fromkeys(row.given for row in rows):
        of_given = [row for row in rows if row.given == given]
        kinds = dict.fromkeys(row.name.partition(" ")[2] or "DAVIS" for row in of_given)
        for kind in kinds:
            group = [row for row in of_given if (row.name.partition(" ")[2] or "DAVIS") == kind]
            yield kind, given, group
        made = [row for row in of_given if " " in row.name]
        if made:
            yield "**all composites**", given, made


def calibration(jf_N: npt.ArrayLike, predicted_N: npt.ArrayLike) -> Iterator[str]:
    """Rank correlation, mean error, and what the predictions of each fifth came to."""
    jf, predicted = np.asarray(jf_N), np.asarray(predicted_N)
    rank = spearmanr(jf, predicted).statistic
    yield f"rank correlation {rank:.3f}, mean error {np.abs(jf - predicted).mean():.3f}"
    for part in np.array_split(np.argsort(predicted), 5):
        if part.size:
            yield f"predicted {predicted[part].mean():.2f}: J&F {jf[part].mean():.2f}"


def _true_seed(track: Track, frame: int) -> Seed:
    mask_HW = track.truth_THW[frame]
    box = bounding_box(mask_HW)
    assert box is not None, f"{track.name} is not seen in frame {frame}"
    return Seed(Detection(frame, box, track.label, 1.0), FrameMask(mask_HW, None))


def _detections(thing: ThingTrack) -> Iterator[Detection]:
    for frame, box, score in zip(thing.frames, thing.boxes, thing.scores, strict=True):
        yield Detection(frame, box, thing.label, score)


def _seen(track: Track, things: Iterable[ThingTrack]) -> list[Detection]:
    """The boxes of the detector's thing that is longest on the true one, and mostly there."""
    best: list[Detection] = []
    most = 0
    for thing in things:
        found = list(_detections(thing))
        right = sum(_overlap(track.truth_THW[each.frame], each.box) >= SAME_BOX for each in found)
        if right > max(most, len(found) / 2):
            best, most = found, right
    return sorted(best, key=lambda each: -each.score)


def _overlap(mask_HW: Mask, box: Box) -> float:
    own = bounding_box(mask_HW)
    return 0.0 if own is None else box_overlap(own, box)
