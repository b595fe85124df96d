from itertools import pairwise

import numpy as np
import pytest
import skimage.data

from deepfusion.faces.detect import Detection
from deepfusion.faces.face_track import COLUMNS, Choice, Reason, collect
from deepfusion.faces.tracker import difference, follow, overlap, prominence, thumbnail
from deepfusion.media import Frame, frames

NEAR = (10, 20, 1.0)  # the larger head, on the left
FAR = (235, 40, 0.9)  # the smaller one, on the right


def clip(images, step=0.1, start=0.0):
    return [Frame(start + step * k, image) for k, image in enumerate(images)]


def middle(track):
    return (track.box[:, :2] + track.box[:, 2:]) / 2


def test_one_moving_face(detector, scene):
    images = [scene((10 + 15 * k, 20, 1.0)) for k in range(8)]
    track = collect(follow(clip(images, start=3.5), detector))
    assert track.valid.all()
    assert track.choice.tolist() == [Choice.FIRST] + [Choice.CONTINUED] * 7
    np.testing.assert_array_equal(track.time, 3.5 + 0.1 * np.arange(8))
    moved = track.landmarks.mean(1) - track.landmarks[0].mean(0)
    np.testing.assert_allclose(moved, [(15 * k, 0) for k in range(8)], atol=2)
    expected = detector(images[3])[0]
    assert track.score[3] == np.float32(expected.score)
    np.testing.assert_array_equal(track.box[3], expected.box)


def test_rows_come_frame_by_frame(detector, scene):
    read = []
    image = scene(NEAR)

    def endless():
        while True:
            read.append(image)
            yield Frame(0.1 * len(read), image)

    rows = follow(endless(), detector)
    for count in range(1, 4):
        next(rows)
        assert len(read) == count


def test_the_larger_of_two_faces(detector, scene):
    track = collect(follow(clip([scene(NEAR, FAR)] * 3), detector))
    assert track.faces.tolist() == [2, 2, 2]
    assert (middle(track)[:, 0] < 200).all()


def test_of_equal_faces_the_more_central(detector, scene):
    track = collect(follow(clip([scene((0, 20, 1.0), (150, 20, 1.0))]), detector))
    assert track.faces.tolist() == [2]
    assert middle(track)[0, 0] > 200


def test_a_missed_person_is_not_replaced_by_a_visible_one(detector, scene):
    both, other = scene(NEAR, FAR), scene(FAR)
    track = collect(follow(clip([both, both, other, other, other, both]), detector, cut_difference=0.9))
    missed = [2, 3, 4]
    assert track.reason.tolist() == [0, 0, 2, 2, 2, 0]
    assert (track.reason[missed] == Reason.OTHER_PERSON).all() and (track.faces[missed] == 1).all()
    assert (track.choice[missed] == Choice.NONE).all()
    for column in (track.box, track.landmarks, track.score):
        assert np.isnan(column[missed]).all() and np.isfinite(column[track.valid]).all()
    assert track.choice[5] == Choice.CONTINUED
    np.testing.assert_array_equal(track.box[5], track.box[1])


def test_the_gap_is_counted_in_seconds_not_frames(detector, scene):
    both, other = scene(NEAR, FAR), scene(FAR)
    images = [both] + [other] * 6
    brief = [Frame(t, image) for t, image in zip([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], images, strict=True)]
    track = collect(follow(brief, detector, max_gap=0.6, cut_difference=0.9))
    assert (track.reason[1:] == Reason.OTHER_PERSON).all()
    uneven = [Frame(t, image) for t, image in zip([0, 0.1, 0.6, 0.7, 2.0, 2.1, 9.0], images, strict=True)]
    track = collect(follow(uneven, detector, max_gap=0.6, cut_difference=0.9))
    assert track.reason.tolist() == [0, 2, 2, 0, 0, 0, 0]
    # The frame at 2.0 s has the same face at the same place, but 1.3 s after it was last seen.
    assert track.choice[3:].tolist() == [
        Choice.AFTER_GAP,
        Choice.AFTER_GAP,
        Choice.CONTINUED,
        Choice.AFTER_GAP,
    ]
    assert middle(track)[3, 0] > 200


