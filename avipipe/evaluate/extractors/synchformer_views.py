"""What Synchformer is shown of a video and a sound: segments of 0.64 s, every 0.32 s.

S segments, T frames at 25 per second, N samples at 16 kHz. Only the functions import torch.

Source: Iashin et al., Synchformer (ICASSP 2024), as hkchengrex/av-benchmark@050a5cd has it:
av_bench/extract.py, extract_video.py and data/video_dataset.py.
"""

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.signal import check_wave

Views = npt.NDArray[np.float32]

FPS = 25
SAMPLE_RATE_HZ = 16_000
# Of Synchformer's training: length and hop of segments in frames and in samples, side of pictures,
# mel bands and frames of a segment, what the logarithm adds, mean and half the divisor.
_SEGMENT_FRAMES, _HOP_FRAMES = 16, 8
_SEGMENT, _HOP = 10_240, 5_120
_SIZE_PX = 224
_NUM_MELS, _NUM_COLUMNS = 128, 66
_LOG_OFFSET = 1e-6
_MEAN, _STD = -4.2677393, 4.5689974


def audio_segments(wav_N: Wave) -> Views:
    """Log-mel segments (S, 1, 128, 66) of mono sound in [-1, 1]; none of less than 0.64 s.

    Raises:
        AnnotatorError: no samples, or one that is not finite.
    """
    import torch
    import torchaudio

    check_wave(wav_N, sample_rate_hz=SAMPLE_RATE_HZ)
    starts = range(0, wav_N.size - _SEGMENT + 1, _HOP)
    if not starts:
        return np.zeros((0, 1, _NUM_MELS, _NUM_COLUMNS), np.float32)
    spectrum = torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE_HZ, n_fft=1024, win_length=400, hop_length=160, n_mels=_NUM_MELS
    )
    parts = np.stack([wav_N[start : start + _SEGMENT] for start in starts]).astype(np.float32)
    mel_SMF = torch.log(spectrum(torch.from_numpy(parts)) + _LOG_OFFSET)
    # The 66th column lacks, and is 0 before values are normalised.
    mel_SMF = torch.nn.functional.pad(mel_SMF, (0, _NUM_COLUMNS - mel_SMF.shape[-1]))
    return np.asarray(((mel_SMF - _MEAN) / (2 * _STD))[:, None].numpy())


def pictures(frames_THWC: Frames) -> Views:
    """The middle square of each frame, resized as bytes, (T, 3, 224, 224) in [-1, 1]."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    frames_TCHW = torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(0, 3, 1, 2)
    small = functional.resize(
        frames_TCHW, [_SIZE_PX], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    middle = functional.center_crop(small, [_SIZE_PX, _SIZE_PX])
    return np.asarray((middle.float() / 255 * 2 - 1).numpy())


def video_segments(pictures_TCHW: Views) -> Views:
    """Segments (S, 16, 3, 224, 224) of `pictures`; none of fewer than 16.

    A view, as frames stand in two segments each.
    """
    starts = range(0, len(pictures_TCHW) - _SEGMENT_FRAMES + 1, _HOP_FRAMES)
    windows = np.lib.stride_tricks.sliding_window_view(pictures_TCHW, _SEGMENT_FRAMES, axis=0)
    return np.moveaxis(windows[starts.start : starts.stop : _HOP_FRAMES], -1, 1)
