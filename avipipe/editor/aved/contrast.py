"""The contrastive losses: across pictures and sound, and between source and target.

Tokens that belong together shall be more alike than any that do not: where the edit is, those of
picture and sound at equal times; elsewhere, those of source and target at the same place.
"""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(
    anchors_ND: Tensor,
    references_ND: Tensor,
    temperature: float,
    ignored_NN: Tensor | None = None,
) -> Tensor:
    """How unlike each anchor is its own reference, by those of the others, (N,).

    Args:
        anchors_ND, references_ND: of length 1; row n of one belongs to row n of the other.
        ignored_NN: pairs that are neither alike nor unlike, bool; none on the diagonal.
    Source: InfoNCE (arXiv 1807.03748), Eq. 4, as CDS@e3082ae has it.
    """
    logits_NN = anchors_ND @ references_ND.T / temperature
    if ignored_NN is not None:
        logits_NN = logits_NN.masked_fill(ignored_NN, -torch.inf)
    return functional.cross_entropy(
        logits_NN, torch.arange(len(logits_NN), device=logits_NN.device), reduction="none"
    )


def patches_of(tokens_KhwD: Tensor, size: int) -> Tensor:
    """The mean of each patch of so many tokens along a side, (K, h', w', D); odd ones are left."""
    pooled = functional.avg_pool2d(tokens_KhwD.permute(0, 3, 1, 2), size)
    return pooled.permute(0, 2, 3, 1)


def patch_nce(
    target_KhwD: Tensor, source_KhwD: Tensor, size: int, ids_N: Tensor, temperature: float
) -> Tensor:
    """The mean loss that patches of the source, which are constants, have by those of the target.

    Args:
        size: tokens along a side of a patch.
        ids_N: which patches are looked at, by frame, row and column.
    Source: CDS@e3082ae, utils/loss.py, CutLoss.
    """
    target, source = (
        functional.normalize(patches_of(tokens, size).flatten(0, 2)[ids_N], dim=-1)
        for tokens in (target_KhwD, source_KhwD.detach())
    )
    return info_nce(source, target, temperature).mean()


def draw_patches(is_edit_Khw: Tensor, size: int, most: int, generator: torch.Generator) -> Tensor:
    """Some of the patches that hold nothing of the edit, as ids by frame, row and column, (N,).

    Args:
        is_edit_Khw: which tokens are of the edit, on the CPU.
        size: tokens along a side of a patch.
    """
    touched = functional.max_pool2d(is_edit_Khw[:, None].float(), size)
    return _some((touched == 0).flatten().nonzero()[:, 0], most, generator)


def draw_pairs(
    is_edit_Khw: Tensor,
    heard_ThW: Tensor,
    row_K: Tensor,
    most: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of the edit in pictures, each with one that sounds at the same time.

    Args:
        is_edit_Khw: tokens of frames that are of the edit, on the CPU.
        heard_ThW: tokens of sound that are, (T, W): by time and frequency.
        row_K: in which row of the sound each frame lies.
    Returns:
        ids of the pictures' tokens, ids of the sound's, and the sound's rows, (N,) each; N is 0
        where nothing of the edit is seen and heard at once.
    """
    both_Khw = is_edit_Khw & heard_ThW.any(1)[row_K][:, None, None]
    seen_N = _some(both_Khw.flatten().nonzero()[:, 0], most, generator)
    rows_N = row_K[seen_N // both_Khw[0].numel()]
    if not len(seen_N):
        return seen_N, seen_N, rows_N
    columns_N = torch.multinomial(heard_ThW[rows_N].float(), 1, generator=generator)[:, 0]
    return seen_N, rows_N * heard_ThW.shape[1] + columns_N, rows_N


def cross_modal_nce(
    seen_ND: Tensor, heard_ND: Tensor, rows_N: Tensor, temperature: float
) -> Tensor:
    """The mean loss of pairs of tokens of pictures and sound, either by the other.

    Args:
        rows_N: the time of each; pairs of one time are no counterexamples to one another.
    Source: AvED (arXiv 2503.20782), section 3.2.
    """
    same_NN = rows_N[:, None] == rows_N[None]
    others_NN = same_NN & ~torch.eye(len(rows_N), dtype=torch.bool, device=rows_N.device)
    seen, heard = (functional.normalize(tokens, dim=-1) for tokens in (seen_ND, heard_ND))
    losses = [info_nce(*pair, temperature, others_NN) for pair in ((seen, heard), (heard, seen))]
    return torch.stack(losses).mean()


def narrowed(tokens: Tensor, width: int) -> Tensor:
    """Tokens (…, D) of another, smaller width by a fixed projection that keeps angles on average.

    Models whose tapped layers are of one width need none.
    """
    if tokens.shape[-1] == width:
        return tokens
    drawn = torch.randn(tokens.shape[-1], width, generator=torch.Generator().manual_seed(0))
    axes: Tensor = torch.linalg.qr(drawn).Q
    return tokens @ axes.to(tokens)


def _some(ids_N: Tensor, most: int, generator: torch.Generator) -> Tensor:
    return ids_N[torch.randperm(len(ids_N), generator=generator)[:most]]