def test_the_same_person_again_after_a_brief_miss_without_any_face(detector, scene):
    track = collect(follow(clip([scene(NEAR), scene(), scene(NEAR)]), detector, cut_difference=0.9))
    assert track.reason.tolist() == [Reason.FACE, Reason.NO_FACE, Reason.FACE]
    assert track.choice.tolist() == [Choice.FIRST, Choice.NONE, Choice.CONTINUED]
    assert track.faces.tolist() == [1, 0, 1]


def test_after_a_cut_the_person_is_chosen_anew(detector, scene):
    # The followed place still has a face after the cut, a smaller one: continuity must not win.
    before = scene(NEAR)
    after = scene((20, 30, 0.9), (215, 20, 1.05), background="rocket")
    track = collect(follow(clip([before, before, after, after]), detector))
    assert track.choice.tolist() == [Choice.FIRST, Choice.CONTINUED, Choice.AFTER_CUT, Choice.CONTINUED]
    assert (middle(track)[2:, 0] > 200).all()


def test_a_cut_to_a_faceless_picture_is_remembered_until_a_face_comes(detector, scene):
    images = [scene(NEAR), scene(background="rocket"), scene(FAR, background="rocket")]
    track = collect(follow(clip(images), detector, cut_difference=0.5))
    assert track.reason.tolist() == [Reason.FACE, Reason.NO_FACE, Reason.FACE]
    assert track.choice.tolist() == [Choice.FIRST, Choice.NONE, Choice.AFTER_CUT]


def test_black_frames_at_the_start_leave_the_first_choice(detector, scene):
    track = collect(follow(clip([scene(background="black")] * 2 + [scene(NEAR)] * 2), detector))
    assert track.reason.tolist() == [Reason.NO_FACE, Reason.NO_FACE, Reason.FACE, Reason.FACE]
    assert track.choice.tolist() == [Choice.NONE, Choice.NONE, Choice.FIRST, Choice.CONTINUED]


def test_no_face_at_all(detector, scene):
    track = collect(follow(clip([scene()] * 3), detector))
    assert (track.reason == Reason.NO_FACE).all() and not track.valid.any() and (track.faces == 0).all()


def test_a_face_that_leaves_the_frame(detector, scene):
    track = collect(follow(clip([scene((x, 20, 1.0)) for x in range(10, -161, -17)]), detector))
    gone = int(np.argmin(track.valid))
    assert 3 < gone < 11 and track.valid[:gone].all()
    assert (track.reason[gone:] == Reason.NO_FACE).all()
    assert track.box[:gone, 0].min() < 0  # partly outside, and still a box


def test_more_faces_than_the_column_holds(scene, detector):
    (face,) = detector(scene(NEAR))
    track = collect(follow(clip([scene(NEAR)]), lambda image: [face] * 300))
    assert track.faces.tolist() == [255]


@pytest.mark.parametrize("length", [0, 2])
def test_shapes_and_types_even_of_a_track_without_frames(detector, scene, length):
    track = collect(follow(clip([scene(NEAR)] * length), detector))
    columns = {name: (getattr(track, name).shape, getattr(track, name).dtype) for name in COLUMNS}
    assert columns == {
        "time": ((length,), np.float64),
        "box": ((length, 4), np.float32),
        "landmarks": ((length, 68, 2), np.float32),
        "score": ((length,), np.float32),
        "reason": ((length,), np.uint8),
        "choice": ((length,), np.uint8),
        "faces": ((length,), np.uint8),
        "detector": ((length,), np.uint8),
        "alignment": ((length,), np.float32),
    }
    found = {name: (values.shape, values.dtype) for name, values in track.found.items()}
    assert found == {
        "time": ((length,), np.float64),
        "box": ((length, 4), np.float32),
        "score": ((length,), np.float32),
        "detector": ((length,), np.uint8),
    }
    assert track.valid.shape == (length,) and track.valid.dtype == bool


def test_prominence_by_hand():
    # 100 x 50 px of 400 x 200: a quarter of the length scale; centre at (150, 75) from (200, 100) of (0, 0).
    away = np.hypot(50, 25) / np.hypot(200, 100)
    assert prominence(np.array([100, 50, 199, 99]), 400, 200) == pytest.approx(0.25 * (1 - away))
    assert prominence(np.array([0, 0, 399, 199]), 400, 200) == pytest.approx(1)


