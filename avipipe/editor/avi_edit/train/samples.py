"""Videos of what the network makes of clips that are held out, while it learns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from avipipe.annotators.base import Frames
from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.network.transformer import EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.solve import Conditions, solve
from avipipe.editor.avi_edit.train.parallel import World, computing, reshard
from avipipe.editor.common.codec import VideoEncoder


class Sampler:
    """Edits clips, always the same with the same noise.

    Args:
        batches: of one clip each; the same in every process.
        video: what decodes; the first process has one, the others need none.
        dtype: that the network computes in.
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        config: SampleConfig,
        world: World,
        *,
        video: VideoEncoder | None,
        dtype: torch.dtype,
    ) -> None:
        self._batches, self._config, self._world = batches, config, world
        self._video, self._dtype = video, dtype

    def __call__(self, model: EditorTransformer) -> dict[str, Frames]:
        """Clip id -> the clip and, to its right, the edit, (F, H, 2 W, 3); in the first process.

        All processes call this together.
        """
        was_training = model.training
        model.eval()
        network = _Network(model, self._world, self._dtype)
        edits = [
            solve(network, _conditions(batch.to(self._world.device)), self._config).latents
            for batch in self._batches
        ]
        model.train(was_training)
        reshard(model)
        if self._video is None:
            return {}
        with _on(self._world.device, self._video.model):
            decode = self._video.decode
            return {
                batch.keys[0]: torch.cat([decode(batch.latents[0]), decode(edit[0])], 2).numpy()
                for batch, edit in zip(self._batches, edits, strict=True)
            }


class _Network:
    """The network in training, as `solve` asks it."""

    def __init__(self, model: EditorTransformer, world: World, dtype: torch.dtype) -> None:
        self._model, self._world, self.dtype = model, world, dtype

    def __call__(self, *given: Any, **options: Any) -> EditorOutput:
        with computing(self._model, self._world.device, self.dtype):
            output: EditorOutput = self._model(*given, **options)
        return output


def _conditions(batch: Batch) -> Conditions:
    return Conditions(
        latents=batch.latents,
        mask=batch.mask,
        precision=int(batch.precision[0]),
        text=batch.text,
        no_text=batch.no_text,
        audio=batch.audio if batch.has_audio[0] else None,
    )


@contextmanager
def _on(device: torch.device, model: Any) -> Iterator[None]:
    """Keep a model on a device for as long as it is needed."""
    home = model.device
    model.to(device)
    try:
        yield
    finally:
        model.to(home)
