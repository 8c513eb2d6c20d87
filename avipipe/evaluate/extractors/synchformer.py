"""Synchformer: logits of how far the sound of a video is off, of which `metrics.desync` is made.

S segments of 0.64 s, E = 2 ends of a clip, K = 21 classes of offsets.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.loading import device
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.extractors import synchformer_views
from avipipe.evaluate.metrics.desync import NUM_SEGMENTS, OFFSETS_S

if TYPE_CHECKING:
    from torch import Tensor

Logits = npt.NDArray[np.float32]

_SEGMENTS_AT_ONCE = 7
"""Half of an end; a choice that bounds the memory."""


class SynchformerAudioSet(Weighted):
    """Synchformer as trained on AudioSet.

    Source: Iashin et al., Synchformer (ICASSP 2024); hkchengrex/av-benchmark@050a5cd, `evaluate`.
    """

    name = "synchformer"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("synchformer",)
    packages = ("torch", "torchaudio", "torchvision")
    fps = synchformer_views.FPS
    sample_rate_hz = synchformer_views.SAMPLE_RATE_HZ

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.running import built, read_state
        from avipipe.evaluate.extractors.networks.synchformer import Synchformer, used

        (weight,) = self.needs
        self._network = built(Synchformer, used(read_state(weight)), weight=weight)

    def logits(self, frames_THWC: Frames, wav_N: Wave) -> Logits:
        """Logits (E, K) for the first and the last 4.8 s; (0, K) of what is shorter.

        Both ends are the same where there are just 4.8 s.

        Args:
            frames_THWC: RGB frames at 25 per second.
            wav_N: mono in [-1, 1] at 16 kHz.
        Raises:
            AnnotatorError: no samples, or one that is not finite.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        heard = synchformer_views.audio_segments(wav_N)
        seen = synchformer_views.video_segments(synchformer_views.pictures(frames_THWC))
        num = min(len(seen), len(heard))
        if num < NUM_SEGMENTS:
            return np.zeros((0, len(OFFSETS_S)), np.float32)
        with exact():
            seen_STD = self._encoded(self._network.see, seen[:num])
            heard_STD = self._encoded(self._network.hear, heard[:num])
            ends = (slice(0, NUM_SEGMENTS), slice(num - NUM_SEGMENTS, num))
            logits_EK = [self._network.compare(seen_STD[end], heard_STD[end]) for end in ends]
            return np.asarray(torch.stack(logits_EK).cpu().numpy())

    @staticmethod
    def _encoded(
        encode: "Callable[[Tensor], Tensor]", segments: synchformer_views.Views
    ) -> "Tensor":
        import torch

        parts = [
            torch.from_numpy(np.array(segments[first : first + _SEGMENTS_AT_ONCE])).to(device())
            for first in range(0, len(segments), _SEGMENTS_AT_ONCE)
        ]
        return torch.cat([encode(part) for part in parts])
