"""Instruct: edits of a clip in words, to measure editors by, into `edits.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avipipe.annotators.instruct import ontology
from avipipe.annotators.instruct.base import Instructor, ProposedEdit
from avipipe.errors import AnnotatorError
from avipipe.manifests.edits import EDIT_KINDS, EditKind, EditPair, edits_to_json
from avipipe.manifests.insertion import has_room
from avipipe.manifests.records import Keep, Outcome, digest
from avipipe.manifests.rle import canonical_json
from avipipe.manifests.samples import EDITS_MEMBER
from avipipe.stages.annotated import AnnotatedStage
from avipipe.stages.base import Item
from avipipe.stages.caption import frames_of
from avipipe.text import MAX_NAME_CHARS, safe_text


class InstructConfig(BaseModel):
    """Which edits clips are given; the backend is chosen by role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[EditKind, ...] = Field(
        EDIT_KINDS, min_length=1, description="Kinds of edits that are drawn from."
    )
    per_clip: int = Field(
        3, ge=1, le=len(EDIT_KINDS), description="Edits of a clip, each of another kind."
    )
    seed: int = Field(0, ge=0, description="Another one draws other kinds, edits and factors.")
    height_px: int = Field(360, ge=64, description="Short side of the frames that a model sees.")


class Instruct(AnnotatedStage):
    """Writes `edits.json`; evidence: `num_edits`, `kinds`, `backend`.

    A clip's split is known only when it is published, and depends on other clips; so every clip
    is given edits here, and publishing takes those of the splits that come with them.

    Args:
        num_levels: P of the mask pairs; the precision factors 0 … P go round over the edits.
    """

    name = "instruct"
    version: ClassVar[int] = 1
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("listen", "look", "cut", "mask", "caption")

    def __init__(self, config: InstructConfig, *, instructor: Instructor, num_levels: int) -> None:
        super().__init__(config, {"instruct": instructor})
        self.config = config
        self._instructor = instructor
        self._num_levels = num_levels

    def settings(self) -> Mapping[str, Any]:
        """See `Stage.settings`."""
        return {**super().settings(), "num_levels": self._num_levels}

    def run(self, item: Item, folder: Path) -> Outcome:
        seed = int(digest([self.config.seed, item.id])[:16], 16)
        kinds = self._kinds(item.evidence, seed)
        proposed = self._proposed(item, kinds, seed)
        edits = self._edits(proposed, item.evidence["caption"], seed)
        (folder / EDITS_MEMBER).write_bytes(canonical_json(edits_to_json(edits)))
        evidence = {
            "num_edits": len(edits),
            "kinds": [pair.kind for pair in edits],
            "backend": self.backend_names()["instruct"],
        }
        return Keep(evidence, files=(EDITS_MEMBER,))

    def _kinds(self, evidence: Mapping[str, Any], seed: int) -> list[EditKind]:
        """The kinds drawn for a clip, of those that make sense for its label and its mask; none
        without a label."""
        label = evidence["caption"]["label"]
        if not label.strip():
            return []
        sensible = set(ontology.resolve(label).kinds())
        if not has_room([box for box in evidence["mask"]["boxes"] if box is not None], 1.0):
            sensible -= {"insert"}
        kinds = [kind for kind in EDIT_KINDS if kind in sensible and kind in self.config.kinds]
        return sorted(kinds, key=lambda kind: digest([seed, kind]))[: self.config.per_clip]

    def _proposed(self, item: Item, kinds: Sequence[EditKind], seed: int) -> list[ProposedEdit]:
        if not kinds:
            return []
        frames_THWC = frames_of(
            item, wanted=self._instructor.num_frames, height_px=self.config.height_px
        )
        found = self._instructor.instruct(
            frames_THWC, evidence=item.evidence, kinds=kinds, seed=seed
        )
        if [edit.kind for edit in found] != list(kinds):
            raise AnnotatorError(
                message=f"{self._instructor.name} gave edits of other kinds than were asked for: "
                f"expected {', '.join(kinds)}, found {', '.join(e.kind for e in found) or 'none'}"
            )
        return found

    def _edits(
        self, proposed: Sequence[ProposedEdit], caption: Mapping[str, Any], seed: int
    ) -> tuple[EditPair, ...]:
        try:
            return tuple(
                EditPair(
                    name=f"{edit.kind}-1",
                    kind=edit.kind,
                    source_caption=caption["text"],
                    target_caption=safe_text(edit.target_caption),
                    source_label=caption["label"],
                    target_label=_safe(edit.target_label, max_chars=MAX_NAME_CHARS),
                    instruction=safe_text(edit.instruction),
                    sound_instruction=_safe(edit.sound_instruction),
                    precision=(seed + number) % (self._num_levels + 1),
                    made_by=self.backend_names()["instruct"],
                )
                for number, edit in enumerate(proposed)
            )
        except ValidationError as error:
            raise AnnotatorError(
                message=f"{self._instructor.name} gave an edit that breaks the data contract: "
                f"{error}"
            ) from error


def _safe(text: str | None, *, max_chars: int | None = None) -> str | None:
    return None if text is None else safe_text(text, max_chars=max_chars)
