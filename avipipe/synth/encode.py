"""Writing clips as files of the kind that people upload: H.264 and AAC."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from avipipe.files import written_whole
from avipipe.synth.render import VFR_TICK_S, SynthClip
from avipipe.synth.truth import Truth

_AAC_BIT_RATE = 192_000
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


def write_clip(clip: SynthClip, path: Path, *, crf: int = 20) -> Truth:
    """Encode a clip; the suffix of `path` names the container (.mp4, .mkv, .mov).

    The same clip gives the same bytes on the same build of FFmpeg.

    Args:
        crf: constant rate factor of x264; lower is better.
    Returns:
        the truth, with `file` set to the name of the file.
    """
    kind, options = _FORMATS[path.suffix], {"fflags": "+bitexact"}
    with (
        written_whole(path) as draft,
        av.open(str(draft), "w", format=kind, container_options=options) as container,
    ):
        _mux(container, clip, crf)
    return replace(clip.truth, file=path.name, root=path.parent)


def _mux(container: av.container.OutputContainer, clip: SynthClip, crf: int) -> None:
    turns = clip.truth.rotation_deg // 90
    time_base = VFR_TICK_S if clip.truth.vfr else 1 / clip.truth.frame_rate
    video = container.add_stream("libx264", rate=clip.truth.frame_rate)
    video.height, video.width = clip.size if turns % 2 == 0 else clip.size[::-1]
    video.codec_context.time_base = time_base
    video.codec_context.flags |= av.codec.context.Flags.bitexact
    # The bytes must not depend on the machine; nor, as x264's faster ways do where sides are no
    # multiples of 16, on what was in memory before.
    video.options = {
        "preset": "veryfast",
        "crf": str(crf),
        "threads": "1",
        "x264-params": "cpu-independent=1",
    }
    video.set_display_rotation(clip.truth.rotation_deg)
    audio = container.add_stream("aac", rate=clip.sample_rate_hz, layout=_layout(clip))
    audio.bit_rate = _AAC_BIT_RATE * clip.wav_CN.shape[0] // 2
    audio.options = {"aac_coder": "fast"}
    audio.codec_context.flags |= av.codec.context.Flags.bitexact

    samples = av.AudioFrame.from_ndarray(clip.wav_CN, format="fltp", layout=_layout(clip))
    samples.sample_rate, samples.pts = clip.sample_rate_hz, 0
    container.mux([*audio.encode(samples), *audio.encode()])
    for pixels, time_s in zip(clip.frames(), clip.times_s, strict=True):
        stored = np.ascontiguousarray(np.rot90(pixels, -turns))
        frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
        frame.pts, frame.time_base = round(time_s / time_base), time_base
        container.mux(video.encode(frame))
    container.mux(video.encode())


def _layout(clip: SynthClip) -> str:
    return "mono" if clip.wav_CN.shape[0] == 1 else "stereo"
