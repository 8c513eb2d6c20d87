"""Coarser masks of cases, as ablations give them to methods."""

from pathlib import Path

from avipipe.evaluate.mask_view import MaskView
from avipipe.evaluate.paper_tables import MaskKind
from avipipe.evaluate.views import DETAIL_PX, FPS, MediaView, size_within
from avipipe.manifests.degrade import Law, degrade, seed_of
from avipipe.manifests.rle import encode, write_masks
from avipipe.media.decode import num_ticks

LAW = Law()
"""What datasets are degraded by, with its usual reach; how far AVI-Edit's ablation goes, it does
not tell."""


def level_of(name: str, kind: MaskKind) -> int:
    """The precision factor of a case's mask: 0 as given, P the box, else drawn by the name."""
    if kind == "given":
        return 0
    return LAW.num_levels if kind == "box" else 1 + seed_of(name, 0) % LAW.num_levels


def write_coarse(source: Path, mask: Path, name: str, kind: MaskKind, path: Path) -> None:
    """Write the mask of a case as `masks.json` at the level of its kind, 24 a second.

    Args:
        source: video that the mask is of; the mask gets its shape, at most 480 px across.
    Raises:
        MediaError: a file cannot be read; ManifestError: the mask is no `masks.json`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    view = MediaView(source, path.parent)
    size = size_within(view.shape, DETAIL_PX)
    level = level_of(name, kind)
    seeds = [seed_of(name, p) for p in range(1, LAW.num_levels + 1)]
    masks_THW = MaskView(mask, path.parent).masks(num_ticks(view.duration_s, FPS), size)
    counts = (encode(degrade(LAW, mask_HW, seeds)[level - 1]) for mask_HW in masks_THW)
    write_masks(path, counts, size=(size[1], size[0]))
