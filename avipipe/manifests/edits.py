"""`edits.json`: the edits that a clip is given to be measured by, as an editor is asked."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from avipipe.errors import ManifestError
from avipipe.manifests.records import ID_PATTERN

EditKind = Literal["same_class", "other_class", "attribute", "delete", "insert", "sound"]
"""What an edit changes.

* same_class: the instance, to another one of its class.
* other_class: the instance, to one of another class, which sounds otherwise.
* attribute: how the instance looks; its sound stays.
* delete: the instance goes, and its sound with it.
* insert: a second instance comes beside it, and sounds.
* sound: the voice or the sound of the instance; its look stays.
"""

EDIT_KINDS: tuple[EditKind, ...] = get_args(EditKind)

_CLIP_EDIT = re.compile(rf"(.+)-(?:{'|'.join(EDIT_KINDS)})-[1-9][0-9]*")
"""No clip id ends so: it ends in the times of its span."""


class EditPair(BaseModel):
    """An edit of a clip: what is there, what is asked for, and how it is asked.

    Attributes:
        name: unique within the clip, fit for a folder: the kind, a hyphen, and a number from 1.
        source_caption: what the clip shows and sounds like, the source prompt of an editor.
        target_caption: what the edited clip is to show and to sound like.
        source_label: the class of the instance.
        target_label: the class of what is there after the edit; None: it was deleted.
        instruction: what is asked of the editor, in a sentence.
        sound_instruction: what is asked of the audio agent; None: the sound is to stay.
        precision: the precision factor of the mask to give: 0 exact to P box.
        made_by: `name@version` of the backend, or `person`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z_]+-[1-9][0-9]*$")
    kind: EditKind
    source_caption: str = Field(min_length=1)
    target_caption: str = Field(min_length=1)
    source_label: str = Field(min_length=1)
    target_label: str | None = Field(min_length=1)
    instruction: str = Field(min_length=1)
    sound_instruction: str | None = Field(min_length=1)
    precision: int = Field(ge=0)
    made_by: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name.rpartition("-")[0] != self.kind:
            raise ValueError(f"expected a name that begins with its kind, {self.kind}-")
        if (self.target_label is None) != (self.kind == "delete"):
            raise ValueError("expected a target label for all but a deletion, and none for that")
        if self.source_caption == self.target_caption and self.kind != "sound":
            raise ValueError("expected captions that differ")
        return self


def edits_to_json(edits: tuple[EditPair, ...]) -> dict[str, Any]:
    """The content of `edits.json`."""
    return {"edits": [pair.model_dump(mode="json") for pair in edits]}


def edits_from_json(data: Mapping[str, Any]) -> tuple[EditPair, ...]:
    """Read the content of `edits.json`.

    Raises:
        ManifestError: the data contract is broken, or two edits have one name.
    """
    try:
        edits = tuple(map(EditPair.model_validate, data["edits"]))
    except (KeyError, TypeError, ValidationError) as error:
        raise ManifestError(f"expected `edits`, a list of edit pairs: {error}") from error
    twice = [name for name, count in Counter(pair.name for pair in edits).items() if count > 1]
    if twice:
        raise ManifestError(f"expected edits of different names, found twice: {', '.join(twice)}")
    return edits


def read_edits(text: bytes) -> tuple[EditPair, ...]:
    """Read `edits.json`.

    Raises:
        ManifestError: it is no JSON, or breaks the data contract.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ManifestError(f"edits.json: expected JSON: {error}") from error
    return edits_from_json(data)


class ClipEdit(BaseModel):
    """An edit pair, and the clip that it is of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_id: str = Field(pattern=f"^{ID_PATTERN.pattern}$")
    pair: EditPair

    @property
    def name(self) -> str:
        """What jobs, results and cases of it are called: `CLIP_ID-KIND-N`."""
        return f"{self.clip_id}-{self.pair.name}"


def clip_of(name: str) -> str:
    """The clip that a result or a case is of, whose name is that of a `ClipEdit` or a clip id."""
    found = _CLIP_EDIT.fullmatch(name)
    return found[1] if found else name
