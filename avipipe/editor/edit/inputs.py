"""What an edit is given beside the video: each file is read once, before anything is edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avipipe.annotators.base import Frames
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.job import AUDIO_WAYS, EditSpec
from avipipe.editor.edit.masks_in import UserMask, read_mask
from avipipe.editor.edit.pictures_in import read_control, read_reference
from avipipe.editor.edit.sound import NewSound, given_sound
from avipipe.editor.edit.video import Source


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that an edit is given beside the video, at the size that is edited.

    Attributes:
        mask: None where words are to be looked for.
        controls: kind -> frames like the video's.
        references: images (H, W, 3).
        sound: from a file; None where it is kept, or made.
        files: path of each -> sha256.
    """

    mask: UserMask | None
    controls: Mapping[str, Footage]
    references: Sequence[Frames]
    sound: NewSound | None
    files: Mapping[str, str]


def read_inputs(
    spec: EditSpec, source: Source, folder: Path, files: Mapping[str, str], *, max_precision: int
) -> Inputs:
    """Read what an edit is given.

    Args:
        folder: of the edit; gets controls and sound as they fit the video.
        files: sha256 of all files of the job.
        max_precision: P of the method.
    Raises:
        ConfigError: a mask, a control or a reference is not what it must be.
        MediaError: the sound cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    take, shape = source.take, source.shape
    is_file = spec.audio not in AUDIO_WAYS
    return Inputs(
        mask=read_mask(spec.mask, take, shape, max_precision=max_precision)
        if spec.mask.is_drawn
        else None,
        controls={
            kind: read_control(path, take, shape, folder / f"control-{kind}")
            for kind, path in spec.controls.items()
        },
        references=[read_reference(path, take) for path in spec.references],
        sound=given_sound(Path(spec.audio), folder / "sound", take.num_frames) if is_file else None,
        files={str(path): files[str(path)] for path in spec.files},
    )
