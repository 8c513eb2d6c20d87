"""Controls: edits whose right score is known, derived from the sources and measured alike.

A metric that prefers one of them to a real edit measures something else than how good an edit is.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from avipipe.evaluate.cases import Case, Control

CONTROLS: dict[Control, str] = {
    "copy": "the source itself, unedited",
    "frozen": "its first picture all the time, with its own sound",
    "vae": "the source after a round trip through a VAE, at most 480 px",
    "shuffled": "its picture, with the sound of another source",
    "shifted": "its picture, with its own sound half a second late",
}
"""Control -> what it shows, in words."""

SHIFT_S = 0.5
"""How late the sound of `shifted` is: more than the 0.2 s that people tolerate, less than the 0.6 s
that SyncNet searches. A choice."""


def controls_of(cases: Sequence[Case], seed: int, vae: Path | None = None) -> list[Case]:
    """The controls of each source; cases of one name and source share them.

    Args:
        seed: of the draw of other sounds.
        vae: folder of the VAE for a round trip; without one that control is left out.
    """
    first: dict[str, Case] = {}
    for case in cases:
        if case.source is not None and not case.control:
            first.setdefault(case.name, case)
    sounds = _other_sounds(list(first.values()), seed)
    return [
        _control(case, control, sounds[case.name], vae)
        for control in CONTROLS
        if control != "vae" or vae is not None
        for case in first.values()
    ]


def _control(case: Case, control: Control, sound_of: Path | None, vae: Path | None) -> Case:
    lacks_sound = control == "shuffled" and sound_of is None
    own = {
        "method": f"control: {control}",
        "control": control,
        "edit": case.source,
        "seed": None,
        "precision": None,
        "making_s": None,
        "sound_of": sound_of if control == "shuffled" else None,
        "vae": vae if control == "vae" else None,
        "problem": "there is no other source whose sound it could have" if lacks_sound else "",
    }
    return case.model_copy(update=own)


def _other_sounds(cases: Sequence[Case], seed: int) -> dict[str, Path | None]:
    """Case -> a source of another group, drawn by a seed, whatever the order of the cases."""
    ordered = sorted(cases, key=lambda case: case.name)
    random.Random(seed).shuffle(ordered)
    found: dict[str, Path | None] = {}
    for place, case in enumerate(ordered):
        after = [*ordered[place + 1 :], *ordered[:place]]
        others = (other.source for other in after if other.group != case.group)
        found[case.name] = next(others, None)
    return found
