"""From any video to the frames and the sound that are edited, and from edited frames to a file."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from avipipe.annotators.base import Frames
from avipipe.editor.common.media import Take, covering_size
from avipipe.editor.edit.chunks import Chunk, plan_chunks
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.method import Canvas
from avipipe.files import written_whole
from avipipe.manifests.samples import FPS
from avipipe.media import decode
from avipipe.media.container import INPUT_OPTIONS, open_media
from avipipe.media.decode import iter_frames
from avipipe.media.dubbed import dubbed
from avipipe.media.ffmpeg import file_url, run
from avipipe.media.normalize import (
    AUDIO_NAME,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    VIDEO_NAME,
    NormalizeConfig,
    normalize,
)
from avipipe.media.probe import MediaInfo, probe

logger = logging.getLogger(__name__)

_NEARLY_LOSSLESS = 4
"""Constant rate factor of x264, where 0 is without loss; a choice."""
_LEAST_PX = 64
"""Least short side that is decoded to, as `NormalizeConfig` has it."""
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Source:
    """A video, ready to be edited.

    Attributes:
        take: all its frames, and the part of the scaled picture that is edited.
        canvas: how it is edited.
        shape: width and height of the original in square pixels, upright.
        sound: FLAC, 48 kHz, exactly as long as the frames; silent where there was none.
        has_sound: whether there was any.
        info: what was measured of the original.
    """

    footage: Footage
    take: Take
    canvas: Canvas
    shape: tuple[int, int]
    sound: Path
    has_sound: bool
    info: MediaInfo

    def chunks(self) -> list[Chunk]:
        """What is edited at once, one after the other."""
        canvas = self.canvas
        return plan_chunks(self.take.num_frames, canvas.most_frames, canvas.frame_step)


def prepare(
    path: Path,
    folder: Path,
    canvas_for: Callable[[tuple[float, float]], Canvas],
) -> Source:
    """Normalise a video: 24 fps, upright, scaled to just cover the size that is edited, cut to it.

    Args:
        folder: gets the frames and `audio.flac`; what is there already is used.
        canvas_for: from the shape (width, height) of the video to how it is edited.
    Raises:
        MediaError: it cannot be read; `kind` says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = dubbed(path, folder)
    info, num_frames = found.info, found.num_frames
    start_s, end_s = info.video.start_s, info.video.end_s
    canvas = canvas_for((float(info.video.shape[0]), float(info.video.shape[1])))
    width, height = canvas.width_px, canvas.height_px
    scaled = _covering(info, (height, width))
    take = Take(
        start=0,
        num_frames=num_frames,
        scaled_px=scaled,
        top_px=(scaled[0] - height) // 2,
        left_px=(scaled[1] - width) // 2,
        height_px=height,
        width_px=width,
    )
    footage, done = Footage(folder / "frames"), folder / "prepared"
    if not done.exists():
        config = NormalizeConfig(
            short_side_px=min(scaled), max_long_side_px=max(scaled) + 2, crf=_NEARLY_LOSSLESS
        )
        normalize(found.path, info, start_s=start_s, end_s=end_s, folder=folder, config=config)
        footage.write_all(_frames(folder / VIDEO_NAME, take))
        (folder / VIDEO_NAME).unlink()
        done.touch()
    return Source(footage, take, canvas, found.shape, folder / AUDIO_NAME, found.has_sound, info)


def fit_sound(path: Path, num_frames: int, out: Path) -> None:
    """Write the sound of any file as FLAC, 48 kHz, stereo, exactly as long as so many frames."""
    sound = (
        ffmpeg.input(file_url(path), **INPUT_OPTIONS)
        .audio.filter("aresample", SAMPLE_RATE_HZ)
        .filter("aformat", sample_fmts="s16", channel_layouts="stereo")
        .filter("apad", whole_len=num_frames * SAMPLES_PER_FRAME)
        .filter("atrim", end_sample=num_frames * SAMPLES_PER_FRAME)
    )
    with written_whole(out) as draft:
        written = ffmpeg.output(sound, f"file:{draft}", format="flac", **{"c:a": "flac"})
        run(list(written.compile()[1:]), timeout_s=_TIMEOUT_S)


def write_video(
    path: Path, frames: Iterable[Frames], sound: Path, *, crf: int, fps: int = FPS
) -> None:
    """Write frames (H, W, 3) and a sound as H.264 and AAC in MP4, whole or not at all.

    Both start at 0; the sound is as long as its file.

    Args:
        fps: frames a second, a whole part of the rate of the sound.
    """
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with (
        written_whole(path) as draft,
        av.open(str(draft), "w", format="mp4", container_options=options) as container,
    ):
        video, audio = None, container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo")
        audio.bit_rate = 192_000
        heard, num_heard = _sound(sound), 0
        for number, frame_HWC in enumerate(frames):
            if video is None:
                video = _h264(container, frame_HWC.shape[:2], crf, fps)
            container.mux(video.encode(_picture(frame_HWC, number, fps)))
            due = (number + 1) * SAMPLE_RATE_HZ // fps
            while num_heard < due and (part := next(heard, None)):
                container.mux(audio.encode(part))
                num_heard += part.samples
        assert video is not None, "a video has frames"
        container.mux(video.encode())
        for part in heard:
            container.mux(audio.encode(part))
        container.mux(audio.encode())


def _picture(frame_HWC: Frames, number: int, fps: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
    frame = frame.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )
    frame.pts, frame.time_base = number, Fraction(1, fps)
    return frame


def _sound(path: Path) -> Iterator[av.AudioFrame]:
    """Pieces of a file, as the encoder takes them."""
    with open_media(path) as source:
        fit = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE_HZ)
        for frame in source.decode(audio=0):
            yield from fit.resample(frame)


def _covering(info: MediaInfo, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width, both even, of the smallest scaled picture that covers a size."""
    shape = (round(info.video.shape[1]), round(info.video.shape[0]))
    short_px = max(_LEAST_PX, min(covering_size(shape, size)))
    short_px += short_px % 2
    while True:
        width, height = decode.scaled_size(info.video, short_px, upscale=True)
        if height >= size[0] and width >= size[1]:
            return height, width
        short_px += 2


def _frames(path: Path, take: Take) -> Iterator[Frames]:
    frames = iter_frames(
        path,
        probe(path),
        start_s=0.0,
        end_s=take.num_frames / FPS,
        fps=Fraction(FPS),
        height_px=min(take.scaled_px),
    )
    return (frame_HWC[take.window] for frame_HWC in frames)


def _h264(container: Any, size: tuple[int, ...], crf: int, fps: int) -> Any:
    video = container.add_stream("libx264", rate=fps)
    video.height, video.width = size
    video.pix_fmt = "yuv420p"
    video.codec_context.time_base = Fraction(1, fps)
    video.codec_context.color_primaries = 1
    video.codec_context.color_trc = 1
    video.codec_context.colorspace = Colorspace.ITU709
    video.codec_context.color_range = ColorRange.MPEG
    # Without the last, x264 may look at what was in memory where sides are no multiples of 16.
    video.options = {
        "preset": "medium",
        "crf": str(crf),
        "bf": "0",
        "x264-params": "cpu-independent=1",
    }
    return video
