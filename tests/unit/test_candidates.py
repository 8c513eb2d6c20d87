"""Which of several things that have names is the one that sounds."""

import numpy as np

from avipipe.annotators.base import ActiveSpeakers, Localization, SpeakerTrack
from avipipe.annotators.sounding import join_tracks
from avipipe.manifests.evidence import LookEvidence, NormalBox, PictureSeen, ThingSeen
from avipipe.stages.candidates import STEP_FRAMES, Candidates, named_candidates
from avipipe.stages.mask import without_overlays

SIZE = (200, 100)
NUM_FRAMES = 96
LEFT: NormalBox = (0.1, 0.2, 0.4, 0.9)
RIGHT: NormalBox = (0.6, 0.2, 0.9, 0.9)


def thing(
    label: str,
    box: NormalBox,
    *,
    explains: float | None,
    score: float = 0.8,
    start_s: float = 0.0,
    num_boxes: int = 16,
) -> ThingSeen:
    return ThingSeen(
        label=label,
        start_s=start_s,
        end_s=start_s + num_boxes / 4,
        box=box,
        score=score,
        boxes=[box] * num_boxes,
        scores=[score] * num_boxes,
        box_step_frames=6,
        explains=explains,
    )


def face(box: tuple[float, float, float, float], *, logit: float) -> SpeakerTrack:
    frames = tuple(range(0, NUM_FRAMES, 6))
    return SpeakerTrack(frames, (box,) * len(frames), (logit,) * len(frames))


def heat_in(box: NormalBox) -> Localization:
    heat_HW = np.zeros(SIZE[::-1], np.float32)
    heat_HW[
        round(box[1] * SIZE[1]) : round(box[3] * SIZE[1]),
        round(box[0] * SIZE[0]) : round(box[2] * SIZE[0]),
    ] = 1.0
    return Localization(0.5, 0.01, 0.3, 0.0, heat_HW, None, 1.0)


def found(
    *things: ThingSeen,
    localization: Localization | None = None,
    speakers: ActiveSpeakers | None = None,
) -> Candidates:
    return named_candidates(
        things,
        localization=localization,
        speakers=speakers,
        size=SIZE,
        num_frames=NUM_FRAMES,
    )


def test_what_explains_the_sound_comes_before_what_is_surer_seen() -> None:
    candidates = found(
        thing("chair", LEFT, explains=0.0, score=0.95), thing("dog", RIGHT, explains=0.9, score=0.5)
    )
    assert {each.label for each in candidates.chosen} == {"dog"}
    assert candidates.chosen[0].box == (120.0, 20.0, 180.0, 90.0)
    assert {each.label for each in candidates.sights} == {"chair", "dog"}


def test_it_is_looked_at_twice_a_second() -> None:
    frames = [each.frame for each in found(thing("dog", LEFT, explains=1.0)).chosen]
    assert sorted(frames) == list(range(0, NUM_FRAMES, STEP_FRAMES))


def test_all_of_its_sights_are_counted_and_eight_are_cut_out() -> None:
    """Or what may be it as well would stand alone in most frames of a long clip."""
    dogs = [thing("dog", place, explains=0.9, num_boxes=40) for place in (LEFT, RIGHT)]
    candidates = named_candidates(dogs, localization=None, speakers=None, size=SIZE, num_frames=240)
    times = [each.frame for each in candidates.chosen]
    assert sorted(times) == sorted(each.frame for each in candidates.rivals)
    assert len(times) == 20
    assert len(candidates.seeds) == 8
    assert {each.frame for each in candidates.seeds} <= set(times)


def test_where_it_was_cut_off_with_a_bar_it_is_not_looked_for() -> None:
    dog = thing("dog", LEFT, explains=0.9)
    gone = dog.model_copy(update={"boxes": [(0.0, 0.2, 0.0, 0.9), *dog.boxes[1:]]})
    assert min(each.frame for each in found(gone).sights) > 0


