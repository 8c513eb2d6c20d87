"""Annotators that go wrong on certain clips, named in a build's configuration like any backend."""

import os
import time

from avipipe.annotators.base import Speech, Wave
from avipipe.annotators.embedded.vad import EnergyVad
from avipipe.annotators.full.endpoint import EndpointCaptioner
from avipipe.services.http import RetryPolicy

KILLS_S, HANGS_S, RAISES_S, FILLS_MEMORY_S = 2.25, 2.75, 3.25, 3.5
"""Clip lengths on which `FaultyVad` does what the name says."""


HASTY_TIMEOUT_S = 1.0


class FaultyVad(EnergyVad):
    """The embedded VAD, but for clips of certain lengths."""

    name = "faulty"

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech:
        duration_s = round(len(wav_N) / sample_rate_hz, 2)
        if duration_s == KILLS_S:
            os._exit(9)
        if duration_s == HANGS_S:
            time.sleep(3600)
        if duration_s == RAISES_S:
            raise ValueError("this clip is bad luck")
        if duration_s == FILLS_MEMORY_S:
            raise MemoryError("no room for it")
        return super().speech(wav_N, sample_rate_hz=sample_rate_hz)


class HastyCaptioner(EndpointCaptioner):
    """The endpoint's captioner, with hardly any patience."""

    name = "hasty"

    def __init__(self) -> None:
        super().__init__(RetryPolicy(timeout_s=HASTY_TIMEOUT_S))


class UnloadableVad(EnergyVad):
    """The embedded VAD, whose model is not what its library can read."""

    name = "unloadable"

    def setup(self) -> None:
        raise ValueError("these are not the bytes of a model")
