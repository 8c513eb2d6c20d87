"""How well the network does on clips and noise that never change."""

from collections.abc import Sequence

import torch
from torch import Tensor

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.losses import LossConfig
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.refine import refine_mask
from avipipe.editor.avi_edit.train.config import ValidationConfig
from avipipe.editor.avi_edit.train.objective import draw_at, losses_of, predict
from avipipe.editor.avi_edit.train.parallel import World, computing, reshard
from avipipe.editor.common.flow import sample_generator

STREAM = "validation"


@torch.no_grad()
def validate(
    model: EditorTransformer,
    batches: Sequence[Batch],
    config: ValidationConfig,
    loss: LossConfig,
    *,
    dtype: torch.dtype,
    world: World,
    seed: int,
) -> dict[str, float]:
    """Losses at each fixed noise level and over all, and the IoU of refined masks.

    The processes share the clips; each runs as many, as shards need all of them in every pass.

    Args:
        batches: the same in every process.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(len(config.sigmas), 5, dtype=torch.float64)
    for turn in range(-(-len(batches) // world.size)):
        number = turn * world.size + world.rank
        batch = batches[number % len(batches)].to(world.device)
        counts = float(number < len(batches)) * len(batch.latents)
        for row, sigma in enumerate(config.sigmas):
            generators = [
                sample_generator(seed, STREAM, number, place) for place in range(len(batch.latents))
            ]
            draws = draw_at(batch, generators, sigma)
            with computing(model, world.device, dtype):
                output = predict(model, batch, draws, dtype)
            assert output.mask_logits is not None
            losses = losses_of(output, batch, draws, loss)
            refined = refine_mask(output.mask_logits, batch.mask, config.mask_threshold)
            figures = [losses.flow, losses.flow_full_frame, losses.mask]
            figures += [_iou(refined, batch.exact_mask), _iou(batch.mask, batch.exact_mask)]
            sums[row, :] += counts * torch.stack(figures).double().cpu()
    total = world.mean(sums.to(world.device)).cpu() * world.size
    means = total / sum(len(batch.latents) for batch in batches)
    model.train(was_training)
    reshard(model)
    names = ("val/flow", "val/flow_full_frame", "val/mask", "val/mask_iou", "val/given_mask_iou")
    values = dict(zip(names, means.mean(dim=0).tolist(), strict=True))
    for sigma, flow in zip(config.sigmas, means[:, 0].tolist(), strict=True):
        values[f"val/flow_at_{sigma:g}"] = flow
    return values


def _iou(mask_B1Thw: Tensor, exact_B1Thw: Tensor) -> Tensor:
    """Mean over the batch of the intersection over union of whole clips."""
    both = (mask_B1Thw & exact_B1Thw).flatten(1).sum(dim=1)
    either = (mask_B1Thw | exact_B1Thw).flatten(1).sum(dim=1)
    return (both / either.clamp(min=1)).mean()
