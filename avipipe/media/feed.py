"""Feeds decoded pictures to ffmpeg: raw, in one form, each with the frame that it becomes."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.reformatter import ColorRange, Interpolation

from avipipe.media.decode import colorspace
from avipipe.media.probe import VideoInfo, matrix_of

# Full-range formats of old codecs; the same samples under the name that says nothing of range.
_FULL_RANGE = {
    "yuvj420p": "yuv420p",
    "yuvj422p": "yuv422p",
    "yuvj444p": "yuv444p",
    "yuvj440p": "yuv440p",
    "yuvj411p": "yuv411p",
}
# What NUT can say of raw pictures, and the scaler takes; others become the nearest of these.
_PLAIN = frozenset(
    {
        *("yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p", "gray", "nv12"),
        *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv422p12le"),
        *("yuv444p12le", "rgb24", "bgr24", "rgba", "bgra", "yuyv422", "uyvy422"),
    }
)


def is_full_range(video: VideoInfo) -> bool:
    """Whether levels of a picture run from 0 to 255: as tagged, or as its format's name says."""
    return video.range == "pc" or video.pix_fmt in _FULL_RANGE


class PictureFeed:
    """Writes pictures into a pipe as NUT; called once, while ffmpeg reads the other end.

    Pictures whose size or format changes midway become what the first ones are, so that the
    filters of the reader never start anew. Interlaced ones become whole.

    Args:
        frames: each with the output frame that first shows it, strictly increasing.
        fps: of the output.
        pipe: file descriptor, closed at the end.
    """

    def __init__(
        self,
        frames: Iterable[tuple[int, av.VideoFrame]],
        video: VideoInfo,
        *,
        fps: Fraction,
        pipe: int,
    ) -> None:
        self._frames = frames
        self._video = video
        self._fps = fps
        self._pipe = pipe

    def __call__(self) -> None:
        """
        Raises:
            BrokenPipeError: the reader has gone.
        """
        try:
            self._write()
        finally:
            os.close(self._pipe)

    def _write(self) -> None:
        pix_fmt = _plain_format(self._video)
        with av.open(f"pipe:{self._pipe}", "w", format="nut") as out:
            stream = out.add_stream("rawvideo", rate=self._fps)
            stream.width, stream.height = self._video.width, self._video.height
            stream.pix_fmt = pix_fmt
            stream.codec_context.time_base = 1 / self._fps
            frames = _numbered(self._frames, 1 / self._fps)
            for frame in _deinterlaced(frames) if self._video.interlaced else frames:
                out.mux(stream.encode(self._uniform(frame, pix_fmt)))
            out.mux(stream.encode())

    def _uniform(self, frame: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
        """A picture of the size, format and colours that the file began with."""
        video = self._video
        own_format = _FULL_RANGE.get(frame.format.name, frame.format.name)
        own_form = (frame.width, frame.height, own_format, matrix_of(frame))
        if own_form == (video.width, video.height, pix_fmt, video.matrix):
            return frame
        converted = frame.reformat(
            width=video.width,
            height=video.height,
            format=pix_fmt,
            src_colorspace=colorspace(frame, video),
            dst_colorspace=colorspace(None, video),
            dst_color_range=ColorRange.JPEG if is_full_range(video) else ColorRange.MPEG,
            interpolation=Interpolation.LANCZOS,
            threads=1,
        )
        converted.pts, converted.time_base = frame.pts, frame.time_base
        return converted


def _plain_format(video: VideoInfo) -> str:
    name = _FULL_RANGE.get(video.pix_fmt, video.pix_fmt)
    if name in _PLAIN:
        return name
    form = av.VideoFormat(name)
    if form.is_rgb or form.has_palette:
        return "rgb24"
    return "yuv444p12le" if form.components[0].bits > 8 else "yuv444p"


def _numbered(
    frames: Iterable[tuple[int, av.VideoFrame]], time_base: Fraction
) -> Iterator[av.VideoFrame]:
    for tick, frame in frames:
        frame.pts, frame.time_base = tick, time_base
        yield frame


def _deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Whole pictures of those that are flagged as interlaced, with the times that they came with.

    The filter is built anew where the form changes.
    """
    graph: Graph | None = None
    form: tuple[object, ...] = ()
    for frame in frames:
        own = (frame.width, frame.height, frame.format.name)
        if graph is None or own != form:
            if graph is not None:
                yield from _drained(graph)
            graph, form = _deinterlacer(frame), own
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        yield from _drained(graph)


def _deinterlacer(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base,
    )
    filtered = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    source.link_to(filtered)
    filtered.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _drained(graph: Graph) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame
