"""How an editor's own masks depend on how precise a mask it was given, over the cases of a run."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from avipipe.evaluate.cases import Case
from avipipe.evaluate.metrics.mask_curve import MaskCurve
from avipipe.evaluate.tables import ClipScore

J_METRIC, F_METRIC = "j.davis", "f.davis"
MARK = "@"
"""What stands before the precision factor in the name of a method that has one: `ours@4`."""


@dataclass(frozen=True, slots=True)
class EditorCurve:
    """The curve of one editor, mean over edits that it made at every precision factor.

    Attributes:
        editor: the method, up to the `@` of its name.
        num: of these edits, of `num_total` that it made at any.
    """

    editor: str
    curve: MaskCurve
    num: int
    num_total: int


def editor_curves(cases: Iterable[Case], clips: Sequence[ClipScore]) -> list[EditorCurve]:
    """A curve for each editor that made an edit at two precision factors or more.

    The same edit is one of the same source, prompts and instruction, whatever its case is called.

    Args:
        clips: of which those of J and F count.
    """
    scores = {(clip.metric, clip.method, clip.name): clip.value for clip in clips}
    found: dict[str, dict[tuple[str, ...], dict[int, list[tuple[float, float]]]]] = {}
    for case in cases:
        j, f = (scores.get((metric, case.method, case.name)) for metric in (J_METRIC, F_METRIC))
        if case.precision is None or case.control or j is None or f is None:
            continue
        editor = case.method.partition(MARK)[0]
        edit = (str(case.source), case.source_prompt, case.target_prompt, case.instruction)
        edits = found.setdefault(editor, {})
        edits.setdefault(edit, defaultdict(list))[case.precision].append((j, f))
    curves = (_curve(editor, edits.values()) for editor, edits in sorted(found.items()))
    return [curve for curve in curves if curve is not None]


def _curve(
    editor: str, edits: Iterable[Mapping[int, Sequence[tuple[float, float]]]]
) -> EditorCurve | None:
    """Over the edits that are there at all levels, so that no level has the easier ones."""
    all_edits = list(edits)
    levels = sorted({level for edit in all_edits for level in edit})
    whole = [edit for edit in all_edits if len(edit) == len(levels)]
    if len(levels) < 2 or not whole:
        return None
    means_P2 = np.array(
        [np.mean([np.mean(edit[level], axis=0) for edit in whole], axis=0) for level in levels]
    )
    curve = MaskCurve(np.array(levels, np.float64), means_P2[:, 0], means_P2[:, 1])
    return EditorCurve(editor, curve, len(whole), len(all_edits))
