"""What a backend is that proposes edits of a clip in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from avipipe.annotators.base import Annotator, Frames
from avipipe.manifests.edits import EditKind


@dataclass(frozen=True, slots=True)
class ProposedEdit:
    """An edit of a scene in words; see `manifests.edits.EditPair` for its fields."""

    kind: EditKind
    target_caption: str
    target_label: str | None
    instruction: str
    sound_instruction: str | None


class Instructor(Annotator, Protocol):
    """Proposes edits of a clip from `num_frames` of its frames and the evidence so far."""

    num_frames: int

    def instruct(
        self,
        frames_THWC: Frames,
        *,
        evidence: Mapping[str, Any],
        kinds: Sequence[EditKind],
        seed: int,
    ) -> list[ProposedEdit]:
        """One edit of each kind, in their order.

        Args:
            evidence: of the stages `listen`, `look`, `cut`, `mask` and `caption`.
            kinds: each once, and such as make sense for the label of the caption.
            seed: of this clip: another one gives other edits, where the backend draws at all.
        """
        ...
