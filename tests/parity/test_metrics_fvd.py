"""What FVD shows I3D, and I3D itself, against numbers of cd-fvd, common_metrics and piergiaj."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe import weights
from avipipe.evaluate.extractors import fvd_views
from avipipe.evaluate.extractors.i3d import I3dPiergiaj, I3dVideoGpt
from avipipe.evaluate.extractors.networks.i3d import I3d
from avipipe.evaluate.extractors.networks.running import exact
from tests.models.single_file import lock_file
from tests.parity.metric_fixtures import FOLDER, Arrays, arrays, close
from tests.parity.metric_recipes import recipe_state

VIEW_TOLERANCE, NETWORK_TOLERANCE = 3e-5, 1e-4
VIEWS: dict[str, Callable[[np.ndarray], Tensor]] = {
    "cdfvd_array": fvd_views.cdfvd_array,
    "cdfvd_loader": fvd_views.cdfvd_loader,
    "cdfvd_videomae": fvd_views.cdfvd_videomae,
    "common_styleganv": fvd_views.common_styleganv,
    "common_videogpt": fvd_views.common_styleganv,
}


@pytest.fixture(scope="module")
def numbers() -> Arrays:
    return arrays("i3d")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return recipe_state("i3d")


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("shape", ["land", "port"])
def test_what_the_network_is_shown(shape: str, name: str) -> None:
    given = arrays("fvd_preprocess")
    video = VIEWS[name](given[f"{shape}_frames"]).numpy()
    close(video[..., ::13, ::17], given[f"{shape}_{name}"], VIEW_TOLERANCE)
    whole = video.astype(np.float64)
    found = [whole.sum(), np.abs(whole).sum(), np.square(whole).sum()]
    close(found, given[f"{shape}_{name}_stats"], VIEW_TOLERANCE)


def told(pattern: str) -> list[int]:
    """Numbers that the README of the fixtures has in words alone."""
    found = re.search(pattern, (FOLDER / "README.md").read_text())
    assert found, f"no {pattern!r} in the README of the fixtures"
    return [int(number) for number in found.groups()]


def video(numbers: Arrays) -> Tensor:
    high, wide = told(r"frames\.repeat\((\d+), axis 2\)\.repeat\((\d+), axis 3\)")
    return fvd_views.cdfvd_array(numbers["frames"].repeat(high, axis=2).repeat(wide, axis=3))


@pytest.mark.slow  # half a minute on one core: pictures of 224 px are what the network is for
def test_each_stage(numbers: Arrays, state: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        network = I3d(epsilon=1e-5)
    network.load_state_dict(state, assign=True)
    network.eval()
    with exact():
        for number, x in enumerate(network.endpoints(video(numbers))):
            assert list(x.shape[1:]) == numbers["endpoint_shape"][number].tolist()
            found = [float(x.mean()), float(x.square().mean().sqrt())]
            close(found, numbers["endpoint_mean_rms"][number], NETWORK_TOLERANCE)
        close(x.mean(dim=(0, 2, 3, 4)), numbers["mixed_5c_channel_mean"], NETWORK_TOLERANCE)
        close(network.pooled(video(numbers)), numbers["pool_features"], NETWORK_TOLERANCE)


def set_up(
    kind: type[I3dVideoGpt], state: dict[str, Tensor], folder: Path, patch: pytest.MonkeyPatch
) -> I3dVideoGpt:
    """An extractor with these weights in its file."""
    path = folder / weights.entry(kind.needs[0]).files[0].name
    torch.save(state, path)
    lock_file(patch, path, kind.needs[0])
    extractor = kind()
    extractor.setup()
    return extractor


@pytest.mark.slow
def test_logits_of_videogpt(
    numbers: Arrays, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = set_up(I3dVideoGpt, state, tmp_path, monkeypatch)
    whole = video(numbers)
    close(extractor.logits(whole), numbers["logits"], NETWORK_TOLERANCE)
    (num_frames,) = told(r"logits of the first (\d+) frames of the video repeated")
    repeated = torch.arange(num_frames) % whole.shape[2]
    close(extractor.logits(whole[:, :, repeated]), numbers["logits_T2"], NETWORK_TOLERANCE)


@pytest.mark.slow
def test_logits_of_piergiaj(
    numbers: Arrays, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = set_up(I3dPiergiaj, state, tmp_path, monkeypatch)
    expected = numbers["piergiaj_logits_per_time"].mean(axis=2)
    close(extractor.logits(video(numbers)), expected, NETWORK_TOLERANCE)
