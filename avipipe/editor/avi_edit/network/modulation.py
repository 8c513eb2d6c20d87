"""What time and precision do to tokens: shift and scale them after a norm, and gate a branch.

A modulation is (B, G, n, D): n vectors for each of G groups of successive tokens. G is 1 where they
are the same for all tokens, the number of frames where frames differ, or that of tokens.
"""

from torch import Tensor, nn


def modulate(x_BSD: Tensor, shift_BGD: Tensor, scale_BGD: Tensor) -> Tensor:
    """Shift and scale the tokens of each group."""
    scaled = _grouped(x_BSD, scale_BGD) * (1 + scale_BGD[:, :, None]) + shift_BGD[:, :, None]
    return scaled.flatten(1, 2)


def gate(x_BSD: Tensor, gate_BGD: Tensor) -> Tensor:
    """Scale the tokens of each group."""
    return (_grouped(x_BSD, gate_BGD) * gate_BGD[:, :, None]).flatten(1, 2)


def _grouped(x_BSD: Tensor, vectors_BGD: Tensor) -> Tensor:
    batch_size, _, dim = x_BSD.shape
    return x_BSD.reshape(batch_size, vectors_BGD.shape[1], -1, dim)


def per_token(modulation_BGnD: Tensor, num_tokens: int) -> Tensor:
    """Repeat the modulation of each group for each of its tokens: (B, S, n, D)."""
    num_groups = modulation_BGnD.shape[1]
    return modulation_BGnD.repeat_interleave(num_tokens // num_groups, dim=1)


class PrecisionEmbedding(nn.Module):
    """Embeds the precision factor p linearly, and makes a modulation of it.

    Only the last layer starts at zero. The released initialisation zeroes all three, through which
    no gradient can ever reach the weights that p meets.

    Source: AVI-Edit (arXiv 2512.10571), GAMR.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(1, dim)
        self.linear_2 = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, 6 * dim)
        self.act = nn.SiLU()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Without effect on the modulation at first."""
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, precision_B: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, D) and modulation (B, 1, 6, D) of factors from 0 to P."""
        p_B1 = precision_B.to(self.linear_1.weight.dtype)[:, None]
        embedding_BD: Tensor = self.linear_2(self.act(self.linear_1(p_B1)))
        modulation: Tensor = self.proj(self.act(embedding_BD))
        return embedding_BD, modulation.view(len(p_B1), 1, 6, -1)
