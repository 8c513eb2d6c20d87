"""Source and edit of a case side by side: one clock, one size, and controls derived from them."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.cases import Case, Control
from avipipe.evaluate.controls import SHIFT_S
from avipipe.evaluate.judge import Interview
from avipipe.evaluate.mask_view import MaskView
from avipipe.evaluate.views import (
    DETAIL_STEP,
    FPS,
    MAX_S,
    Features,
    Frames,
    MediaView,
    Pictures,
    Sizes,
    Waves,
)
from avipipe.media.decode import num_ticks

_SAME_SHAPE = 0.02
"""Logarithm of the ratio of two aspects: 2 % are what rounding to even sides and the multiples of
16 of codecs make. Pictures that differ by more do not show the same, and are not compared."""

_SAME_FPS = 0.01
"""Frames a second: what rounded timestamps make of one rate; NTSC's differ by 0.024 or more."""


@dataclass
class CaseView:
    """Source and edit side by side.

    Attributes:
        case: what was asked, and which control it is.
        source, edit: the files; a control's edit is its source, but for the round trip through a
            VAE, whose pictures were made.
        sound: the file whose sound the edit has; of most cases the edit.
        mask: of the source, cut to what the edit shows; edit_mask: of the edit. None for none.
        cached: keeps arrays by the content of a file, across cases and runs.
        interview: with a judge, about this case.
    """

    case: Case
    source: MediaView
    edit: MediaView
    sound: MediaView
    mask: MaskView | None
    edit_mask: MaskView | None
    cached: Callable[[MediaView, str, Callable[[], Features]], Features]
    interview: Interview

    @property
    def control(self) -> Control:
        """How the edit is derived from the source; empty for an edit."""
        return self.case.control

    @property
    def num_frames(self) -> int:
        """At `FPS`, of the time that both last."""
        return num_ticks(min(self.source.looked_s, self.edit.looked_s), FPS)

    @property
    def is_same_shape(self) -> bool:
        """Whether both pictures can show the same."""
        one, other = (view.shape[0] / view.shape[1] for view in (self.source, self.edit))
        return abs(float(np.log(one / other))) <= _SAME_SHAPE

    @property
    def sizes(self) -> Sizes:
        """Of both pictures where they are compared: those of the source."""
        return self.source.own_sizes if self.is_same_shape else self.edit.own_sizes

    @cached_property
    def edit_pictures(self) -> Pictures:
        """Of the edit, all of them, at the sizes of the source's where the shapes are alike."""
        if self.edit is self.source:
            own = self.source.pictures
            return own.frozen() if self.control == "frozen" else own
        return self.edit.pictures_at(self.sizes)

    def edit_sampled(self, fps: Fraction, short_px: int) -> Frames:
        """Pictures of the edit at another rate and size, (T, H, W, 3), for models that ask so."""
        frames_THWC = self.edit.sampled(fps, short_px)
        if self.control == "frozen":
            return np.broadcast_to(frames_THWC[:1], frames_THWC.shape)
        return frames_THWC

    @cached_property
    def pairs(self) -> tuple[Pictures, Pictures]:
        """Source and edit, picture by picture, for the time that both last."""
        both = self.source.pictures, self.edit_pictures
        return both[0].first(self.num_frames), both[1].first(self.num_frames)

    @cached_property
    def detail_masks(self) -> npt.NDArray[np.bool_]:
        """Where it was edited, for each picture in detail that both have, bool (T, H, W).

        The given mask, else the edit's own.
        """
        place = self.mask or self.edit_mask
        assert place is not None
        return place.masks(self.num_frames, self.sizes[1], DETAIL_STEP)

    def edit_wave(self, rate_hz: int) -> Waves:
        """The sound of the edit, (2, N) float32, as long as its pictures.

        Of a control that is as long as those of its source: the film of a round trip through a VAE
        rounds its times to milliseconds.
        """
        own = self.sound.wave(rate_hz)
        pictures = self.source if self.control else self.edit
        length = num_ticks(pictures.looked_s, rate_hz)
        late = round(SHIFT_S * rate_hz) if self.control == "shifted" else 0
        wave_CN = np.zeros((2, length), np.float32)
        heard = own[:, : max(0, length - late)]
        wave_CN[:, late : late + heard.shape[1]] = heard
        return wave_CN

    def notes(self) -> list[str]:
        """What was done to make the two comparable, in words."""
        said = []
        for name, view in (("source", self.source), ("edit", self.edit)):
            if view.duration_s > MAX_S:
                said.append(f"the first {MAX_S:g} s of the {name}'s {view.duration_s:.1f} s")
        one_s, other_s = self.source.duration_s, self.edit.duration_s
        if abs(one_s - other_s) > 1 / FPS:
            said.append(
                f"the source lasts {one_s:.2f} s, the edit {other_s:.2f} s: compared as long as "
                "both last"
            )
        if self.is_same_shape and self.source.file.shape != self.edit.file.shape:
            said.append(
                f"the edit's {_size(self.edit)} was scaled to the view of the source's "
                f"{_size(self.source)}"
            )
        one, other = (view.file.info.video.fps for view in (self.source, self.edit))
        if abs(float(one) - float(other)) > _SAME_FPS:
            said.append(f"{float(one):.2f} and {float(other):.2f} fps: compared at {FPS} by time")
        return said


def _size(view: MediaView) -> str:
    width, height = view.shape
    return f"{width:.0f}x{height:.0f}"
