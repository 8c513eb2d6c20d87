"""What each FVD shows its network: frames (B, T, H, W, 3), uint8 RGB, to video (B, 3, T, 224, 224).

The same network on another of these views gives another number: of a 16:9 picture, a squash keeps
all of its width and a centre crop 56 % of it. StyleGAN-V and cd-fvd take sixteen frames in a row of
each video; common_metrics takes as many as it is given, ten at least.
"""

from math import ceil
from typing import TYPE_CHECKING

from avipipe.annotators.base import Frames

if TYPE_CHECKING:
    from torch import Tensor

SIZE_PX = 224
"""Side of the pictures that I3D and VideoMAE were trained on."""
LOADER_PX = 256
"""Side to which cd-fvd's loader of files brings a video first, by default."""


def cdfvd_array(frames_BTHWC: Frames) -> "Tensor":
    """Squashed to 224 x 224 by bilinear interpolation without antialias; in [-1, 1].

    Source: songweige/content-debiased-fvd@a1e037a, `preprocess_i3d`, for arrays.
    """
    return _squashed(_video(frames_BTHWC)) / 127.5 - 1


def cdfvd_loader(frames_BTHWC: Frames) -> "Tensor":
    """Short side 256 with antialias, centre crop, back to whole grey levels, then `cdfvd_array`.

    Source: songweige/content-debiased-fvd@a1e037a, `load_videos`, for files, at resolution 256.
    """
    video = _centre_cropped(_video(frames_BTHWC) / 255, LOADER_PX, antialias=True)
    return _squashed((video * 255).byte().float()) / 127.5 - 1


def cdfvd_videomae(frames_BTHWC: Frames) -> "Tensor":
    """Squashed to 224 x 224; in [0, 1], without the mean and deviation of ImageNet.

    Source: songweige/content-debiased-fvd@a1e037a, `preprocess_videomae`.
    """
    return _squashed(_video(frames_BTHWC)) / 255


def common_styleganv(frames_BTHWC: Frames) -> "Tensor":
    """Short side 224 without antialias, centre crop; in [-1, 1].

    Source: JunyaoHu/common_metrics_on_video_quality@5f75173, `fvd/styleganv`; also its
    `fvd/videogpt`, whose detour by whole grey levels changes no frame that has them.
    """
    return _centre_cropped(_video(frames_BTHWC) / 255, SIZE_PX, antialias=False) * 2 - 1


def styleganv(frames_BTHWC: Frames) -> "Tensor":
    """Grey levels 0 ... 255 at the size of the frames: its TorchScript network scales them itself.

    Source: universome/stylegan-v@3fecd69, `compute_fvd`.
    """
    return _video(frames_BTHWC)


def _video(frames_BTHWC: Frames) -> "Tensor":
    import torch

    return torch.tensor(frames_BTHWC).permute(0, 4, 1, 2, 3).float()


def _squashed(video_BCTHW: "Tensor") -> "Tensor":
    return _resized(video_BCTHW, (SIZE_PX, SIZE_PX), antialias=False)


def _centre_cropped(video_BCTHW: "Tensor", size_px: int, *, antialias: bool) -> "Tensor":
    """Bring the short side to a size and cut a square out of the middle."""
    height, width = video_BCTHW.shape[3:]
    scale = size_px / min(height, width)
    is_wide = height < width
    size = (size_px, ceil(width * scale)) if is_wide else (ceil(height * scale), size_px)
    video_BCTHW = _resized(video_BCTHW, size, antialias=antialias)
    top, left = ((side - size_px) // 2 for side in size)
    return video_BCTHW[..., top : top + size_px, left : left + size_px]


def _resized(video_BCTHW: "Tensor", size: tuple[int, int], *, antialias: bool) -> "Tensor":
    from torch.nn import functional

    frames = video_BCTHW.transpose(1, 2).flatten(0, 1)
    frames = functional.interpolate(
        frames, size=size, mode="bilinear", align_corners=False, antialias=antialias
    )
    return frames.reshape(len(video_BCTHW), -1, *frames.shape[1:]).transpose(1, 2)
