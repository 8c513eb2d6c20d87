"""Annotators that want GPUs, and one that holds on to memory, named like any backend."""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from avipipe.annotators.base import Speech, Wave
from avipipe.annotators.embedded.caption import TemplateCaptioner
from avipipe.annotators.embedded.detect import MotionDetector
from avipipe.annotators.embedded.localize import MotionLocalizer
from avipipe.annotators.embedded.vad import EnergyVad

PIDS_ENV = "AVIPIPE_TEST_PIDS"
"""A folder in which every process that was used leaves a file."""

LEAK_BYTES = 300_000_000


class LeakyVad(EnergyVad):
    """The embedded VAD, but every clip costs memory for good."""

    name = "leaky"
    _leaked: ClassVar[list[object]] = []

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech:
        Path(os.environ[PIDS_ENV], str(os.getpid())).touch()
        self._leaked.append(np.ones(LEAK_BYTES, np.uint8))
        return super().speech(wav_N, sample_rate_hz=sample_rate_hz)


class GpuLeakyVad(LeakyVad):
    gpu = True


class GpuLocalizer(MotionLocalizer):
    gpu = True


class GpuDetector(MotionDetector):
    gpu = True


class GpuCaptioner(TemplateCaptioner):
    gpu = True
