"""What a model is shown and asked for edits: frames, the caption, and which kinds of edits."""

from collections.abc import Mapping, Sequence
from typing import Any

from avipipe.annotators.base import Frames
from avipipe.annotators.full.caption_prompt import shown
from avipipe.manifests.edits import EditKind
from avipipe.services.reply import Message

_TASK = """\
These pictures are {num_frames} frames of one video clip of {duration_s:.1f} s, in order. \
Its caption: {caption}
The instance is the {label}, which makes the sound that is heard. {outlined}

Propose one edit of the instance of each of these kinds:
{kinds}

Answer with one JSON object and nothing else:
{{"edits": [{{"kind": "...", "target_caption": "...", "target_label": "...", "instruction": "...", \
"sound_instruction": "..."}}]}}
kind: as above, each once.
target_caption: what the edited clip shows and sounds like, in one to three plain English \
sentences; the caption with as little changed as the edit needs.
target_label: a noun phrase that names what is there after the edit; null where it was deleted.
instruction: one sentence that tells an editor what to do with the {label}; it names the {label}.
sound_instruction: one sentence that tells what to do with the sound; null where it stays.
Name only what the caption says, what the pictures show, and things that can be heard."""

_KINDS: Mapping[EditKind, str] = {
    "same_class": "another instance of the same class takes its place; its sound may differ",
    "other_class": "an instance of another class, which sounds otherwise, takes its place",
    "attribute": "only its look changes; its sound stays",
    "delete": "it goes, and its sound with it; the target caption does not name it",
    "insert": "a second one comes beside it, and is heard",
    "sound": "only its voice or sound changes, to one that it can make; its look stays",
}


def edit_question(
    frames_THWC: Frames, *, evidence: Mapping[str, Any], kinds: Sequence[EditKind]
) -> Message:
    """The question about edits of a clip, as a message to a model.

    Args:
        frames_THWC: evenly spread over the clip, each from the middle of its share.
        evidence: of the stages `cut`, `mask` and `caption`.
    Raises:
        AnnotatorError: there are no frames.
    """
    pictures, outlined = shown(frames_THWC, evidence=evidence)
    caption = evidence["caption"]
    task = _TASK.format(
        num_frames=len(frames_THWC),
        duration_s=evidence["cut"]["duration_s"],
        caption=caption["text"],
        label=caption["label"],
        outlined=outlined,
        kinds="\n".join(f"{kind}: {_KINDS[kind]}" for kind in kinds),
    )
    return Message("user", (*pictures, task))