def test_overlap_against_counted_pixels():
    rng = np.random.default_rng(5)
    for _ in range(20):
        masks = np.zeros((2, 60, 60), bool)
        points = rng.integers(0, 60, (2, 68, 2)) // rng.integers(1, 4, (2, 1, 2))
        for mask, p in zip(masks, points, strict=True):
            (left, top), (right, bottom) = p.min(0), p.max(0)
            mask[top:bottom, left:right] = True
        expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        assert overlap(*points.astype(np.float32)) == pytest.approx(expected)
    a = np.stack([np.linspace(0, 1, 68)] * 2, 1)
    assert overlap(a, a + 5) == 0


def test_difference_tells_a_cut_from_light_and_darkness(scene):
    a, b = scene(NEAR), scene(FAR, background="rocket")
    threshold = follow.__kwdefaults__["cut_difference"]
    assert difference(thumbnail(a), thumbnail(a)) == 0
    assert difference(thumbnail(a), thumbnail(b)) > 2 * threshold
    assert difference(thumbnail(a // 8), thumbnail(b // 8)) > 2 * threshold
    assert difference(thumbnail(a), thumbnail((a * 0.7).astype(np.uint8))) < threshold / 2
    black = np.zeros_like(a)
    assert difference(thumbnail(black), thumbnail(black + 2)) == 0
    assert difference(thumbnail(black), thumbnail(a)) > 2 * threshold


def test_a_pan_is_no_cut():
    wide = np.kron(skimage.data.astronaut(), np.ones((2, 2, 1), np.uint8))
    pan = [thumbnail(wide[:700, x : x + 700]) for x in (0, 14, 28)]  # 2 % of the width a frame
    threshold = follow.__kwdefaults__["cut_difference"]
    assert all(difference(a, b) < threshold for a, b in pairwise(pan))


def test_continuity_needs_the_overlap_it_is_told(detector, scene):
    images = clip([scene((10, 20, 1.0)), scene((50, 20, 1.0))])
    shared = overlap(*(detector(image)[0].landmarks for _, image in images))
    assert 0.3 < shared < 0.7
    for least, reason in ((shared - 0.01, Reason.FACE), (shared + 0.01, Reason.OTHER_PERSON)):
        rows = follow(images, detector, min_overlap=least, cut_difference=2.0)
        assert [row.reason for row in rows] == [Reason.FACE, reason]


def test_of_two_faces_at_the_place_the_nearest_in_landmarks(scene):
    points = np.random.default_rng(0).uniform(0, 100, (68, 2)).astype(np.float32)

    def face(shift):
        return Detection(np.array([0, 0, 99, 99], np.float32) + shift, 1.0, points + shift)

    found = iter([[face(0)], [face(30), face(-9)]])
    rows = list(follow(clip([scene(), scene()]), lambda image: next(found)))
    np.testing.assert_array_equal(rows[1].landmarks, points - 9)


@pytest.mark.realdata
def test_one_person_through_a_real_clip_with_a_black_start(detector, javsed):
    # This clip opens with black frames, then shows one person throughout.
    track = collect(follow(frames(javsed / "clips" / "03-01-01_01.mp4", end=1.5), detector))
    first = int(np.argmax(track.valid))
    assert 5 < first < 20 and track.valid[first:].all()
    assert track.choice[first] == Choice.FIRST and (track.choice[first + 1 :] == Choice.CONTINUED).all()
    assert (np.diff(track.time) > 0).all()
    eye = np.linalg.norm(track.landmarks[first:, 36] - track.landmarks[first:, 45], axis=1)
    steps = np.abs(np.diff(track.landmarks[first:], axis=0)).mean((1, 2))
    assert (steps < 0.2 * eye[1:]).all()


@pytest.mark.realdata
def test_a_cut_from_one_real_speaker_to_another(detector, real_frames):
    woman, man = real_frames[0], real_frames[2]
    track = collect(follow(clip([woman, woman, man, man], step=0.04), detector))
    assert track.valid.all()
    assert track.choice.tolist() == [Choice.FIRST, Choice.CONTINUED, Choice.AFTER_CUT, Choice.CONTINUED]
