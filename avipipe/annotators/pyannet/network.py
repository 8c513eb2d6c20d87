"""The PyanNet network that tells up to three speakers apart, in the names of its official weights.

Only what needs torch anyway may import this module.

B batch, N samples, F frames, C channels, S speakers.

Source: Bredin and Laurent, End-to-end speaker segmentation for overlap-aware resegmentation,
Interspeech 2021 (pyannote/segmentation of 2022); filters after Ravanelli and Bengio, Speaker
recognition from raw waveform with SincNet, SLT 2018.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from avipipe.annotators.pyannet.frames import NUM_SPEAKERS, RATE_HZ
from avipipe.errors import WeightsError

# The official network's shape: filters of so many taps and samples between them, their lowest edge
# and least width, frames pooled, channels, and size and number of the LSTM's layers.
_NUM_BANDS = 40
_FILTER = 251
_STRIDE = 10
_LOWEST_HZ = 50.0
_NARROWEST_HZ = 50.0
_POOL = 3
_NUM_FEATURES = 60
_HIDDEN = 128
_NUM_LAYERS = 4


class _SincFilters(nn.Module):
    """Learnt band-passes, each as an even and an odd filter.

    `n_` is the left half of the filter's times as angles at 1 Hz, `window_` a window over it.
    """

    n_: Tensor
    window_: Tensor

    def __init__(self) -> None:
        super().__init__()
        half = _FILTER // 2
        self.low_hz_ = nn.Parameter(torch.zeros(_NUM_BANDS, 1))
        self.band_hz_ = nn.Parameter(torch.zeros(_NUM_BANDS, 1))
        self.register_buffer("n_", torch.zeros(1, half))
        self.register_buffer("window_", torch.zeros(half))

    def forward(self) -> Tensor:
        """The filters (2 * bands, 1, taps)."""
        low = _LOWEST_HZ + self.low_hz_.abs()
        high = torch.clamp(low + _NARROWEST_HZ + self.band_hz_.abs(), _LOWEST_HZ, RATE_HZ / 2)
        from_low, from_high = low @ self.n_, high @ self.n_
        even = (torch.sin(from_high) - torch.sin(from_low)) / (self.n_ / 2) * self.window_
        odd = (torch.cos(from_low) - torch.cos(from_high)) / (self.n_ / 2) * self.window_
        width = 2 * (high - low)
        filters = torch.cat(
            [
                torch.cat([even, width, even.flip(1)], dim=1),
                torch.cat([odd, torch.zeros_like(width), -odd.flip(1)], dim=1),
            ]
        )
        return (filters / width.repeat(2, 1))[:, None]


class _SincConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filterbank = _SincFilters()

    def forward(self, wav_B1N: Tensor) -> Tensor:
        return functional.conv1d(wav_B1N, self.filterbank(), stride=_STRIDE).abs()


class _SincNet(nn.Module):
    """Sound (B, 1, N) -> features (B, C, F)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (2 * _NUM_BANDS, _NUM_FEATURES, _NUM_FEATURES)
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        later = [nn.Conv1d(width, _NUM_FEATURES, 5) for width in widths[:2]]
        self.conv1d = nn.ModuleList([_SincConv(), *later])
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(width, affine=True) for width in widths])

    def forward(self, wav_B1N: Tensor) -> Tensor:
        x: Tensor = self.wav_norm1d(wav_B1N)
        for convolution, norm in zip(self.conv1d, self.norm1d, strict=True):
            x = functional.leaky_relu(norm(functional.max_pool1d(convolution(x), _POOL)))
        return x


class PyanNet(nn.Module):
    """The PyanNet network: sound (B, 1, N) at 16 kHz to three speakers' probabilities (B, F, S)."""

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = _SincNet()
        self.lstm = nn.LSTM(
            _NUM_FEATURES, _HIDDEN, _NUM_LAYERS, bidirectional=True, batch_first=True
        )
        self.linear = nn.ModuleList([nn.Linear(2 * _HIDDEN, _HIDDEN), nn.Linear(_HIDDEN, _HIDDEN)])
        self.classifier = nn.Linear(_HIDDEN, NUM_SPEAKERS)

    def forward(self, wav_B1N: Tensor) -> Tensor:
        x, _ = self.lstm(self.sincnet(wav_B1N).transpose(1, 2))
        for layer in self.linear:
            x = functional.leaky_relu(layer(x))
        return torch.sigmoid(self.classifier(x))


def load(path: Path) -> PyanNet:
    """Load the network with its weights, for inference.

    Raises:
        WeightsError: the file holds other tensors.
    """
    net = PyanNet()
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: expected the tensors of pyannote/segmentation (2022): {error}; run: avipipe "
            "weights pull pyannote_segmentation"
        ) from error
    return net.eval()
