"""Joining faces to tracks, on made-up detections; what makes a face plausible; where cuts are."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from avipipe.annotators.faces.detect import SURE_SCORE, Face, Points, is_plausible
from avipipe.annotators.faces.track import FaceTrack, track_faces
from avipipe.annotators.tracking import find_cuts
from tests.pictures import SIZE, square_on_wall, swing, texture

FRONTAL = np.array([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)])
NOSE_LOWER = np.array([(0, 0), (0, 0), (0, 0.3), (0, 0), (0, 0)])
Place = Callable[[int], tuple[float, float] | None]


def face(x: float, y: float, *, size: float = 40.0, score: float = 0.95) -> Face:
    corner = np.array([x, y])
    return Face(np.concatenate([corner, corner + size]), corner + FRONTAL * size, score)


def seen(*places: Place, num_frames: int = 72, step: int = 3) -> dict[int, list[Face]]:
    """Faces at the places given, in every `step`-th frame."""
    return {
        frame: [face(*at) for place in places if (at := place(frame)) is not None]
        for frame in range(0, num_frames, step)
    }


def tracked(faces: Mapping[int, list[Face]], *, cuts: tuple[int, ...] = ()) -> list[FaceTrack]:
    return track_faces(faces, cuts=cuts, max_gap_frames=12, least_frames=12)


def x_of(track: FaceTrack) -> Points:
    return np.asarray(track.boxes_T4[:, 0], np.float64)


def test_a_still_face_is_one_track_with_a_box_in_every_frame() -> None:
    (track,) = tracked(seen(lambda frame: (50.0, 20.0)))
    assert track.frames == range(70)
    np.testing.assert_allclose(track.boxes_T4, np.tile([50.0, 20.0, 90.0, 60.0], (70, 1)))
    assert track.landmarks_T52.shape == (70, 5, 2)


def test_boxes_between_looks_are_interpolated() -> None:
    (track,) = tracked(seen(lambda frame: (2.0 * frame, 10.0)))
    np.testing.assert_allclose(x_of(track), 2.0 * np.arange(70))
    assert track.sights == tuple(range(0, 72, 3))


def test_faces_that_cross_keep_their_ways() -> None:
    right, left = tracked(
        seen(lambda frame: (4.0 * frame, 20.0), lambda frame: (280.0 - 4.0 * frame, 26.0))
    )
    np.testing.assert_allclose(x_of(right), 4.0 * np.arange(70))
    np.testing.assert_allclose(x_of(left), 280.0 - 4.0 * np.arange(70))


def test_faces_that_hide_each_other_for_a_moment_keep_their_ways() -> None:
    hidden = range(32, 40)
    tracks = tracked(
        seen(
            lambda frame: (4.0 * frame, 20.0),
            lambda frame: None if frame in hidden else (280.0 - 4.0 * frame, 26.0),
        )
    )
    assert [track.first for track in tracks] == [0, 0]
    np.testing.assert_allclose(x_of(tracks[1]), 280.0 - 4.0 * np.arange(70))


def test_a_face_that_turns_back_at_once_is_one_track() -> None:
    shake = [0.0, 13.0, 26.0, 13.0]
    assert len(tracked(seen(lambda frame: (shake[frame // 3 % 4], 0.0)))) == 1


def test_a_short_gap_is_bridged_and_a_long_one_is_not() -> None:
    assert len(tracked(seen(lambda frame: None if 30 <= frame < 39 else (50.0, 20.0)))) == 1
    before, after = tracked(seen(lambda frame: None if 30 <= frame < 48 else (50.0, 20.0)))
    assert (before.frames, after.frames) == (range(28), range(48, 70))


def test_a_face_that_leaves_and_returns_elsewhere_is_another_track() -> None:
    before, after = tracked(
        seen(lambda frame: (10.0, 20.0) if frame < 30 else (200.0, 20.0) if frame > 33 else None)
    )
    assert before.frames.stop < after.frames.start
    assert (x_of(before)[0], x_of(after)[0]) == (10.0, 200.0)


def test_no_track_goes_on_over_a_cut() -> None:
    still = seen(lambda frame: (50.0, 20.0))
    before, after = tracked(still, cuts=(30,))
    assert before.frames.stop <= 30 <= after.frames.start
    assert len(tracked(still)) == 1


def test_flickers_and_brief_sights_are_dropped() -> None:
    assert tracked(seen(lambda frame: (50.0, 20.0) if frame < 9 else None)) == []
    assert tracked(seen(lambda frame: (50.0, 20.0) if frame % 9 == 0 else None)) == []


def test_what_never_is_surely_a_face_is_dropped() -> None:
    unsure = {frame: [face(50.0, 20.0, score=SURE_SCORE - 0.02)] for frame in range(0, 72, 3)}
    assert tracked(unsure) == []
    unsure[30] = [face(50.0, 20.0)]
    assert len(tracked(unsure)) == 1


def test_forty_faces_are_forty_tracks_from_left_to_right() -> None:
    rng = np.random.default_rng(0)
    grid = [(60.0 * column, 60.0 * row) for column in range(8) for row in range(5)]

    def shaking(frame: int) -> list[Face]:
        faces = [face(x + rng.normal(0, 2), y + rng.normal(0, 2)) for x, y in grid]
        return [faces[number] for number in rng.permutation(len(faces))]

    tracks = tracked({frame: shaking(frame) for frame in range(0, 72, 3)})
    assert len(tracks) == 40
    assert max(np.ptp(track.boxes_T4[:, :2], axis=0).max() for track in tracks) < 20
    assert [track.boxes_T4[0, 0] for track in tracks] == sorted(
        track.boxes_T4[0, 0] for track in tracks
    )


def test_nothing_seen_is_no_track() -> None:
    assert tracked({}) == []
    assert tracked(seen(num_frames=30)) == []


@pytest.mark.parametrize("degrees", [-50, 0, 50])
def test_upright_and_tilted_faces_are_plausible(degrees: float) -> None:
    assert is_plausible(turned(FRONTAL, degrees))


@pytest.mark.parametrize(
    "landmarks",
    [
        pytest.param(FRONTAL[::-1], id="mouth over eyes"),
        pytest.param(FRONTAL[[1, 0, 2, 4, 3]], id="mirrored"),
        pytest.param(FRONTAL + NOSE_LOWER, id="nose under mouth"),
        pytest.param(FRONTAL * (1, 0) + (0, 0.5), id="all on one line"),
    ],
)
def test_other_patterns_are_not(landmarks: Points) -> None:
    assert not is_plausible(turned(landmarks, 0))


def test_a_profile_is_plausible_and_a_face_upside_down_is_not() -> None:
    profile = np.array([(0.3, 0.35), (0.3, 0.35), (0.15, 0.55), (0.25, 0.75), (0.28, 0.75)])
    assert is_plausible(turned(profile, 0))
    assert not is_plausible(turned(FRONTAL, 180))
    assert not is_plausible(turned(FRONTAL, 80))


def turned(landmarks_52: Points, degrees: float) -> Face:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([0.5, 0.5])
    points = ((landmarks_52 - middle) @ turn.T + middle) * 40
    return Face(np.array([0.0, 0.0, 40.0, 40.0]), points, 0.95)


def test_cuts_are_found_and_motion_is_none() -> None:
    moving, _ = square_on_wall(swing(24))
    other = np.repeat(texture(5, SIZE, hue=(200, 180, 40))[None], 24, axis=0)
    assert find_cuts(moving) == []
    assert find_cuts(np.concatenate([moving, other, moving])) == [24, 48]
    assert find_cuts(moving[:1]) == []


def test_a_shaking_camera_at_a_low_rate_is_no_cut() -> None:
    wide = texture(3, (120, 400), hue=(120, 120, 120))
    stripes = wide // 2 + np.uint8(100) * ((np.arange(400) // 40 % 2)[None, :, None]).astype(
        np.uint8
    )
    shaken = np.stack([stripes[:, at : at + 160] for at in (0, 40, 80, 40, 100, 60, 120, 20)])
    assert find_cuts(np.repeat(shaken, 2, axis=0)) == []
