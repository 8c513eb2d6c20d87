"""Stops where a network no longer answers with numbers."""

from torch import Tensor

from avipipe.errors import RunError


def check_finite(values: Tensor, step: str) -> None:
    """Refuse to go on with what is no number.

    Args:
        step: after which it is asked, in words.
    Raises:
        RunError: some are none.
    """
    if not values.isfinite().all():
        raise RunError(
            f"{step}: the network answers with NaN or infinity; compute in fp32 "
            "(models.precision=fp32), or use other weights"
        )
