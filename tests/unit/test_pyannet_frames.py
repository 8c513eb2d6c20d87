"""Windows of a long sound, who is who in them, and turns of frames."""

import numpy as np
import pytest

from avipipe.annotators.pyannet.frames import (
    FIELD,
    HOP,
    RATE_HZ,
    Probabilities,
    probabilities,
    shared_s,
    spans,
    stitch,
)


def loudness(wav_WN: Probabilities) -> Probabilities:
    """A network that takes what is above 0.5 for one speaker, and what is below -0.5 for another,
    and numbers them by who is heard first, as a network may."""
    count = (wav_WN.shape[1] - FIELD) // HOP + 1
    middles = FIELD // 2 + HOP * np.arange(count)
    parts_WF = wav_WN[:, middles]
    heard_WFS = np.zeros((len(wav_WN), count, 3), np.float32)
    for number, part_F in enumerate(parts_WF):
        two = [part_F > 0.5, part_F < -0.5]
        two.sort(key=lambda active_F: int(active_F.argmax()) if active_F.any() else count)
        heard_WFS[number, :, 0], heard_WFS[number, :, 1] = two
    return np.asarray(0.1 + 0.8 * heard_WFS, np.float32)


def sound(duration_s: float, **heard: list[tuple[float, float]]) -> Probabilities:
    wav_N = np.zeros(round(duration_s * RATE_HZ), np.float32)
    for level, parts in zip((1.0, -1.0), heard.values(), strict=True):
        for start_s, end_s in parts:
            wav_N[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = level
    return wav_N


def test_a_short_sound_is_one_window_padded_to_a_second() -> None:
    given: list[int] = []

    def segment(wav_WN: Probabilities) -> Probabilities:
        given.append(wav_WN.shape[1])
        return loudness(wav_WN)

    assert probabilities(np.ones(1, np.float32), segment).shape == (1, 3)
    assert len(probabilities(np.ones(RATE_HZ // 2, np.float32), segment)) == 26
    assert len(probabilities(np.ones(30 * RATE_HZ, np.float32), segment)) == 1775
    assert given == [RATE_HZ, RATE_HZ, 30 * RATE_HZ]


def test_speakers_of_a_long_sound_keep_their_columns_whoever_begins_a_window() -> None:
    one, other = [(0.0, 8.0), (41.0, 50.0), (63.0, 70.0)], [(10.0, 30.0), (52.0, 60.0)]
    heard_FG = probabilities(sound(75.0, one=one, other=other), loudness) > 0.5
    assert heard_FG.shape == (int((75.0 * RATE_HZ - FIELD) // HOP) + 1, 3)
    found = [spans(active_F, duration_s=75.0) for active_F in heard_FG.T]
    assert np.array(found[0]) == pytest.approx(np.array(one), abs=0.05)
    assert np.array(found[1]) == pytest.approx(np.array(other), abs=0.05)
    assert found[2] == []


def test_a_lone_speaker_who_pauses_for_long_stays_one() -> None:
    wav_N = sound(90.0, one=[(0.0, 5.0), (58.0, 64.0)], other=[])
    heard_FG = probabilities(wav_N, loudness) > 0.5
    assert heard_FG.any(axis=0).tolist() == [True, False, False]


def test_a_fourth_speaker_is_not_taken_for_one_of_three() -> None:
    truth_F4 = np.zeros((900, 4), np.bool_)
    for number, (start, end) in enumerate([(0, 400), (200, 600), (350, 750), (700, 900)]):
        truth_F4[start:end, number] = True
    # The second window has room for three, and 100 frames of the first speaker are the least.
    windows = [truth_F4[:600, [0, 1, 2]], truth_F4[300:, [3, 2, 1]]]
    heard_FG = stitch(np.stack(windows).astype(np.float32), [0, 300]) > 0.5
    assert sorted(heard_FG.sum(axis=0).tolist()) == [200, 300, 400, 400]


def test_windows_that_disagree_give_their_mean() -> None:
    sure, unsure = np.full((4, 3), 0.9, np.float32), np.full((4, 3), 0.3, np.float32)
    mean_FG = stitch(np.stack([sure, unsure]), [0, 2])
    assert mean_FG[:, 0] == pytest.approx([0.9, 0.9, 0.6, 0.6, 0.3, 0.3])


def test_turns_reach_to_the_ends_and_over_pauses_within_words() -> None:
    active_F = np.ones(100, np.bool_)
    active_F[20:24] = False
    active_F[60:70] = False
    found = np.array(spans(active_F, duration_s=2.0))
    assert found == pytest.approx(np.array([(0.0, 1.2), (1.4, 2.0)]))
    assert spans(active_F & False, duration_s=2.0) == []


def test_what_two_lists_of_turns_share() -> None:
    assert shared_s([(0.0, 1.0), (2.0, 4.0)], [(0.5, 3.0), (3.5, 9.0)]) == pytest.approx(2.0)
    assert shared_s([], [(0.0, 1.0)]) == 0.0
