"""A long video as chunks that share a frame.

The last frame of a chunk, as edited, is the first of the next: there it is given clean, as the one
frame of latent frame 0, and is not written twice. Source: AVI-Edit-Framework@3d6f200, which cuts
chunks of 81 frames; here all are about as long, so that none is too short to be edited well.
"""

from dataclasses import dataclass

from avipipe.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a video that is edited at once.

    Attributes:
        start: its first frame; shared with the chunk before it.
        num_frames: a multiple of the method's frame step, and one.
        video_frames: of the whole video; what a chunk has beyond repeats the last frame.
    """

    index: int
    start: int
    num_frames: int
    video_frames: int

    @property
    def frames(self) -> range:
        """The frames of the video that are in it."""
        return range(self.start, min(self.start + self.num_frames, self.video_frames))

    @property
    def own(self) -> range:
        """The frames that it writes: all but the shared one at its start."""
        return self.frames[min(self.index, 1) :]

    @property
    def num_padding(self) -> int:
        """Repetitions of the last frame at its end."""
        return self.num_frames - len(self.frames)


def plan_chunks(video_frames: int, most_frames: int, frame_step: int) -> list[Chunk]:
    """Cut a video into chunks of `frame_step` n + 1 frames, at most `most_frames`.

    Raises:
        ConfigError: `most_frames` hold no such chunk.
    """
    if most_frames <= frame_step:
        raise ConfigError(
            f"output.chunk_frames: expected {frame_step + 1} or more, as this method edits so many "
            f"frames at once, got {most_frames}"
        )
    groups, most = -(-(video_frames - 1) // frame_step), (most_frames - 1) // frame_step
    count = max(1, -(-groups // most))
    edges = [frame_step * (groups * index // count) for index in range(count + 1)]
    return [
        Chunk(index, edges[index], edges[index + 1] - edges[index] + 1, video_frames)
        for index in range(count)
    ]
