"""What ImageBind is shown of a video and a sound: clips of 2 s, in the forms that are in use.

K views, C channels, N samples, T frames, H and W of a picture. Only the functions import torch.

Source: facebookresearch/ImageBind@53680b0, imagebind/data.py; hkchengrex/av-benchmark@050a5cd,
av_bench/data/video_dataset.py and extract_video.py.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.signal import check_wave
from avipipe.errors import AnnotatorError

if TYPE_CHECKING:
    from torch import Tensor

Views = npt.NDArray[np.float32]

ClipRule = Literal["pinned", "pypi015"]
"""How clips are spread: by pytorchvideo at the commit that ImageBind pins, from the first moment to
the last; or by version 0.1.5 of PyPI, which never sees the end. They give other scores."""

CLIP_S = 2
"""Length of a clip, in ImageBind and in all that follow it."""
SAMPLE_RATE_HZ = 16_000
AV_BENCHMARK_FPS = 0.5
"""Frames in a second that av-benchmark takes; it shows each with the next."""
# Of ImageBind's training: side of pictures, mel bands and frames of a clip of sound, mean and
# standard deviation of its log-mel values and of colours in [0, 1].
_SIZE_PX = 224
_NUM_MELS, _NUM_FRAMES = 128, 204
_MEL_MEAN, _MEL_STD = -4.268, 9.138
_COLOUR_MEAN = (0.48145466, 0.4578275, 0.40821073)
_COLOUR_STD = (0.26862954, 0.26130258, 0.27577711)
_FBANK_WINDOW = 400
"""Samples of 25 ms, below which the filter bank has no frame."""


def clip_spans_s(
    duration_s: float, num_clips: int, *, rule: ClipRule = "pinned"
) -> list[tuple[Fraction, Fraction]]:
    """Start and end of each clip in seconds; all are the same where there are no more than 2 s.

    Exact fractions, as in pytorchvideo: rounded ones would move a clip by a sample.
    """
    spare_s = Fraction(max(0.0, duration_s - CLIP_S))
    gaps = max(1, num_clips - 1) if rule == "pinned" else num_clips
    starts_s = [spare_s / gaps * number for number in range(num_clips)]
    return [(start_s, start_s + CLIP_S) for start_s in starts_s]


def audio_views(
    wav_CN: npt.NDArray[np.float32],
    *,
    sample_rate_hz: int,
    num_clips: int = 3,
    rule: ClipRule = "pinned",
    is_shared: bool = True,
) -> Views:
    """Log-mel views (K, 1, 128, 204) of clips of a sound; what lacks at its end counts as 0 dB.

    Args:
        wav_CN: in [-1, 1]. The mean is that of all channels, the rest is of the first.
        num_clips: 3 in ImageBind's loader, 5 in CoherentAVEdit's.
        is_shared: whether clips share one buffer, as in the reference: its mean is taken off in
            place, so where clips overlap (below 6 s, with 3 clips) a later one has a step in it.
            False takes each from the sound as it is.
    Raises:
        AnnotatorError: less than 25 ms, or a sample that is not finite.
    """
    wave_CN = _at_16_khz(wav_CN, sample_rate_hz)
    return np.asarray(_clips(wave_CN, num_clips, rule, is_shared=is_shared).numpy())


def audio_window_views(
    wav_CN: npt.NDArray[np.float32],
    spans: Sequence[tuple[int, int]],
    *,
    num_clips: int = 3,
    is_shared: bool = True,
) -> Views:
    """Views (M, K, 1, 128, 204) of windows of a sound, for JavisScore.

    Args:
        wav_CN: at 16 kHz, in [-1, 1].
        spans: first sample of each window and the one after its last (`javis.paired_spans`).
        is_shared: as in `audio_views`; JavisDiT's windows share one buffer, too.
    Raises:
        AnnotatorError: as `audio_views`.
    """
    import torch

    wave_CN = _at_16_khz(wav_CN, SAMPLE_RATE_HZ)
    windows = []
    for first, end in spans:
        window_CN = wave_CN[:, first:end] if is_shared else wave_CN[:, first:end].clone()
        windows.append(_clips(window_CN, num_clips, "pinned", is_shared=is_shared))
    return np.asarray(torch.stack(windows).numpy())


def _at_16_khz(wav_CN: npt.NDArray[np.float32], sample_rate_hz: int) -> "Tensor":
    """A copy of a sound, which may be written into."""
    import torch
    import torchaudio

    check_wave(wav_CN, sample_rate_hz=sample_rate_hz)
    wave_CN = torch.from_numpy(np.array(wav_CN, np.float32))
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return wave_CN
    return cast("Tensor", torchaudio.functional.resample(wave_CN, sample_rate_hz, SAMPLE_RATE_HZ))


def _clips(wave_CN: "Tensor", num_clips: int, rule: ClipRule, *, is_shared: bool) -> "Tensor":
    """Views (K, 1, 128, 204); a shared buffer is written into."""
    import torch

    num_samples = wave_CN.shape[1]
    if num_samples < _FBANK_WINDOW:
        raise AnnotatorError(message=f"expected at least 25 ms of sound, got {num_samples} samples")
    views = []
    for span_s in clip_spans_s(num_samples / SAMPLE_RATE_HZ, num_clips, rule=rule):
        first, end = (int(time_s * SAMPLE_RATE_HZ) for time_s in span_s)
        clip_CN = wave_CN[:, first:end] if is_shared else wave_CN[:, first:end].clone()
        clip_CN -= clip_CN.mean()
        views.append((_log_mel(clip_CN) - _MEL_MEAN) / _MEL_STD)
    return torch.stack(views)[:, None]


def _log_mel(clip_CN: "Tensor") -> "Tensor":
    import torch
    from torchaudio.compliance import kaldi

    mel_FM = kaldi.fbank(
        clip_CN,
        htk_compat=True,
        sample_frequency=SAMPLE_RATE_HZ,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=_NUM_MELS,
        dither=0.0,
    )[:_NUM_FRAMES]
    return torch.nn.functional.pad(mel_FM.T, (0, _NUM_FRAMES - len(mel_FM)))


def video_views(
    frames_THWC: Frames,
    *,
    fps: float,
    num_clips: int = 5,
    num_crops: Literal[1, 3] = 3,
    rule: ClipRule = "pinned",
) -> Views:
    """Views (K, 3, 2, 224, 224): first and last frame of each clip, crop by crop.

    Args:
        frames_THWC: uint8 RGB, all frames of the video at `fps`.
        num_clips, num_crops: 5 and 3 in ImageBind's loader, 5 and 1 in CoherentAVEdit's.
    Raises:
        AnnotatorError: no frames.
    """
    import torch

    views: list[Tensor] = []
    for first, last in clip_frames(len(frames_THWC), fps=fps, num_clips=num_clips, rule=rule):
        pair_2HWC = torch.from_numpy(frames_THWC[[first, last]].astype(np.float32)) / 255
        pair_2CHW = pair_2HWC.permute(0, 3, 1, 2)
        small = torch.nn.functional.interpolate(
            pair_2CHW, _short_side(*pair_2CHW.shape[-2:]), mode="bilinear"
        )
        views += _crops(_coloured(small), num_crops)
    return np.asarray(torch.stack(views).transpose(1, 2).numpy())


def clip_frames(
    num_frames: int, *, fps: float, num_clips: int, rule: ClipRule = "pinned"
) -> list[tuple[int, int]]:
    """First and last frame of each clip: those whose time lies in its half-open span.

    Raises:
        AnnotatorError: no frames.
    """
    if num_frames < 1:
        raise AnnotatorError(message="expected at least one frame, got none")
    pairs = []
    for start_s, end_s in clip_spans_s(num_frames / fps, num_clips, rule=rule):
        first = min(math.ceil(fps * float(start_s)), num_frames - 1)
        last = min(math.ceil(fps * float(end_s)), num_frames) - 1
        pairs.append((first, max(first, last)))
    return pairs


def picture_views(frames_THWC: Frames) -> Views:
    """The middle square of each frame by itself, (T, 3, 224, 224), resized by Pillow.

    Source: JavisVerse/JavisDiT@b505b37, eval/javisbench/src/dataset.py.
    """
    import torch
    from PIL import Image
    from torchvision.transforms.v2 import InterpolationMode, functional

    squares = []
    for frame_HWC in frames_THWC:
        small = functional.resize(
            Image.fromarray(frame_HWC), [_SIZE_PX], interpolation=InterpolationMode.BICUBIC
        )
        middle = functional.center_crop(small, [_SIZE_PX, _SIZE_PX])
        squares.append(functional.pil_to_tensor(middle).float() / 255)
    empty = torch.zeros((0, 3, _SIZE_PX, _SIZE_PX))
    return np.asarray(_coloured(torch.stack(squares) if squares else empty).numpy())


def av_benchmark_frames(frames_THWC: Frames) -> Views:
    """Pictures (3 crops, T, 3, 224, 224) of frames at 0.5 per second, resized as bytes."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    frames_TCHW = torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(0, 3, 1, 2)
    small = functional.resize(
        frames_TCHW, [_SIZE_PX], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    return np.asarray(torch.stack(_crops(_coloured(small.float() / 255), 3)).numpy())


def av_benchmark_views(frames_THWC: Frames) -> Views:
    """Views (K, 3, 2, 224, 224) of each frame at 0.5 per second with the next, crop by crop.

    None of a video with one such frame: shorter than 4 s.
    """
    shown = av_benchmark_frames(frames_THWC)
    pairs = [shown[:, first : first + 2] for first in range(shown.shape[1] - 1)]
    empty = np.zeros((0, 2, 3, _SIZE_PX, _SIZE_PX), np.float32)
    return np.concatenate([empty, *pairs]).transpose(0, 2, 1, 3, 4)


def _short_side(height: int, width: int) -> tuple[int, int]:
    if width < height:
        return math.floor(height / width * _SIZE_PX), _SIZE_PX
    return _SIZE_PX, math.floor(width / height * _SIZE_PX)


def _coloured(pictures_TCHW: "Tensor") -> "Tensor":
    from torchvision.transforms.v2 import functional

    coloured: Tensor = functional.normalize(pictures_TCHW, _COLOUR_MEAN, _COLOUR_STD)
    return coloured


def _crops(pictures_TCHW: "Tensor", num_crops: int) -> "list[Tensor]":
    """Squares from one end of the longer side, its middle, and its other end; or the middle."""
    height, width = pictures_TCHW.shape[-2:]
    spare = max(height, width) - _SIZE_PX
    starts = (0, math.ceil(spare / 2), spare) if num_crops == 3 else (math.ceil(spare / 2),)
    axis = -2 if height > width else -1
    return [pictures_TCHW.narrow(axis, start, _SIZE_PX) for start in starts]
