"""What is known exactly about a synthetic clip, and its form on disk.

`truth.jsonl` holds one JSON object a clip; masks lie beside it, one file a clip, as COCO run-length
codes of what was drawn, before the codec.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from avipipe.errors import ManifestError
from avipipe.manifests.records import DropReason
from avipipe.manifests.rle import canonical_json, decode

Masks = npt.NDArray[np.bool_]
Verdict = Literal["keep", "drop", "either"]


@dataclass(frozen=True, slots=True)
class VoiceSpan:
    """A phrase of one voice, `[start_s, end_s)`, with no pause inside."""

    speaker: str
    start_s: float
    end_s: float
    on_screen: bool


@dataclass(frozen=True, slots=True)
class ObjectTrack:
    """One moving thing: the counts of its visible pixels in every frame of the clip."""

    label: str
    sounding: bool
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything known about one clip.

    Attributes:
        file: the clip, relative to `truth.jsonl`.
        verdict: what a build should decide; "either" for clips that are not meant for one.
        reason: the drop reason that fits best; empty unless the verdict is "drop".
        other_reasons: drop reasons that are right as well.
        fps: frames per second as "num/den", the mean where `vfr`.
        size: (height, width) in pixels, as shown.
        rotation_deg: by which a player turns the stored picture, counter-clockwise.
        cuts_s: when each shot but the first begins.
        events_s: onsets of the instance's sound.
        label: names the instance; empty where there is none.
        times_s: when each frame appears.
        masks_file: relative to `truth.jsonl`; empty until written.
        root: the folder of `truth.jsonl`.
    """

    kind: str
    seed: int
    verdict: Verdict
    reason: str
    other_reasons: tuple[str, ...]
    duration_s: float
    fps: str
    vfr: bool
    num_frames: int
    size: tuple[int, int]
    rotation_deg: int
    cuts_s: tuple[float, ...]
    events_s: tuple[float, ...]
    voices: tuple[VoiceSpan, ...]
    label: str
    file: str = ""
    masks_file: str = ""
    times_s: tuple[float, ...] = field(default=(), repr=False)
    objects: tuple[ObjectTrack, ...] = field(default=(), repr=False)
    root: Path = field(default=Path(), compare=False)

    @property
    def reasons(self) -> frozenset[DropReason]:
        """Every drop reason that is right; empty for a clip to keep."""
        return frozenset(DropReason(name) for name in (self.reason, *self.other_reasons) if name)

    @property
    def frame_rate(self) -> Fraction:
        return Fraction(self.fps)

    @property
    def path(self) -> Path:
        """Where the clip lies."""
        return self.root / self.file

    def masks(self, times_s: Sequence[float] | None = None, *, label: str = "") -> Masks:
        """The masks of the instance, bool (T, H, W): the union of what sounds.

        Args:
            times_s: take the frame on show at each of these times; None for every frame.
            label: the objects of this name instead, sounding or not.
        """
        chosen = [
            track for track in self.tracks() if (track.label == label if label else track.sounding)
        ]
        wanted = range(self.num_frames) if times_s is None else self.frame_indices(times_s)
        masks_THW = np.zeros((len(wanted), *self.size), np.bool_)
        for slot, frame in enumerate(wanted):
            for track in chosen:
                masks_THW[slot] |= decode(track.frames[frame], self.size)
        return masks_THW

    def tracks(self) -> tuple[ObjectTrack, ...]:
        """All objects, the sounding ones first."""
        return self._with_masks().objects

    def frame_indices(self, times_s: Sequence[float]) -> list[int]:
        """Which frame is on show at each time."""
        # Half a millisecond of grace: times that went through a container are rounded.
        starts_s = self._with_masks().times_s
        found = np.searchsorted(starts_s, np.asarray(times_s) + 5e-4, side="right") - 1
        return [int(frame) for frame in np.clip(found, 0, self.num_frames - 1)]

    def _with_masks(self) -> "Truth":
        return self if self.times_s else read_masks(self)


def write_masks(truth: Truth, path: Path) -> None:
    """Write the frame times and masks of all objects."""
    data = {
        "size": truth.size,
        "times_s": truth.times_s,
        "objects": [asdict(track) for track in truth.objects],
    }
    path.write_bytes(canonical_json(data))


def read_masks(truth: Truth) -> Truth:
    """This truth with `times_s` and `objects` filled in from its masks file."""
    data = json.loads((truth.root / truth.masks_file).read_bytes())
    objects = tuple(
        ObjectTrack(item["label"], item["sounding"], tuple(item["frames"]))
        for item in data["objects"]
    )
    return replace(truth, times_s=tuple(data["times_s"]), objects=objects)


def write_truth(truths: Iterable[Truth], path: Path) -> None:
    """Write `truth.jsonl`, one line a clip, without what lies in the masks files."""
    path.write_bytes(b"".join(canonical_json(_row(truth)) for truth in truths))


def load_truth(path: Path) -> list[Truth]:
    """Read `truth.jsonl`; masks are read when they are asked for.

    Raises:
        ManifestError: a line is not what `write_truth` writes.
    """
    truths = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            truths.append(_parse(json.loads(line), path.parent))
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestError(
                f"{path}:{number}: expected a row of truth, got {error!r};"
                " run `avipipe synth` again"
            ) from error
    return truths


def _row(truth: Truth) -> dict[str, Any]:
    row = asdict(truth)
    for name in ("times_s", "objects", "root"):
        del row[name]
    return row


def _parse(row: dict[str, Any], root: Path) -> Truth:
    voices = tuple(VoiceSpan(**voice) for voice in row.pop("voices"))
    lists = ("other_reasons", "size", "cuts_s", "events_s")
    return Truth(**row | {name: tuple(row[name]) for name in lists}, voices=voices, root=root)
