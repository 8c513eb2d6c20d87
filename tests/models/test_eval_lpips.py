"""LPIPS on random weights in the layout of the public files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from avipipe import weights  # noqa: E402
from avipipe.errors import WeightsError  # noqa: E402
from avipipe.evaluate.extractors.lpips import LpipsAlex  # noqa: E402
from avipipe.evaluate.metrics.lpips import lpips_outside  # noqa: E402
from avipipe.evaluate.metrics.undefined import Undefined  # noqa: E402
from tests.models.single_file import lock_files  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTHS = (64, 192, 384, 256, 256)
State = dict[str, Any]
Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def backbone() -> State:
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = torchvision.models.alexnet(weights=None).features.state_dict()
    state = {f"features.{name}": 0.05 * torch.randn(each.shape) for name, each in shapes.items()}
    return state | {"classifier.1.weight": torch.zeros(1)}


@pytest.fixture(scope="module")
def heads() -> State:
    torch.manual_seed(1)
    return {f"lin{n}.model.1.weight": torch.rand(1, w, 1, 1) for n, w in enumerate(WIDTHS)}


@pytest.fixture(scope="module")
def lpips(backbone: State, heads: State, tmp_path_factory: pytest.TempPathFactory) -> LpipsAlex:
    return load(backbone, heads, tmp_path_factory.mktemp("lpips"))


def load(backbone: State, heads: State, folder: Path) -> LpipsAlex:
    for name, state in zip(LpipsAlex.needs, (backbone, heads), strict=True):
        torch.save(state, folder / weights.entry(name).files[0].name)
    with pytest.MonkeyPatch.context() as patch:
        lock_files(patch, folder, *LpipsAlex.needs)
        extractor = LpipsAlex()
        extractor.setup()
    return extractor


@pytest.fixture(scope="module")
def source() -> Frames:
    """More frames than go through the network at once."""
    return np.random.default_rng(0).integers(60, 196, (18, 64, 72, 3), dtype=np.uint8)


def noisy(frames: Frames, level: int) -> Frames:
    noise = np.random.default_rng(1).integers(-level, level + 1, frames.shape)
    return (frames + noise).astype(np.uint8)


def test_the_same_picture_is_zero_and_noise_makes_it_grow(lpips: LpipsAlex, source: Frames) -> None:
    found = [lpips.distances(source[:2], noisy(source[:2], level)) for level in (0, 5, 20, 60)]
    np.testing.assert_array_equal(found[0], 0)
    assert (np.diff(found, axis=0) > 0).all()
    np.testing.assert_allclose(
        lpips.distances(noisy(source[:2], 20), source[:2]), found[2], rtol=1e-5
    )


def test_frames_do_not_depend_on_each_other(lpips: LpipsAlex, source: Frames) -> None:
    edit = noisy(source, 20)
    together = lpips.distances(source, edit)
    assert together.shape == (18,)
    np.testing.assert_allclose(together[17:], lpips.distances(source[17:], edit[17:]), rtol=1e-4)


def test_the_map_shows_where_an_edit_is(lpips: LpipsAlex, source: Frames) -> None:
    edit, masks = source[:1].copy(), np.zeros((1, 64, 72), bool)
    masks[:, :, :20] = True
    edit[masks] = 0
    found = lpips.maps(source[:1], edit)
    assert found.shape == masks.shape
    assert lpips_outside(found, masks) < found[masks].mean() / 2
    with pytest.raises(Undefined, match="shape"):
        lpips.maps(source[:1], edit[:, :32])


def test_what_lacks_a_tensor_is_refused(backbone: State, heads: State, tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    lost = {name: each for name, each in backbone.items() if name != "features.6.bias"}
    with pytest.raises(WeightsError, match=r"lacks 1 of its tensors, features\.6\.bias"):
        load(lost, heads, tmp_path / "backbone")
    lost = {name: each for name, each in heads.items() if "lin4" not in name}
    with pytest.raises(WeightsError, match="lin4"):
        load(backbone, lost, tmp_path)
