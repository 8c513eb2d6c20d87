"""Inception-v3 of the FID: its resize, and where its means differ from torchvision's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from avipipe.evaluate.extractors.networks.inception import FidInception, resize  # noqa: E402


def test_the_resize_keeps_the_first_pixel_and_repeats_the_last() -> None:
    ramp = torch.arange(4.0).repeat(1, 1, 3, 1)
    found = resize(ramp)[0, 0]
    expected = np.minimum(np.arange(299) * 4 / 299, 3)
    np.testing.assert_allclose(found, np.tile(expected, (299, 1)), atol=1e-5)


def test_means_do_not_count_what_is_outside_of_the_picture() -> None:
    with torch.device("meta"):
        blocks = FidInception()
    for name in ("Mixed_5b", "Mixed_6b", "Mixed_7b"):
        block = blocks.get_submodule(name).to_empty(device="cpu").eval()
        for parameter in block.parameters():
            torch.nn.init.constant_(parameter, 0.001)
        for buffer in block.buffers():
            buffer.fill_(1)
        width = block.get_submodule("branch1x1.conv").in_channels
        pooled = block.get_submodule("branch_pool")
        num_pooled = len(pooled.get_parameter("bn.weight"))
        with torch.inference_mode():
            ones = torch.ones(1, width, 8, 8)
            out = block(ones)[:, -num_pooled:]
            np.testing.assert_allclose(out, pooled(ones), rtol=1e-5)