def test_of_two_that_explain_it_alike_the_one_that_moves_with_it_is_first() -> None:
    dogs = thing("dog", LEFT, explains=0.9), thing("dog", RIGHT, explains=0.9)
    for place in (LEFT, RIGHT):
        candidates = found(*dogs, localization=heat_in(place))
        assert {each.box[0] for each in candidates.chosen} == {place[0] * SIZE[0]}
        assert len(candidates.rivals) == len(candidates.chosen) == NUM_FRAMES / STEP_FRAMES


def test_what_comes_for_a_moment_counts_less() -> None:
    candidates = found(
        thing("dog", LEFT, explains=0.9, num_boxes=3), thing("dog", RIGHT, explains=0.7)
    )
    assert candidates.chosen[0].box[0] == RIGHT[0] * SIZE[0]


def test_a_speaking_face_chooses_the_person_around_it() -> None:
    people = (
        thing("person", LEFT, explains=0.9, score=0.9),
        thing("person", RIGHT, explains=0.9, score=0.5),
    )
    silent, speaking = face((40, 30, 60, 50), logit=-2.0), face((140, 30, 160, 50), logit=2.0)
    chosen = found(*people, speakers=ActiveSpeakers((silent, speaking), 1.0)).chosen
    assert {each.box[0] for each in chosen} == {RIGHT[0] * SIZE[0]}


def test_a_speaking_face_without_a_person_around_it_leaves_the_choice_to_others() -> None:
    speakers = ActiveSpeakers((face((140, 30, 160, 50), logit=2.0),), 1.0)
    candidates = found(thing("person", LEFT, explains=0.9), speakers=speakers)
    assert candidates.chosen == []
    assert len(candidates.sights) == NUM_FRAMES / 6


def test_nothing_is_chosen_that_explains_nothing() -> None:
    for explains in (0.0, 0.1, None):
        assert found(thing("chair", LEFT, explains=explains)).chosen == []


def part(start: int, end: int, box: tuple[float, float, float, float]) -> SpeakerTrack:
    frames = tuple(range(start, end, 6))
    return SpeakerTrack(frames, (box,) * len(frames), (1.0,) * len(frames))


def test_a_face_that_is_lost_for_a_moment_is_one() -> None:
    before, after = part(0, 40, (40, 30, 60, 50)), part(66, 96, (45, 32, 65, 52))
    (track,) = join_tracks(ActiveSpeakers((before, after), 1.0)).tracks
    assert track.frames == before.frames + after.frames
    assert track.boxes == before.boxes + after.boxes


def test_another_face_is_another() -> None:
    before = part(0, 40, (40, 30, 60, 50))
    for other in (
        part(66, 96, (140, 30, 160, 50)),  # elsewhere
        part(66, 96, (40, 30, 90, 80)),  # much nearer
        part(30, 96, (42, 30, 62, 50)),  # at the same time
        part(96, 120, (40, 30, 60, 50)),  # too late
    ):
        assert len(join_tracks(ActiveSpeakers((before, other), 1.0)).tracks) == 2


def test_logos_and_captions_are_cut_out_of_masks() -> None:
    masks_THW = np.ones((2, 20, 40), np.bool_)
    picture = PictureSeen(
        content_box=(0.0, 0.0, 1.0, 1.0),
        overlays=[(0.76, 0.0, 1.0, 0.24)],
        num_panels=1,
        camera_px=0.0,
        residual_ratio=None,
        still_ratio=0.0,
        change=1.0,
        largest_jump=1.0,
        flat_ratio=0.0,
    )
    unknown = (
        *("correlation", "p_value", "margin", "lag_s", "box", "localization_confidence"),
        *("sync_offset_s", "sync_z", "motion_px", "faces"),
    )
    known = {"num_frames": 2, "measures": {}, "picture": picture, "backends": {}}
    nothing = LookEvidence.model_validate({**dict.fromkeys(unknown), **known})
    left_THW = without_overlays(masks_THW, nothing)
    assert not left_THW[:, :5, 30:].any()
    assert left_THW[:, 5:].all()
    assert left_THW[:, :, :30].all()
    assert masks_THW.all(), "what was carried stays as it was"
    behind_THW = np.zeros_like(masks_THW)
    behind_THW[:, :5, 32:] = True
    assert (without_overlays(behind_THW, nothing) == behind_THW).all(), "it is the thing itself"
