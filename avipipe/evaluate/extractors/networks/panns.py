"""PANNs' Cnn14, in the names and shapes of its public weights.

B sounds of N samples, T frames of 10 ms, K = 257 frequencies, M = 64 mel bands, C = 527 classes.

Source: Kong et al., PANNs: large-scale pretrained audio neural networks (TASLP 2020);
qiuqiangkong/audioset_tagging_cnn (MIT), as hkchengrex/av-benchmark@050a5cd has it. The windows and
filters of the spectrum are tensors of the weights, so they are the reference's own.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

HOP = 160
"""Samples between frames, 10 ms at 16 kHz; windows are of 512."""
_LEAST_POWER = 1e-10  # -100 dB, where the logarithm of power ends
_NUM_BLOCKS = 6
"""All but the last halve both time and frequency."""


class _Spectrum(nn.Module):
    """The two halves of a Fourier transform as convolutions; power, (B, T, K)."""

    def __init__(self, num_bins: int, window: int) -> None:
        super().__init__()
        self.conv_real, self.conv_imag = (
            nn.Conv1d(1, num_bins, window, stride=HOP, bias=False) for _ in range(2)
        )

    def forward(self, wav_BN: Tensor) -> Tensor:
        half = self.conv_real.kernel_size[0] // 2
        padded_B1N = nn.functional.pad(wav_BN[:, None], (half, half), mode="reflect")
        power_BKT: Tensor = self.conv_real(padded_B1N) ** 2 + self.conv_imag(padded_B1N) ** 2
        return power_BKT.transpose(1, 2)


class _Filters(nn.Module):
    """From power to decibels of mel bands, (B, T, M)."""

    def __init__(self, num_bins: int, num_mels: int) -> None:
        super().__init__()
        self.melW = nn.Parameter(torch.empty(num_bins, num_mels))

    def forward(self, power_BTK: Tensor) -> Tensor:
        return 10.0 * (power_BTK @ self.melW).clamp(min=_LEAST_POWER).log10()


class _Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.bn1(self.conv1(maps)).relu()
        found: Tensor = self.bn2(self.conv2(maps)).relu()
        return found


class Cnn14(nn.Module):
    """Logits of AudioSet's classes.

    Args:
        state: of the weights, whose shapes say the sizes.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        num_bins, _, window = state["spectrogram_extractor.stft.conv_real.weight"].shape
        num_mels = state["logmel_extractor.melW"].shape[1]
        self.spectrogram_extractor = nn.ModuleDict({"stft": _Spectrum(num_bins, window)})
        self.logmel_extractor = _Filters(num_bins, num_mels)
        self.bn0 = nn.BatchNorm2d(num_mels)
        widths = [1]
        for number in range(1, _NUM_BLOCKS + 1):
            widths.append(len(state[f"conv_block{number}.conv1.weight"]))
            self.add_module(f"conv_block{number}", _Block(*widths[-2:]))
        self.fc1 = nn.Linear(widths[-1], len(state["fc1.weight"]))
        self.fc_audioset = nn.Linear(len(state["fc1.weight"]), len(state["fc_audioset.weight"]))

    def forward(self, wav_BN: Tensor) -> Tensor:
        """Logits (B, C) of mono sound at 16 kHz, at least 0.32 s of it."""
        mel_BTM = self.logmel_extractor(self.spectrogram_extractor["stft"](wav_BN))
        maps = self.bn0(mel_BTM.transpose(1, 2)[..., None]).permute(0, 3, 2, 1)
        for number in range(1, _NUM_BLOCKS + 1):
            maps = self.get_submodule(f"conv_block{number}")(maps)
            if number < _NUM_BLOCKS:
                maps = nn.functional.avg_pool2d(maps, 2)
        of_times = maps.mean(dim=3)
        pooled_BD = of_times.amax(dim=2) + of_times.mean(dim=2)
        logits_BC: Tensor = self.fc_audioset(self.fc1(pooled_BD).relu())
        return logits_BC
