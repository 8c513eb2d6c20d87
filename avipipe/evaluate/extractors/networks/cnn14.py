"""Cnn14 of PANNs, in the names and shapes of its public weights.

B sounds of N samples, F frames, M mel bands. Sizes are those of the checkpoint's tensors; its
filters of mel bands are part of it.

Source: Kong et al., PANNs: Large-scale pretrained audio neural networks for audio pattern
recognition (TASLP 2020); qiuqiangkong/audioset_tagging_cnn (MIT), pytorch/models.py.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from avipipe import weights
from avipipe.annotators.reading import pull_again, reading
from avipipe.evaluate.extractors.networks.running import built, with_numpy

HOPS_IN_WINDOW = Fraction(16, 5)
"""Of frames: 10 ms of windows of 32 ms, at 16 and at 32 kHz."""
_LEAST_POWER = 1e-10
"""Below which power counts as this much, before the logarithm."""
_BLOCKS = tuple(f"conv_block{number}" for number in range(1, 7))
"""All but the last are followed by a halving."""
_UNUSED = "spectrogram_extractor."
"""The kernels of a Fourier transform."""


class Cnn14(nn.Module):
    """The network from sound to embeddings, and from those to AudioSet's classes.

    Args:
        state: tensors of a checkpoint, for their sizes.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        num_bins, num_mels = state["logmel_extractor.melW"].shape
        self.logmel_extractor = _MelBands(num_bins, num_mels)
        self.bn0 = nn.BatchNorm2d(num_mels)
        before = 1
        for name in _BLOCKS:
            after = len(state[f"{name}.conv1.weight"])
            self.add_module(name, _Block(before, after))
            before = after
        self.fc1 = nn.Linear(before, len(state["fc1.bias"]))
        self.fc_audioset = nn.Linear(len(state["fc1.bias"]), len(state["fc_audioset.bias"]))

    def forward(self, waves_BN: Tensor) -> Tensor:
        """Embeddings (B, D), one for each whole sound, of at least 32 frames."""
        maps_BCFM = self.logmel_extractor(waves_BN)[:, None]
        maps_BCFM = self.bn0(maps_BCFM.transpose(1, 3)).transpose(1, 3)
        for name in _BLOCKS:
            maps_BCFM = self.get_submodule(name)(maps_BCFM)
            if name != _BLOCKS[-1]:
                maps_BCFM = functional.avg_pool2d(maps_BCFM, 2)
        maps_BCF = maps_BCFM.mean(dim=3)
        return functional.relu(self.fc1(maps_BCF.amax(dim=2) + maps_BCF.mean(dim=2)))

    def logits(self, waves_BN: Tensor) -> Tensor:
        """Of each class (B, C), before the sigmoid."""
        logits_BC: Tensor = self.fc_audioset(self(waves_BN))
        return logits_BC


class _MelBands(nn.Module):
    """Log-mel spectra in dB, of windows as long as the filters say."""

    melW: Tensor

    def __init__(self, num_bins: int, num_mels: int) -> None:
        super().__init__()
        self.register_buffer("melW", torch.empty(num_bins, num_mels))

    def forward(self, waves_BN: Tensor) -> Tensor:
        """Of frames every 10 ms, centred, the sound mirrored at its ends, (B, F, M)."""
        length = 2 * (len(self.melW) - 1)
        hop = int(length / HOPS_IN_WINDOW)
        window = torch.hann_window(length, device=waves_BN.device)
        spectra_BKF = torch.stft(
            waves_BN, length, hop, window=window, pad_mode="reflect", return_complex=True
        )
        power_BFM = spectra_BKF.abs().square().transpose(1, 2) @ self.melW
        return 10 * power_BFM.clamp(min=_LEAST_POWER).log10()


class _Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, maps_BCFM: Tensor) -> Tensor:
        maps_BCFM = functional.relu(self.bn1(self.conv1(maps_BCFM)))
        return functional.relu(self.bn2(self.conv2(maps_BCFM)))


def load_cnn14(weight: str) -> Cnn14:
    """The network of a checkpoint, for inference on `device()`.

    Raises:
        WeightsError: it is missing, corrupted, or holds no whole Cnn14.
    """
    path = weights.locate(weight)
    with reading(path, "a Cnn14 of PANNs", pull_again(weight)), with_numpy():
        checkpoint: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        tensors: Mapping[str, Tensor] = checkpoint["model"]
        state = {name: each for name, each in tensors.items() if not name.startswith(_UNUSED)}
    return built(Cnn14, state, weight=weight)
