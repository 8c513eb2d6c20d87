"""Warp error against its stored arithmetic."""

import numpy as np

from avipipe.evaluate.metrics.warp_error import warp_error
from tests.parity.metric_fixtures import arrays, close

TOLERANCE = 1e-6


def test_known_motion() -> None:
    motion = arrays("motion")
    for kind, key in (("clean", "warp_video"), ("noisy", "warp_video_noisy")):
        video = motion[key]
        flow = np.broadcast_to(motion["warp_flow_xy"].astype(np.float32), (*video.shape[1:3], 2))
        found = warp_error(video, [flow] * (len(video) - 1))
        expected = motion[f"warp_error_{kind}"]
        close([found.valid, found.zero_filled, found.diluted], expected, TOLERANCE)
        close(found.valid_share, motion["warp_valid_fraction"], TOLERANCE)
