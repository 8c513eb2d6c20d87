"""Inception scores and KL against the numbers of StyleGAN-V, torchmetrics and av-benchmark."""

import numpy as np
import pytest

from avipipe.evaluate.metrics.kl_divergence import kl_divergence
from avipipe.evaluate.statistics.frechet import frechet_distance
from avipipe.evaluate.statistics.inception_score import (
    AV_BENCHMARK_SEED,
    inception_score,
    score_of_split,
)
from tests.parity.metric_fixtures import Arrays, arrays, close

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def bench() -> Arrays:
    return arrays("avbench")


def test_styleganv(bench: Arrays) -> None:
    logits = np.log(bench["is_probs"])
    shuffled = inception_score(logits)
    close([shuffled.mean, shuffled.std], bench["is_styleganv_video"], TOLERANCE)
    in_order = inception_score(logits[bench["is_order_seed42"]], order_seed=None)
    assert in_order == shuffled
    unshuffled = inception_score(logits, order_seed=None)
    close([unshuffled.mean, unshuffled.std], bench["is_styleganv_image"], TOLERANCE)
    whole = inception_score(logits, num_splits=1)
    close([whole.mean, whole.std], bench["is_one_split"], TOLERANCE)


def test_torchmetrics(bench: Arrays) -> None:
    logits = np.log(bench["is_probs"])[bench["is_torchmetrics_perm"]]
    size = -(-len(logits) // 10)
    scores = [score_of_split(logits[start : start + size]) for start in range(0, len(logits), size)]
    found = [np.mean(scores), np.std(scores, ddof=1)]
    close(found, bench["is_torchmetrics_seed0"], TOLERANCE)


def test_one_sure_class_each(bench: Arrays) -> None:
    num_classes = bench["is_probs"].shape[1]
    sure = np.where(np.eye(num_classes), 1e3, 0.0)
    close(score_of_split(sure), bench["is_onehot_value"], TOLERANCE)


@pytest.mark.parametrize(("key", "name"), [("pann", "PANNS"), ("passt", "PASST")])
def test_av_benchmark(bench: Arrays, key: str, name: str) -> None:
    source, edit = bench[f"gt_{key}_logits"], bench[f"pred_{key}_logits"]
    divergences = [kl_divergence(*pair) for pair in zip(source, edit, strict=True)]
    close(np.mean(divergences), bench[f"out_KL_{name}_softmax"], TOLERANCE)
    found = inception_score(edit, order_seed=AV_BENCHMARK_SEED)
    expected = [bench[f"out_ISC_{name}_mean"], bench[f"out_ISC_{name}_std"]]
    close([found.mean, found.std], expected, TOLERANCE)


@pytest.mark.parametrize(("key", "name"), [("pann", "PANN"), ("passt", "PASST"), ("vggish", "VGG")])
def test_frechet_of_av_benchmark(bench: Arrays, key: str, name: str) -> None:
    sets = [bench[f"{side}_{key}"] for side in ("gt", "pred")]
    rows = [features.reshape(-1, features.shape[-1]) for features in sets]
    found = frechet_distance(rows[0], rows[1])
    close(found, bench[f"out_FD_{name}"], TOLERANCE)
