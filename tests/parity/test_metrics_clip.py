"""Scores by CLIP, and what CLIP is shown, against numbers of reference implementations."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from avipipe.annotators.base import Frames
from avipipe.evaluate.extractors.clip import ClipVitB32
from avipipe.evaluate.extractors.local_views import cropped_views, masked_views
from avipipe.evaluate.metrics import clip_score, dino_similarity
from avipipe.evaluate.metrics.cosine import Features
from tests.models.locked import lock
from tests.models.tiny_clip import BOS, EOS, write_clip
from tests.parity.metric_fixtures import Arrays, arrays, close

TOLERANCE = 1e-6
PIL_TOLERANCE, TORCHVISION_TOLERANCE = 1e-4, 2e-2


@pytest.fixture(scope="module")
def numbers() -> Arrays:
    return arrays("clip_arithmetic")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipVitB32:
    folder: Path = tmp_path_factory.mktemp("clip")
    write_clip(folder / "clip_vitb32")
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, folder, "clip_vitb32")
        extractor = ClipVitB32()
        extractor.setup()
    return extractor


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (clip_score.adjacent_consistency, "fc_adjacent"),
        (clip_score.all_pairs_consistency, "fc_all_pairs"),
        (clip_score.first_frame_consistency, "fc_to_first"),
        (dino_similarity.subject_consistency, "fc_subject_vbench"),
    ],
)
def test_consistency(numbers: Arrays, metric: Callable[[Features], float], name: str) -> None:
    found = [metric(frames_TD) for frames_TD in numbers["image"]]
    close(found, numbers[name], TOLERANCE)
    if name == "fc_subject_vbench":  # whose mean over frames is that over clips of one length
        close(np.mean(found), numbers["fc_subject_vbench_all"], TOLERANCE)


def test_similarity_with_the_text(numbers: Arrays) -> None:
    pairs = list(zip(numbers["image"], numbers["text_target"], strict=True))
    frames = [clip_score.text_similarities(image, text[None])[:, 0] for image, text in pairs]
    close(frames, numbers["clip_t_frame"], TOLERANCE)
    close(100 * np.concatenate(frames), numbers["torchmetrics_scores"], TOLERANCE)
    means = [clip_score.text_similarity(image, text) for image, text in pairs]
    close(100 * np.array(means), numbers["clip_t"], TOLERANCE)
    temporal = [clip_score.temporal_semantics(image, text) for image, text in pairs]
    close(100 * np.array(temporal), numbers["temp_s_clip"], TOLERANCE)
    close(100 * np.mean(temporal), numbers["temp_s_mean_of_products"], TOLERANCE)


def test_a_negative_similarity_stays_negative(numbers: Arrays) -> None:
    frames_TD, score = numbers["image"][0], float(numbers["clip_t"][0])
    found = clip_score.text_similarity(frames_TD, -np.sign(score) * numbers["text_target"][0])
    assert 100 * found == pytest.approx(-abs(score))
    assert max(found, 0.0) == numbers["torchmetrics_negative_mean_clamped"]


def test_semantic_accuracy_with_ties_failing(numbers: Arrays) -> None:
    sides = zip(numbers["image"], numbers["text_source"], numbers["text_target"], strict=True)
    shares = [clip_score.semantic_accuracy(*each) for each in sides]
    assert [np.mean(shares), *shares] == pytest.approx(numbers["sem_a"].tolist(), abs=1e-12)
    assert shares == pytest.approx(numbers["sem_a_frame"].mean(axis=1).tolist(), abs=1e-12)
    assert shares[int(numbers["sem_a_tie_clip"])] == 0


def test_a_long_text_keeps_its_end(numbers: Arrays, clip: ClipVitB32) -> None:
    """The tiny tokenizer has other numbers; what counts is which tokens stay, and the last."""
    long_ids, right = numbers["long_ids"], numbers["long_ids_right"]
    found = clip.tokens([" ".join("a" * (len(long_ids) - 2))])["input_ids"][0].tolist()
    assert len(found) == len(right)
    assert [found[0], found[-1]] == [BOS, EOS]
    assert found.index(EOS) == numbers["long_pooled_index"][1]
    np.testing.assert_array_equal([*long_ids[: len(found) - 1], long_ids[-1]], right)


@pytest.mark.parametrize("view", ["plain", "five_blackfill", "bbox_crop"])
def test_what_clip_is_shown(clip: ClipVitB32, view: str) -> None:
    given = arrays("clip_image")
    frames_THWC, masks_THW = given["image"][None], given["mask"][None] > 0
    views: dict[str, Sequence[Frames]] = {
        "plain": list(frames_THWC),
        "five_blackfill": list(masked_views(frames_THWC, masks_THW)),
        "bbox_crop": cropped_views(frames_THWC, masks_THW),
    }
    (shown_CHW,) = clip.shown(views[view]).numpy()
    part, told = shown_CHW[:, ::13, ::17], given[f"{view}_pil_stats"]
    close(part, given[f"{view}_pil"], PIL_TOLERANCE)
    close(part, given[f"{view}_tv"], TORCHVISION_TOLERANCE)
    whole = shown_CHW.astype(np.float64)
    close([whole.sum(), np.square(whole).sum()], told, PIL_TOLERANCE)


def test_a_crop_is_the_box_of_the_mask() -> None:
    given = arrays("clip_image")
    top, bottom, left, right = given["bbox"]
    (crop_HWC,) = cropped_views(given["image"][None], given["mask"][None] > 0)
    np.testing.assert_array_equal(crop_HWC, given["image"][top:bottom, left:right])
