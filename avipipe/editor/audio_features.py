"""Hidden states of wav2vec2 at 50 Hz to the frames of a video.

State j stands for the time j / 50 s. What lies beyond the audio is silence: zeros.
"""

from fractions import Fraction
from typing import Literal

from torch import Tensor

Rule = Literal["exact", "released"]

STATES_HZ = 50
RELEASED_HZ = 30
RELEASED_BUCKET = 80


def resample_states(
    states_TLC: Tensor, fps: Fraction, num_frames: int, rule: Rule = "exact"
) -> Tensor:
    """The hidden states at each frame of a video.

    Args:
        states_TLC: L layers of width C at 50 Hz.
        fps: of the video.
        num_frames: of the video, F.
        rule: `exact`: interpolated at the time of the frame. `released`: AVI-Edit's way over 30 Hz,
            whose choice between two equally near samples is left to rounding.
    Returns:
        (F, L, C), for `AudioEncoder`.
    """
    raise NotImplementedError
