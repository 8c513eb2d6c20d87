"""Embeddings of a case's pictures, sound and words by models, kept by what they depend on."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.extractors.clip import ClipVitB32
from avipipe.evaluate.metrics.undefined import require_sound
from avipipe.evaluate.store import content
from avipipe.evaluate.views import Frames, Waves

Embeddings = npt.NDArray[np.floating[Any]]
Extractor = TypeVar("Extractor", bound=Weighted)

READY: dict[type[Weighted], Any] = {}
"""The models of this process."""


def ready(extractor: type[Extractor]) -> Extractor:
    """A model with its weights, loaded once a process.

    Raises:
        WeightsError: one is missing, corrupted, or not whole.
    """
    if extractor not in READY:
        model: Any = extractor()
        model.setup()
        READY[extractor] = model
    found: Extractor = READY[extractor]
    return found


def kept_name(extractor: type[Weighted], form: str) -> str:
    """Names an embedding in the store: the model, its version and weights, and what it saw."""
    model: Any = extractor()
    weights = "-".join(each[:16] for each in model.weights.values())
    return f"{model.name}-{model.version}-{weights}-{form}"


def of_edit(
    view: CaseView,
    extractor: type[Extractor],
    embed: Callable[[Extractor, Frames], Embeddings],
    form: str = "",
) -> Embeddings:
    """What a model makes of the edit's pictures for motion; kept by the content of their file.

    Args:
        form: what the model is shown of them, where that is not each by itself.
    """
    width, height = view.sizes[0]
    derived = "-frozen" if view.control == "frozen" else ""
    name = kept_name(extractor, f"motion-{width}x{height}-{form}{derived}")
    frames_THWC = view.edit_pictures.motion_THWC
    return view.cached(
        view.edit, name, lambda: embed(ready(extractor), np.ascontiguousarray(frames_THWC))
    )


def of_film(
    view: CaseView, extractor: type[Weighted], make: Callable[[], Embeddings], form: str = ""
) -> Embeddings:
    """What a model makes of the edit's pictures with its sound; kept by the content of both files.

    Args:
        form: what else it depends on.
    """
    changed = view.control if view.control in ("frozen", "shifted") else "as-it-is"
    name = kept_name(extractor, f"{form}{changed}-{content(view.sound.path)}")
    return view.cached(view.edit, name, make)


def heard(wave_CN: Waves) -> Waves:
    """A sound as models take it, mono (N,).

    Raises:
        Undefined: it is silent.
    """
    wave_N: Waves = wave_CN.mean(axis=0)
    require_sound(wave_N)
    return wave_N


def clip_frames(view: CaseView, extractor: type[ClipVitB32]) -> Embeddings:
    """CLIP's embeddings of the edit's pictures."""
    return of_edit(view, extractor, lambda model, frames_THWC: model.images(frames_THWC))


def clip_text(extractor: type[ClipVitB32], text: str) -> Embeddings:
    """CLIP's embedding (D,) of a text."""
    found: Embeddings = ready(extractor).texts([text])[0]
    return found
