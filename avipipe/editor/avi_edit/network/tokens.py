"""Latents to tokens of 2 x 2 cells, and back."""

from torch import Tensor, nn

from avipipe.editor.avi_edit.sizes import PATCH

Size = tuple[int, int, int]
"""Along time, height and width."""


class ZeroEmbedding(nn.Conv3d):
    """A map of cells to tokens, still as a map; adds nothing at first."""

    def __init__(self, in_channels: int, dim: int, *, bias: bool = True) -> None:
        patch = (1, PATCH, PATCH)
        super().__init__(in_channels, dim, patch, stride=patch, bias=bias)

    def reset_parameters(self) -> None:
        """Begin with zeros, so that nothing changes before it is trained."""
        for weight in self.parameters():
            nn.init.zeros_(weight)


def to_tokens(embedded_BDThw: Tensor) -> Tensor:
    """Cells of a feature map to tokens, (B, T h w, D)."""
    return embedded_BDThw.flatten(2).transpose(1, 2).contiguous()


def unpatchify(x_BSK: Tensor, size: Size) -> Tensor:
    """Tokens of 2 x 2 cells with C channels each to a map of cells.

    Args:
        x_BSK: (B, T h w, 4 C).
        size: T, h, w.
    Returns:
        (B, C, T, 2 h, 2 w).
    """
    grid = x_BSK.reshape(len(x_BSK), *size, PATCH, PATCH, -1)
    return grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def token_grid(latents_BCThw: Tensor) -> Size:
    """Tokens of latents along time, height and width.

    Raises:
        ValueError: odd height or width.
    """
    num_frames, height, width = latents_BCThw.shape[2:]
    if height % PATCH or width % PATCH:
        raise ValueError(f"expected latents of even height and width, got {height} x {width}")
    return num_frames, height // PATCH, width // PATCH
