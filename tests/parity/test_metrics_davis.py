"""J, F and their statistics against the numbers of DAVIS' own evaluation."""

import numpy as np
import pytest

from avipipe.annotators.base import Mask
from avipipe.evaluate.metrics.davis import (
    boundary,
    boundary_accuracy,
    boundary_tolerance_px,
    decay,
    mask_agreement,
    match_proposals,
    recall,
    region_similarity,
)
from tests.parity.metric_fixtures import Arrays, arrays, close, named

EXACT = 1e-15


@pytest.fixture(scope="module")
def davis() -> Arrays:
    return arrays("davis")


def objects(labels_THW: Arrays | Mask, num: int) -> Mask:
    return np.stack([np.asarray(labels_THW) == index for index in range(1, num + 1)])


def test_frames_and_their_means(davis: Arrays) -> None:
    num = len(davis["J"])
    truths, masks = objects(davis["gt_labels"], num), objects(davis["pred_labels"], num)
    found = [mask_agreement(*pair) for pair in zip(truths, masks, strict=True)]
    close([each.region_T for each in found], davis["J"], EXACT)
    close([each.boundary_T for each in found], davis["F"], EXACT)
    means = [np.mean([getattr(each, name) for each in found]) for name in ("j", "f", "jf")]
    close(means, davis["JF_mean"], EXACT)
    statistics = [
        [
            [scores.mean(), recall(scores), decay(scores)]
            for scores in (each.region_T, each.boundary_T)
        ]
        for each in found
    ]
    close(statistics, davis["stats_M_R_D"], EXACT)
    whole = [mask_agreement(*pair, given_ends=False) for pair in zip(truths, masks, strict=True)]
    close([each.region_T for each in whole], davis["J_all_frames"], EXACT)
    close([each.boundary_T for each in whole], davis["F_all_frames"], EXACT)


def test_a_missing_object_counts_as_empty(davis: Arrays) -> None:
    num = len(davis["J"])
    truths, masks = objects(davis["gt_labels"], num), objects(davis["pred_labels"], num)
    masks[-1] = False
    found = [mask_agreement(*pair) for pair in zip(truths, masks, strict=True)]
    close([each.region_T for each in found], davis["J_missing_last_object"], EXACT)
    close([each.boundary_T for each in found], davis["F_missing_last_object"], EXACT)


def test_proposals_are_matched(davis: Arrays) -> None:
    num = len(davis["J"])
    truths, masks = objects(davis["gt_labels"], num), objects(davis["pred_labels"], num)
    noise = np.unpackbits(davis["noise_proposal"], count=truths[0].size).reshape(truths[0].shape)
    proposals = np.stack([*masks[davis["proposals_order"]], noise.astype(np.bool_)])
    found = match_proposals(truths, proposals, void_THW=davis["void"].astype(np.bool_))
    pairs = np.array([(proposal, truth) for proposal, truth, _ in found])
    match = davis["unsupervised_match"]
    np.testing.assert_array_equal(pairs, match.T)
    close([each.region_T for *_, each in found], davis["J_unsupervised"], EXACT)
    close([each.boundary_T for *_, each in found], davis["F_unsupervised"], EXACT)


def test_pairs_of_odd_masks(davis: Arrays) -> None:
    shape = tuple(davis["pair_shape"])
    truths, masks = (
        np.unpackbits(davis[f"pair_{name}"], count=np.prod(shape)).reshape(shape).astype(np.bool_)
        for name in ("gt", "pred")
    )
    pairs = list(zip(truths, masks, strict=True))
    close([region_similarity(*pair) for pair in pairs], davis["pair_J"], EXACT)
    close([boundary_accuracy(*pair) for pair in pairs], davis["pair_F"], EXACT)
    for tolerance in named(davis, r"pair_F_th(\d+)"):
        scores = [boundary_accuracy(*pair, tolerance_px=int(tolerance)) for pair in pairs]
        close(scores, davis[f"pair_F_th{tolerance}"], EXACT)
    counts = [[boundary(mask).sum() for mask in pair] for pair in pairs]
    np.testing.assert_array_equal(counts, davis["pair_boundary_pixels"])


def test_tolerances_and_statistics(davis: Arrays) -> None:
    for size in named(davis, r"tolerance_(\d+x\d+)"):
        height, width = map(int, size.split("x"))
        assert boundary_tolerance_px((height, width)) == davis[f"tolerance_{size}"]
    short, long = davis["short_values"], davis["long_values"]
    close([short.mean(), recall(short), decay(short)], davis["short_stats"], EXACT)
    close([long.mean(), recall(long)], davis["long_stats"][:2], EXACT)
    close(decay(long), davis["long_decay_fixed"], EXACT)
