"""What YOLOX sees: tracks of things, and boxes of the one that is looked for by name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import (
    ActiveSpeakers,
    Detection,
    Frames,
    Localization,
    ThingTrack,
)
from avipipe.annotators.coco import KINDS, NAMES
from avipipe.annotators.key_frames import spread
from avipipe.annotators.light.detect import (
    PERSON,
    FaceOrMotionDetector,
    speaking_faces,
)
from avipipe.annotators.light.yolox import FrameDetections, Scores, YoloxNano
from avipipe.annotators.match.table import things_named
from avipipe.annotators.sounding import speaks
from avipipe.annotators.tracking import Chain, find_cuts, link
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

MAX_THINGS = 12
"""Most tracks that are returned: of a crowd or a shelf, the surest ones."""
_LOOKS_HZ = 6
"""Frames looked at in a second; a choice between cost and how far things move from one to the
next."""
_MAX_GAP_S = 0.5
"""Longest time for which a thing may be unseen, three looks; a choice."""
_SURE_SCORE = 0.3
"""Score that a track must reach once, and a thing that is boxed; a choice."""
_NUM_FRAMES = 5
"""Frames in which things are boxed by name; a choice."""


class YoloxDetector(Weighted):
    """Detects and tracks COCO's 80 classes by YOLOX-nano, six times a second.

    As the detector of the sounding instance it boxes what the prompts name. Where COCO has no name
    for that, or nothing of the kind is seen, it does as `faces` does.
    """

    name = "yolox"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("yolox_nano",)
    packages = ("ai-edge-litert", "onnxruntime")
    height_px = 360

    def __init__(self) -> None:
        self._net: YoloxNano | None = None
        self._others = FaceOrMotionDetector()

    def setup(self) -> None:
        """Load the YOLOX network, once.

        Raises:
            WeightsError: it is missing, corrupted or another one.
            ImportError: onnxruntime is not installed (extra `light`).
        """
        cv2.setNumThreads(1)
        self._net = YoloxNano(weights.locate(self.needs[0]))
        self._others.setup()

    def things(self, frames_THWC: Frames, *, fps: Fraction) -> list[ThingTrack]:
        """Tracks of at most twelve things, first those that are seen longest and most surely.

        A track is seen in at least half of the frames looked at while it lasts, twice at least if
        there are two, and reaches a score of 0.3 once.

        Raises:
            AnnotatorError: no frames.
        """
        if frames_THWC.shape[0] == 0:
            raise AnnotatorError(message="expected at least one frame, got none")
        looked = range(0, len(frames_THWC), max(1, round(fps / _LOOKS_HZ)))
        seen = {frame: self._look(frames_THWC[frame]) for frame in looked}
        cuts = find_cuts(frames_THWC) if len(frames_THWC) > 1 else []
        tracks = track_things(seen, cuts, round(_MAX_GAP_S * fps))
        return sorted(tracks, key=lambda track: -sum(track.scores))[:MAX_THINGS]

    def detect(
        self,
        frames_THWC: Frames,
        *,
        fps: Fraction,
        prompts: Sequence[str],
        localization: Localization | None,
        speakers: ActiveSpeakers | None = None,
    ) -> list[Detection]:
        """Detect what the first prompt names that is seen, in up to five frames, best first.

        All things of that name are told, whichever of them sounds. A person is asked for first
        where somebody speaks: then those whose face speaks are told from others by `speakers`, and
        where the network sees no such person, the face alone must do.
        """
        looked = {n: frames_THWC[n] for n in spread(range(len(frames_THWC)), _NUM_FRAMES)}
        sights = {n: self._look(frame) for n, frame in looked.items()} if prompts else {}
        found = self._first_named(looked, sights, prompts)
        faces = speaking_faces(speakers) if list(prompts[:1]) == [PERSON] else []
        if not found or (faces and not any(speaks(thing, faces) for thing in found)):
            return self._others.detect(
                frames_THWC,
                fps=fps,
                prompts=prompts,
                localization=localization,
                speakers=speakers,
            )
        return sorted(found, key=lambda detection: -detection.score)

    def _first_named(
        self,
        looked: Mapping[int, Frames],
        sights: Mapping[int, FrameDetections],
        prompts: Sequence[str],
    ) -> list[Detection]:
        """What the first prompt stands for of which anything is seen, in the frames given."""
        for prompt in prompts:
            names = things_named(prompt)
            if found := [box for n in sights for box in _named(sights[n], n, names)]:
                return found
        return []

    def _look(self, frame_HWC: Frames) -> FrameDetections:
        assert self._net is not None, "setup() comes first"
        return self._net.look(frame_HWC)


def _named(sights: FrameDetections, frame: int, names: Collection[str]) -> Iterator[Detection]:
    """Those of the things whose likeliest class has one of the names."""
    for box_4, scores_K in zip(sights.boxes_N4, sights.scores_NK, strict=True):
        number = int(scores_K.argmax())
        score = float(scores_K[number])
        if NAMES[number] in names and score >= _SURE_SCORE:
            x0, y0, x1, y1 = box_4.tolist()
            yield Detection(frame, (x0, y0, x1, y1), NAMES[number], score)


def track_things(
    seen: Mapping[int, FrameDetections], cuts: Sequence[int], max_gap_frames: int
) -> Iterator[ThingTrack]:
    """Track each class of things for itself: a rider is not taken for the horse."""
    for kind in set(KINDS):
        numbers = {frame: _of_kind(sights, kind) for frame, sights in seen.items()}
        boxes = {frame: seen[frame].boxes_N4[which] for frame, which in numbers.items()}
        for chain in link(boxes, cuts=cuts, max_gap_frames=max_gap_frames):
            scores_NK = np.stack(
                [
                    seen[frame].scores_NK[numbers[frame][number]]
                    for frame, number in zip(chain.frames, chain.numbers, strict=True)
                ]
            )
            if track := _track(chain, scores_NK, looked=list(seen)):
                yield track


def _of_kind(sights: FrameDetections, kind: int) -> npt.NDArray[np.int64]:
    (numbers,) = np.nonzero(np.array(KINDS)[sights.scores_NK.argmax(axis=1)] == kind)
    return numbers


def _track(chain: Chain, scores_NK: Scores, *, looked: Sequence[int]) -> ThingTrack | None:
    """A track that is steady and once sure; None where it is not."""
    label = int(scores_NK.sum(axis=0).argmax())
    first, last = chain.frames[0], chain.frames[-1]
    num_looked = sum(first <= frame <= last for frame in looked)
    if (
        len(chain.frames) < min(2, len(looked))
        or 2 * len(chain.frames) < num_looked
        or scores_NK[:, label].max() < _SURE_SCORE
    ):
        return None
    return ThingTrack(
        label=NAMES[label],
        frames=tuple(chain.frames),
        boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in np.stack(chain.boxes).tolist()),
        scores=tuple(scores_NK[:, label].tolist()),
    )
