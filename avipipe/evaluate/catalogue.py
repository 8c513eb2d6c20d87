"""All metrics by name and protocol: `METRICS`, the one list that runs, reports and docs go by.

Numbers of two protocols are never compared. Functions of metrics are imported when they are used,
so that a metric without weights loads none.
"""

from collections.abc import Callable, Sequence

from avipipe.errors import ConfigError
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics import davis, leakage, pixel_error, ssim
from avipipe.evaluate.views import CaseView

_DETAIL = "every 8th of 24 pictures a second, short side at most 480 px, at the source's size"


def _outside(function: Callable[..., float]) -> Callable[[CaseView], float]:
    """A comparison of the pictures in detail, outside of the mask."""

    def measure(view: CaseView) -> float:
        source, edit = view.pairs
        return function(source.detail_THWC, edit.detail_THWC, ~view.detail_masks)

    return measure


def _leakage(view: CaseView) -> float:
    source, edit = view.pairs
    return leakage.background_leakage(source.detail_THWC, edit.detail_THWC, view.detail_masks)


def _whole(function: Callable[..., float]) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        source, edit = view.pairs
        return function(source.detail_THWC, edit.detail_THWC)

    return measure


def _mask_agreement(part: str) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        assert view.mask is not None
        assert view.edit_mask is not None
        sides = (
            each.masks(view.num_frames, view.source.own_sizes[1])
            for each in (view.mask, view.edit_mask)
        )
        agreement = davis.mask_agreement(*sides, given_ends=False)
        return float(getattr(agreement, part))

    return measure


METRICS: dict[str, Metric] = {
    "ssim.full": Metric(
        measure=_whole(ssim.ssim),
        needs=("pairs",),
        sense="none",
        family="picture",
        words="How alike the edit and the source are, everywhere.",
        protocol=f"SSIM, Gaussian window 11, sigma 1.5, of {_DETAIL}.",
    ),
    "ssim.zerofill": Metric(
        measure=_outside(ssim.ssim_zero_fill),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        words="How alike both are outside of the mask, as FiVE-Bench has it.",
        protocol=f"SSIM of {_DETAIL}, black inside of the mask, which counts as alike.",
    ),
    "ssim.map": Metric(
        measure=_outside(ssim.ssim_inside),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        words="How alike both are outside of the mask.",
        protocol=f"Mean of the SSIM map where its window is outside of the mask, of {_DETAIL}.",
    ),
    "psnr.outside": Metric(
        measure=_outside(pixel_error.psnr_db),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        unit="dB",
        words="How little changed outside of the mask.",
        protocol=f"PSNR of the pixels outside of the mask, at most 100 dB, of {_DETAIL}.",
    ),
    "leakage.mean": Metric(
        measure=_leakage,
        needs=("pairs", "mask"),
        sense="lower",
        family="picture",
        words="How much changed outside of the mask.",
        protocol=f"Mean absolute difference of RGB outside of the mask, of {_DETAIL}.",
    ),
    "jf.davis": Metric(
        measure=_mask_agreement("jf"),
        needs=("mask", "edit_mask"),
        sense="higher",
        family="mask",
        words="How well the mask that the edit came out with fits the exact one.",
        protocol="DAVIS' J&F, of all pictures.",
    ),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The metrics that were asked for, in the order of the list; all of them for nothing.

    Args:
        names: of metrics, of families, or beginnings such as `ssim`.
    Raises:
        ConfigError: one is not in the list.
    """
    if not names:
        return list(METRICS)
    found: set[str] = set()
    for asked in names:
        own = {
            name
            for name, metric in METRICS.items()
            if asked in (name, name.split(".")[0], metric.family)
        }
        if not own:
            raise ConfigError(
                f"there is no metric {asked!r}; `avipipe eval metrics` lists {len(METRICS)} of them"
            )
        found |= own
    return [name for name in METRICS if name in found]
