"""Shots: a source between its cuts, in clips of bounded length."""

import math
import time
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scenedetect import AdaptiveDetector, FrameTimecode

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.records import Keep, Outcome, Span
from avipipe.media.normalize import FPS
from avipipe.media.probe import MediaInfo
from avipipe.media.reference import (
    REFERENCE_NAMES,
    Reference,
    iter_small_pictures,
    kept_grey,
    read_companded,
)
from avipipe.stages.base import Item, Stage
from avipipe.stages.fetch import source_path

# The shortest interval that is whole both in milliseconds and in frames: 3 frames, 125 ms.
_GRAIN_S = Fraction(3) / FPS
_MAX_SNAP_S = 0.1
"""How far the begin of a clip may move to the next picture that is shown; a choice."""
_SLACK_S = float(1 / FPS / 2)
"""Half a frame by which a part may be short of whole frames: times are rounded."""


class ShotsConfig(BaseModel):
    """How cuts are found, and clips are laid between them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height_px: int = Field(64, ge=16, le=240, description="Short side of the pictures compared.")
    adaptive_threshold: float = Field(
        3.0,
        gt=0,
        description="How much more than its neighbours a cut changes the picture.",
    )
    min_content_val: float = Field(
        15.0, ge=0, le=255, description="Least change of hue, saturation and brightness at a cut."
    )
    min_shot_s: float = Field(0.5, ge=0, description="Least time between two cuts.")
    guard_frames: int = Field(
        2, ge=0, description="Pictures left out on both sides of a cut, where codecs blur."
    )
    max_clip_s: float = Field(10.0, ge=0.5, description="A longer shot is split evenly.")
    max_clips: int = Field(
        10_000, ge=1, description="Most clips of one source; more is no footage. Never in a key."
    )
    timeout_factor: float = Field(4.0, gt=0, description="Time limit per second of source.")


class Shots(Stage):
    """Gives each source its clips, in `children`.

    A clip begins with a picture of the source and lasts a multiple of 125 ms, so that it is whole
    both in milliseconds and in frames. One that is too short is still a clip: to drop it is a
    decision.

    Evidence: `cuts_s`, when the first picture after each cut appears; `num_pictures` looked at;
    and `num_shots`. Files: what the source shows and sounds like (`Reference`), which proves later
    that a clip is what it should be.
    """

    name = "shots"
    version: ClassVar[int] = 2
    level: ClassVar[Literal["source", "clip"]] = "source"
    needs = ("fetch", "probe")
    fans_out: ClassVar[bool] = True
    timeout_s = 6 * 3600.0

    def __init__(self, config: ShotsConfig) -> None:
        self.config = config

    def settings(self) -> Mapping[str, Any]:
        return self.config.model_dump(mode="json", exclude={"timeout_factor", "max_clips"})

    def run(self, item: Item, folder: Path) -> Outcome:
        info, path = MediaInfo.from_json(item.evidence["probe"]), source_path(item)
        wanted = _wanted(info, item.source.span)
        times_s, kept, cuts = self._cuts(path, info, wanted)
        sound_N = read_companded(path, info, start_s=wanted.start_s, end_s=wanted.end_s)
        Reference(np.array(times_s), np.stack(kept), sound_N, wanted.start_s).save(folder)
        shots = _shots(times_s, cuts, wanted, self.config.guard_frames)
        parts = [part for shot in shots for part in _parts(shot, info.stretches)]
        children = [
            clip for part in parts for clip in _clips(part, times_s, self.config.max_clip_s)
        ]
        if len(children) > self.config.max_clips:
            message = (
                f"expected at most {self.config.max_clips} clips of {path}, found {len(children)}; "
                "to allow it, raise stages.shots.max_clips"
            )
            raise MediaError(FailKind.TOO_LARGE, message)
        evidence = {
            "cuts_s": [round(times_s[cut], 6) for cut in cuts],
            "num_pictures": len(times_s),
            "num_shots": len(parts),
        }
        return Keep(evidence, files=REFERENCE_NAMES, children=tuple(children))

    def _cuts(
        self, path: Path, info: MediaInfo, wanted: Span
    ) -> tuple[list[float], list[npt.NDArray[np.uint8]], list[int]]:
        """When each picture appears, what it shows, and which are the first after a cut."""
        config, fps = self.config, info.video.fps
        detector = AdaptiveDetector(
            adaptive_threshold=config.adaptive_threshold,
            min_content_val=config.min_content_val,
            min_scene_len=max(1, round(config.min_shot_s * fps)),
        )
        deadline_s = time.monotonic() + 60 + config.timeout_factor * wanted.duration_s
        times_s: list[float] = []
        kept: list[npt.NDArray[np.uint8]] = []
        found: list[FrameTimecode] = []
        pictures = iter_small_pictures(
            path, info, start_s=wanted.start_s, end_s=wanted.end_s, height_px=config.height_px
        )
        for number, (time_s, picture_HWC) in enumerate(pictures):
            times_s.append(time_s)
            kept.append(kept_grey(picture_HWC))
            found += detector.process_frame(FrameTimecode(number, fps), picture_HWC)
            if time.monotonic() > deadline_s:
                message = f"{path}: no shots after {config.timeout_factor:g} times its duration"
                raise MediaError(FailKind.TIMEOUT, message)
        if not times_s:
            raise MediaError(FailKind.CORRUPT, f"expected pictures, could decode none of {path}")
        found += detector.post_process(FrameTimecode(len(times_s), fps))
        return times_s, kept, sorted({cut.frame_num for cut in found})


def _wanted(info: MediaInfo, span: Span | None) -> Span:
    """The part with a picture, within what the user asked for.

    Raises:
        MediaError: RANGE_OUTSIDE.
    """
    start_s, end_s = max(info.video.start_s, 0.0), info.video.end_s
    if span is None:
        return Span(start_s, end_s)
    inside = Span(max(start_s, span.start_s), min(end_s, span.end_s))
    if inside.duration_s <= 0:
        message = (
            f"expected a range within the video's {start_s:.3f}-{end_s:.3f} s, "
            f"found {span.start_s:.3f}-{span.end_s:.3f} s"
        )
        raise MediaError(FailKind.RANGE_OUTSIDE, message)
    return inside


def _shots(
    times_s: Sequence[float], cuts: Sequence[int], wanted: Span, guard_frames: int
) -> list[Span]:
    """What lies between the cuts, without the guards; one too short for guards keeps its frames."""
    shots = []
    starts, ends = [0, *cuts], [*cuts, len(times_s)]
    for first, last in zip(starts, ends, strict=True):
        guard_before = guard_frames if first > 0 else 0
        guard_after = guard_frames if last < len(times_s) else 0
        if last - first > guard_before + guard_after:
            first, last = first + guard_before, last - guard_after
        start_s = times_s[first] if first > 0 else wanted.start_s
        shots.append(Span(start_s, times_s[last] if last < len(times_s) else wanted.end_s))
    return shots


def _parts(shot: Span, stretches: Sequence[tuple[float, float]]) -> Iterator[Span]:
    """What of a shot lies where something is shown or heard: all of it, but for holes."""
    for from_s, to_s in stretches:
        part = Span(max(shot.start_s, from_s), min(shot.end_s, to_s))
        if part.duration_s > 0:
            yield part


def _clips(shot: Span, times_s: Sequence[float], max_clip_s: float) -> Iterator[Span]:
    """The shot in even parts of at most `max_clip_s`."""
    count = math.ceil(shot.duration_s / max_clip_s - 1e-6)
    bounds_s = np.linspace(shot.start_s, shot.end_s, max(count, 1) + 1)
    for part_start_s, part_end_s in pairwise(bounds_s.tolist()):
        start_s = round(_nearest(times_s, part_start_s), 3)
        grains = math.floor((part_end_s - start_s + _SLACK_S) / _GRAIN_S)
        length_s = float(grains * _GRAIN_S) or max(part_end_s - start_s, 0.001)
        yield Span(start_s, round(start_s + length_s, 3))


def _nearest(times_s: Sequence[float], time_s: float) -> float:
    """When the picture appears that is nearest to `time_s`; `time_s` where none is near."""
    after = bisect(times_s, time_s)
    candidates = times_s[max(after - 1, 0) : after + 1]
    nearest_s = min(candidates, key=lambda candidate: abs(candidate - time_s))
    return nearest_s if 0 <= nearest_s and abs(nearest_s - time_s) <= _MAX_SNAP_S else time_s
