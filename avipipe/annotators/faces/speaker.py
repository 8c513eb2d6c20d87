"""Finds faces and tells which of them speaks: YuNet, LR-ASD, and a test of lips against sound."""

from fractions import Fraction
from typing import Any, ClassVar

import cv2
import numpy as np

from avipipe import weights
from avipipe.annotators.base import ActiveSpeakers, Box, Frames, SpeakerTrack, Wave
from avipipe.annotators.faces.crop import MIN_FRAMES, crop
from avipipe.annotators.faces.detect import FaceDetector, Points
from avipipe.annotators.faces.follow import follow_faces
from avipipe.annotators.faces.mfcc import (
    ROWS_PER_FRAME,
    SAMPLE_RATE_HZ,
    Cepstra,
    mfcc_of_frames,
)
from avipipe.annotators.faces.sync import Curve, mouth_motion, mouth_sync, sound_curves
from avipipe.annotators.faces.track import FaceTrack
from avipipe.annotators.loading import device
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

_SHORTEST_S = 0.5
"""Shortest track that is scored; a choice."""


class FaceSpeaker(Weighted):
    """Tracks faces, scores each with LR-ASD, and tests apart whether its mouth goes with the sound.

    Faces are looked for eight times a second. The network has the weights that were trained on
    AVA-ActiveSpeaker, whose scores fall in silence.
    """

    name = "lr_asd"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("yunet", "lr_asd")
    packages = ("torch",)
    height_px = 360

    def __init__(self) -> None:
        self._detector: FaceDetector | None = None
        self._net: Any = None

    def setup(self) -> None:
        """Load both networks; LR-ASD on the GPU if there is one.

        Raises:
            WeightsError: one is missing or corrupted.
            ImportError: torch is not installed (extra `light`).
        """
        faces, speaking = (weights.locate(name) for name in self.needs)
        import torch

        from avipipe.annotators.faces import lr_asd

        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self._detector = FaceDetector(faces)
        self._net = lr_asd.load(speaking, device=device())

    def score(
        self, frames_THWC: Frames, *, fps: Fraction, wav_N: Wave, sample_rate_hz: int
    ) -> ActiveSpeakers:
        """Find the faces that are there for half a second or more, and score each in every frame.

        Returns:
            Tracks in the order of their first frames, then from left to right. The sync fields are
            None where a track is shorter than 3.5 s, its mouth still, or the sound steady.
        Raises:
            AnnotatorError: no frames, or broken audio.
        """
        if frames_THWC.shape[0] == 0:
            raise AnnotatorError(message="expected at least one frame, got none")
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        frames_THWC = np.ascontiguousarray(frames_THWC)
        tracks = self._tracks(frames_THWC, fps)
        if not tracks:
            return ActiveSpeakers((), confidence=1.0)
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=SAMPLE_RATE_HZ)
        num_frames = len(frames_THWC)
        mfcc_RK = mfcc_of_frames(wav_N, fps=fps, num_frames=num_frames)
        sound_TK = sound_curves(
            wav_N, sample_rate_hz=SAMPLE_RATE_HZ, fps=fps, num_frames=num_frames
        )
        return ActiveSpeakers(
            tuple(self._speaker(track, frames_THWC, mfcc_RK, sound_TK, fps) for track in tracks),
            confidence=1.0,
        )

    def _tracks(self, frames_THWC: Frames, fps: Fraction) -> list[FaceTrack]:
        assert self._detector is not None, "setup() comes first"
        least_frames = max(MIN_FRAMES, round(_SHORTEST_S * fps))
        return follow_faces(frames_THWC, self._detector, fps=fps, least_frames=least_frames)

    def _speaker(
        self,
        track: FaceTrack,
        frames_THWC: Frames,
        mfcc_RK: Cepstra,
        sound_TK: Curve,
        fps: Fraction,
    ) -> SpeakerTrack:
        from avipipe.annotators.faces.lr_asd import speaking_scores

        first, end = track.frames.start, track.frames.stop
        seen_THWC = frames_THWC[first:end]
        scores_T = speaking_scores(
            self._net,
            crop(seen_THWC, track.boxes_T4),
            mfcc_RK[ROWS_PER_FRAME * first : ROWS_PER_FRAME * end],
        )
        motion_T = mouth_motion(seen_THWC, track.landmarks_T52)
        sync = mouth_sync(motion_T, sound_TK[first:end], fps=fps)
        return SpeakerTrack(
            frames=tuple(track.frames),
            boxes=_inside(track.boxes_T4, frames_THWC.shape[2], frames_THWC.shape[1]),
            scores=tuple(scores_T.tolist()),
            sync_correlation=sync.correlation if sync else None,
            sync_p_value=sync.p_value if sync else None,
            sync_lag_s=sync.lag_s if sync else None,
        )


def _inside(boxes_T4: Points, width: int, height: int) -> tuple[Box, ...]:
    """Boxes without what lies beyond the frame."""
    clipped = np.clip(boxes_T4, 0.0, (width, height, width, height))
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in clipped.tolist())
