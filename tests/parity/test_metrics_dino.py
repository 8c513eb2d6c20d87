"""DINO and the structure distance against numbers of reference implementations."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from avipipe.evaluate.extractors import dino, dino_views
from avipipe.evaluate.extractors.networks.vit import keys_of
from avipipe.evaluate.metrics.structure_distance import self_similarity, structure_distance
from tests.models.single_file import lock_file
from tests.parity.metric_fixtures import Arrays, arrays, close
from tests.parity.metric_recipes import recipe_state, stats

SIMILARITY_TOLERANCE, DISTANCE_TOLERANCE, NETWORK_TOLERANCE = 1e-5, 1e-3, 3e-4
Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def numbers() -> Arrays:
    return arrays("structure_distance")


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dino.DinoVitS16]:
    """ViT-S/8 with weights of the recipe: the sizes are those of the file."""
    path: Path = tmp_path_factory.mktemp("dino") / "dino_deitsmall16_pretrain.pth"
    torch.save(recipe_state("dino_vits8"), path)
    with pytest.MonkeyPatch.context() as patch:
        lock_file(patch, path, "dino_vits16")
        found = dino.DinoVitS16()
        found.setup()
        yield found


def grown(small_HWC: Frames) -> Frames:
    """One frame of the clip that a picture stands for."""
    times = 224 // len(small_HWC)
    return small_HWC.repeat(times, axis=0).repeat(times, axis=1)[None]


def rows(keys_HNd: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Keys of each head as keys of all."""
    return keys_HNd.transpose(1, 0, 2).reshape(keys_HNd.shape[1], -1)


def test_self_similarity_and_distance_of_keys(numbers: Arrays) -> None:
    a_ND, b_ND = rows(numbers["keys_a"]), rows(numbers["keys_b"])
    close(self_similarity(a_ND), numbers["selfsim_a"], SIMILARITY_TOLERANCE)
    close(self_similarity(b_ND), numbers["selfsim_b"], SIMILARITY_TOLERANCE)
    found = structure_distance([a_ND], [b_ND])
    assert found == pytest.approx(float(numbers["structure_distance"]), rel=DISTANCE_TOLERANCE)


def test_keys_among_queries_and_values(numbers: Arrays) -> None:
    (keys_ND,) = keys_of(torch.from_numpy(numbers["qkv"])).numpy()
    np.testing.assert_array_equal(keys_ND, rows(numbers["keys_from_qkv"]))


@pytest.mark.parametrize(
    ("view", "name"), [(dino_views.whole, "range1"), (dino_views.whole_pie, "range255")]
)
def test_what_dino_is_shown(numbers: Arrays, view: dino.View, name: str) -> None:
    (found_CHW,) = view(numbers["image"][None]).numpy()
    close(found_CHW[:, ::13, ::17], numbers[f"transform_{name}"], SIMILARITY_TOLERANCE)
    close(stats(found_CHW), numbers[f"transform_{name}_stats"], SIMILARITY_TOLERANCE)


@pytest.mark.slow  # seconds; the keys are in the distance below too
def test_features_of_the_network(numbers: Arrays, extractor: dino.DinoVitS16) -> None:
    source_THWC = grown(numbers["vit_src_small"])
    (cls_D,) = extractor.cls(source_THWC)
    close(cls_D, numbers["vit_final_cls"], NETWORK_TOLERANCE)
    (keys_ND,) = extractor.keys(source_THWC)
    heads, tokens, width, total, squares = numbers["vit_keys11_src_stats"]
    assert keys_ND.shape == (tokens, heads * width)
    keys_HNd = keys_ND.reshape(int(tokens), int(heads), int(width)).transpose(1, 0, 2)
    close(keys_HNd[:, ::97, :8], numbers["vit_keys11_src_part"], NETWORK_TOLERANCE)
    assert np.square(keys_HNd, dtype=np.float64).sum() == pytest.approx(squares, rel=1e-4)
    noise = NETWORK_TOLERANCE * math.sqrt(squares * keys_HNd.size)
    assert keys_HNd.sum(dtype=np.float64) == pytest.approx(total, abs=noise)


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (dino_views.whole, "range1"),
        pytest.param(dino_views.whole_pie, "pie", marks=pytest.mark.slow),
    ],
)
def test_structure_distance_of_both_ranges(
    numbers: Arrays, extractor: dino.DinoVitS16, view: dino.View, name: str
) -> None:
    sides = [grown(numbers[f"vit_{side}_small"]) for side in ("src", "tgt")]
    keys = [extractor.keys(side, view=view) for side in sides]
    expected = float(numbers[f"vit_structure_distance_{name}"])
    assert structure_distance(*keys) == pytest.approx(expected, rel=DISTANCE_TOLERANCE)
