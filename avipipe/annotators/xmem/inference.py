"""XMem frame by frame: what is segmented, what is remembered, and when.

Source: Cheng and Schwing, XMem, ECCV 2022, section 3; hkchengrex/XMem@f3b841d (MIT).
"""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional

from avipipe.annotators.xmem.memory import OFFICIAL_LIMITS, Keys, MemoryLimits, MemoryManager
from avipipe.annotators.xmem.network import FeaturePyramid, Key, XMem, aggregate

_STRIDE = 16
"""Pixels a place of the features: sides are padded to multiples."""
MEMORY_EVERY = 5
"""Interval of memorised frames in the official evaluation."""


class Tracker:
    """Follows objects through one clip; give it the frames in order.

    Args:
        network: in `eval()` mode. On a GPU it runs in half precision.
        limits: of the memory.
        memory_every: frames from one that is memorised to the next.
        deep_update_every: least frames from one update of the hidden state by a memorised frame
            to the next; None takes every memorised frame.
    """

    def __init__(
        self,
        network: XMem,
        limits: MemoryLimits = OFFICIAL_LIMITS,
        *,
        memory_every: int = MEMORY_EVERY,
        deep_update_every: int | None = None,
    ) -> None:
        self._network = network
        self._memory_every = memory_every
        self._deep_update_every = deep_update_every
        self.memory = MemoryManager(limits)
        self.hidden_OChw: Tensor | None = None
        self._frame = -1
        self._last_memory = 0
        self._last_deep_update = -(deep_update_every or 0)

    @torch.inference_mode()
    def step(
        self,
        image_3HW: Tensor,
        masks_OHW: Tensor | None = None,
        *,
        given: Collection[int] | None = None,
        last: bool = False,
    ) -> Tensor:
        """Segment the next frame: probabilities (1 + O, H, W), background first.

        Args:
            image_3HW: float32, normalised as for ImageNet.
            masks_OHW: in [0, 1], of all objects known so far; new ones come last. Needed in the
                first frame, and may correct or add objects later.
            given: objects whose mask is meant; the others go on as they are. None: all.
            last: nothing comes after it, so it need not be memorised.
        """
        assert masks_OHW is not None or self._frame >= 0, "the first frame needs masks"
        self._frame += 1
        pad = _centred_padding(image_3HW)
        image = functional.pad(image_3HW, pad)[None]
        due = self._frame - self._last_memory >= self._memory_every
        memorise = (due or masks_OHW is not None) and not last
        deep = memorise and (
            self._deep_update_every is None
            or self._frame - self._last_deep_update >= self._deep_update_every
        )
        with self._precision(image):
            key, features = self._network.encode_key(image)
        prob = None
        if masks_OHW is None or (self._frame > 0 and not _all_given(masks_OHW, given)):
            synchronous = self._deep_update_every is None
            prob = self._segment(key, features, update=not (last or (synchronous and deep)))
        if masks_OHW is not None:
            masks = functional.pad(masks_OHW, pad)
            prob = aggregate(masks if prob is None else _merge(masks, prob[1:], given))[1]
            self._welcome(len(masks), key)
        assert prob is not None
        if memorise:
            self._memorise(image, key, features, prob[1:], deep=deep)
        height, width = image_3HW.shape[1:]
        return prob[:, pad[2] : pad[2] + height, pad[0] : pad[0] + width]

    def _precision(self, image: Tensor) -> torch.autocast:
        return torch.autocast("cuda", torch.float16, enabled=image.is_cuda)

    def _segment(self, key: Key, features: FeaturePyramid, *, update: bool) -> Tensor:
        """Probabilities by the memory and the hidden state, which may be updated."""
        assert self.hidden_OChw is not None
        query, _, selection = (tensor[0].flatten(1) for tensor in key)
        readout_OCQ = self.memory.read(query, selection)
        readout = readout_OCQ.reshape(*readout_OCQ.shape[:2], *key.key_1Chw.shape[-2:])
        with self._precision(readout):
            logits, hidden = self._network.segment(features, readout, self.hidden_OChw)
        if update:
            self.hidden_OChw = hidden
        return aggregate(torch.sigmoid(logits))[1]

    def _welcome(self, num_objects: int, key: Key) -> None:
        """Give objects that are new a hidden state."""
        known = 0 if self.hidden_OChw is None else len(self.hidden_OChw)
        shape = (num_objects - known, self._network.widths.hidden, *key.key_1Chw.shape[-2:])
        new = torch.zeros(shape, device=key.key_1Chw.device)
        self.hidden_OChw = new if self.hidden_OChw is None else torch.cat([self.hidden_OChw, new])

    def _memorise(
        self, image: Tensor, key: Key, features: FeaturePyramid, prob_OHW: Tensor, *, deep: bool
    ) -> None:
        assert self.hidden_OChw is not None
        with self._precision(image):
            value, hidden = self._network.encode_value(image, features, self.hidden_OChw, prob_OHW)
        self.memory.add(Keys(*(tensor[0].flatten(1) for tensor in key)), value.flatten(2))
        self._last_memory = self._frame
        if deep:
            self.hidden_OChw = hidden
            self._last_deep_update = self._frame


def _all_given(masks_OHW: Tensor, given: Collection[int] | None) -> bool:
    return given is None or len(given) == len(masks_OHW)


def _merge(masks_OHW: Tensor, prob_OHW: Tensor, given: Collection[int] | None) -> Tensor:
    """Objects that are not given keep what is predicted of them outside of the given masks."""
    assert given is not None
    free_HW = masks_OHW.sum(dim=0) <= 0.5
    kept = [index for index in range(len(prob_OHW)) if index not in given]
    merged = masks_OHW.clone()
    merged[kept] = prob_OHW[kept] * free_HW
    return merged


def _centred_padding(image_3HW: Tensor) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: what is missing to whole strides, on both sides alike."""
    height, width = image_3HW.shape[1:]
    tall, wide = -height % _STRIDE, -width % _STRIDE
    return wide // 2, wide - wide // 2, tall // 2, tall - tall // 2
