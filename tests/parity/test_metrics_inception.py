"""Inception-v3 of the FID against numbers of torch-fidelity."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.evaluate.extractors.inception import InceptionFid, shown
from avipipe.evaluate.extractors.networks.inception import FidInception
from avipipe.evaluate.extractors.networks.running import exact
from tests.models.single_file import lock_file
from tests.parity.metric_fixtures import Arrays, arrays, close
from tests.parity.metric_recipes import recipe_state

TOLERANCE = 1e-4
"""Of the largest expected number of each array."""


@pytest.fixture(scope="module")
def numbers() -> Arrays:
    return arrays("inception_vggish")


def test_what_the_network_is_shown(numbers: Arrays) -> None:
    found = shown(torch.from_numpy(numbers["image"])).numpy()
    assert found.shape[2:] == (299, 299)
    close(found[..., ::19, ::23], numbers["inception_input"], 1e-5)


@pytest.mark.slow  # the weights of 24 million parameters by the recipe, and two full networks
def test_features_and_logits(
    numbers: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = recipe_state("inception_vggish", "inception")
    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(state, path)
    lock_file(monkeypatch, path, "inception_fid")
    extractor = InceptionFid()
    extractor.setup()
    found = extractor.features(numbers["image"])
    held(found.features_ND, numbers["inception_2048"])
    held(found.logits_NK, numbers["inception_logits_unbiased"])
    biased = found.logits_NK + state["fc.bias"].numpy()
    held(biased, numbers["inception_logits"])


@pytest.mark.slow
def test_features_on_the_way(numbers: Arrays) -> None:
    with torch.device("meta"):
        network = FidInception()
    network.load_state_dict(recipe_state("inception_vggish", "inception"), assign=True)
    found: dict[str, Tensor] = {}
    for name in ("maxpool1", "maxpool2", "Mixed_6e"):
        network.get_submodule(name).register_forward_hook(
            lambda _part, _given, out, name=name: found.update({name: out.mean(dim=(2, 3))})
        )
    with exact():
        network.eval()(shown(torch.from_numpy(numbers["image"])))
    held(found["maxpool1"].numpy(), numbers["inception_64"])
    held(found["maxpool2"].numpy(), numbers["inception_192"])
    held(found["Mixed_6e"].numpy(), numbers["inception_768"])


def held(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max(), rtol=0)
