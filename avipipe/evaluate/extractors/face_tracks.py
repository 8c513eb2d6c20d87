"""Faces of a video by the project's own tracks, in the place of the references' S3FD."""

from fractions import Fraction
from typing import ClassVar

from avipipe import weights
from avipipe.annotators.base import Frames
from avipipe.annotators.faces.detect import FaceDetector
from avipipe.annotators.faces.follow import follow_faces
from avipipe.annotators.faces.track import FaceTrack
from avipipe.annotators.weighted import Weighted


class FaceTracker(Weighted):
    """Follows faces that YuNet finds."""

    name = "yunet"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("yunet",)

    def setup(self) -> None:
        """Load the detector, once.

        Raises:
            WeightsError: it is missing or corrupted.
        """
        (weight,) = self.needs
        self._detector = FaceDetector(weights.locate(weight))

    def tracks(self, frames_THWC: Frames, *, fps: Fraction, least_frames: int) -> list[FaceTrack]:
        """Tracks of faces that last long enough; none of a video without frames.

        Args:
            frames_THWC: RGB frames.
            least_frames: 100 for Sync-C and Sync-D, 50 for LatentSync's variant: constants of
                `metrics.sync`, at 25 frames per second.
        """
        if not len(frames_THWC):
            return []
        return follow_faces(frames_THWC, self._detector, fps=fps, least_frames=least_frames)
