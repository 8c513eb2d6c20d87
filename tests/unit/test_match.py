"""Matching in a profile without a model for it."""

from fractions import Fraction

import numpy as np

from avipipe.annotators.registry import create, profile


def test_without_a_model_nothing_is_claimed() -> None:
    matcher = create("match", profile("embedded")["match"])
    matcher.setup()
    crops = [np.zeros((2, 4, 4, 3), np.uint8)] * 3
    wav_N = np.ones(800, np.float32)
    found = matcher.match(
        crops, labels=["dog", "car", "dog"], fps=Fraction(24), wav_N=wav_N, sample_rate_hz=16_000
    )
    assert found == [None, None, None]
    assert dict(matcher.weights) == {}
