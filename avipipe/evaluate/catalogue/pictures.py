"""Metrics of what an edit keeps of its source's pictures."""

from collections.abc import Callable

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics import leakage, pixel_error, ssim

DETAIL = "every 8th of 24 pictures a second, short side at most 480 px, at the source's size"
_FIVE_SCALE = 1e4
"""FiVE-Bench prints its mean squared errors times this."""


def _whole(function: Callable[..., float]) -> Callable[[CaseView], float]:
    """A comparison of the pictures in detail."""

    def measure(view: CaseView) -> float:
        source, edit = view.pairs
        return function(source.detail_THWC, edit.detail_THWC)

    return measure


def _outside(function: Callable[..., float], scale: float = 1.0) -> Callable[[CaseView], float]:
    """A comparison outside of the mask."""

    def measure(view: CaseView) -> float:
        source, edit = view.pairs
        return scale * function(source.detail_THWC, edit.detail_THWC, ~view.detail_masks)

    return measure


def _leakage(view: CaseView) -> float:
    source, edit = view.pairs
    return leakage.background_leakage(source.detail_THWC, edit.detail_THWC, view.detail_masks)


PICTURES: dict[str, Metric] = {
    "ssim.full": Metric(
        measure=_whole(ssim.ssim),
        needs=("pairs",),
        sense="none",
        family="picture",
        words="How alike edit and source are, everywhere.",
        protocol=f"SSIM, Gaussian window of 11 px, sigma 1.5, of {DETAIL}.",
    ),
    "ssim.skimage": Metric(
        measure=_whole(ssim.ssim_uniform),
        needs=("pairs",),
        sense="none",
        family="picture",
        words="The same as scikit-image has it where it is told nothing.",
        protocol=f"SSIM, flat window of 7 px, variances of a sample, without borders, of {DETAIL}.",
    ),
    "ssim.map": Metric(
        measure=_outside(ssim.ssim_inside),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        words="How alike both are outside of the mask.",
        protocol="Mean of the SSIM map where its whole window lies outside of the mask, of "
        f"{DETAIL}.",
    ),
    "ssim.zerofill": Metric(
        measure=_outside(ssim.ssim_zero_fill),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        words="How alike both are with the mask blacked out, which small backgrounds inflate.",
        protocol=f"As FiVE-Bench and AudioScenic: SSIM of {DETAIL}, black inside of the mask.",
    ),
    "psnr.outside": Metric(
        measure=_outside(pixel_error.psnr_db),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        unit="dB",
        words="How little changed outside of the mask.",
        protocol=f"PSNR of the pixels outside of the mask, at most 100 dB, of {DETAIL}.",
    ),
    "psnr.zerofill": Metric(
        measure=_outside(pixel_error.psnr_zero_fill_db),
        needs=("pairs", "mask"),
        sense="higher",
        family="picture",
        unit="dB",
        words="How little changed with the mask blacked out; large masks inflate it.",
        protocol=f"As FiVE-Bench: errors outside of the mask divided by all pixels, of {DETAIL}.",
    ),
    "mse.zerofill": Metric(
        measure=_outside(pixel_error.mse_zero_fill, _FIVE_SCALE),
        needs=("pairs", "mask"),
        sense="lower",
        family="picture",
        unit="1e-4",
        words="How much changed with the mask blacked out; large masks deflate it.",
        protocol="As FiVE-Bench: squared errors of RGB in [0, 1] outside of the mask, divided by "
        f"all pixels, times 10,000, of {DETAIL}.",
    ),
    "leakage.mean": Metric(
        measure=_leakage,
        needs=("pairs", "mask"),
        sense="lower",
        family="picture",
        words="How far the edit reaches beyond its mask.",
        protocol=f"Mean absolute difference of RGB in [0, 1] outside of the mask, of {DETAIL}.",
    ),
}
