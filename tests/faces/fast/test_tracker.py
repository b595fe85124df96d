"""The search near the last face against that of the whole frame: the same faces, from few searches."""

from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest

from deepfusion.errors import UserError
from deepfusion.faces.detect import Detector
from deepfusion.faces.face_track import Choice, Reason, collect
from deepfusion.faces.fast.dlib_pyramid import Pyramid
from deepfusion.faces.fast.local_detector import NearDetector, one_level, shared
from deepfusion.faces.fast.tracker import follow_near
from deepfusion.faces.tracker import follow
from deepfusion.media import Frame, frames

NEAR = (10, 20, 1.0)
FAR = (235, 40, 0.9)
RATE = 25


@pytest.fixture(scope="module")
def near_detector():
    return NearDetector()


@pytest.fixture(scope="module")
def doubling():
    return Detector(upsample=1), NearDetector(upsample=1)


class Counted:
    """A detector that notes the searches of whole frames."""

    def __init__(self, detector):
        self._detector, self.searches = detector, 0

    def detect_full(self, *args):
        self.searches += 1
        return self._detector.detect_full(*args)

    def __getattr__(self, name):
        return getattr(self._detector, name)


def clip(images, rate=RATE):
    return [Frame(i / rate, image) for i, image in enumerate(images)]


def grey(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def both(images, detector, near_detector, **settings):
    exact = collect(follow(clip(images), detector, **settings))
    counted = Counted(near_detector)
    near = collect(follow_near(clip(images), counted, **settings))
    np.testing.assert_array_equal(near.time, exact.time)
    return exact, near, counted.searches


def assert_same_faces(exact, near):
    for name in ("reason", "choice", "box", "landmarks"):
        np.testing.assert_array_equal(getattr(near, name), getattr(exact, name), err_msg=name)
    np.testing.assert_allclose(near.score, exact.score, atol=0.01)


@pytest.mark.parametrize("scale", [0.85, 1.0, 1.3, 1.9])
@pytest.mark.parametrize("place", [(10, 5), (61, 13), (214, 0)])
def test_boxes_are_those_of_the_whole_frame(detector, near_detector, head, scale, place):
    image = np.full((400, 600, 3), 90, np.uint8)
    cv2.warpAffine(
        head,
        np.array([[scale, 0, place[0]], [0, scale, place[1]]]),
        (600, 400),
        image,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    (exact,) = detector(image)
    near = near_detector.detect_local(grey(image), exact.box, reach=3, levels=1)[0]
    np.testing.assert_array_equal(near.box, exact.box)
    assert near.score == pytest.approx(exact.score, abs=1e-3)
    np.testing.assert_array_equal(near_detector.detection(grey(image), near).landmarks, exact.landmarks)


@pytest.mark.parametrize("scale", [0.45, 0.6, 1.0])
def test_small_faces_with_one_doubling(doubling, scene, scale):
    exact_detector, detector = doubling
    image = scene((30, 40, scale))
    exact = exact_detector(image)[0]
    near = detector.detect_local(grey(image), exact.box, reach=3, levels=1)[0]
    np.testing.assert_array_equal(near.box, exact.box)


def test_levels_have_the_sizes_and_pixels_of_dlibs(scene):
    image = grey(scene(NEAR))
    pyramid = Pyramid(*image.shape, 0)
    assert pyramid.levels == 8  # 240, 200, 166, 138, 115, 95, 79, 65; then 54
    level = image
    for i in range(4):
        pixels, first = pyramid.parts(image, np.array([40.0, 50, 120, 130]), range(i, i + 1), 2)[i]
        left, top = first
        assert left % 8 == top % 8 == 0
        np.testing.assert_array_equal(pixels, level[top : top + pixels.shape[0], left : left + pixels.shape[1]])
        level = dlib.resize_image(level, level.shape[0] * 5 // 6, level.shape[1] * 5 // 6)


@pytest.mark.parametrize("box", [[-90, -90, -10, -10], [500, 300, 590, 390], [-40, 30, 40, 110], [380, 180, 470, 270]])
def test_a_box_partly_or_wholly_outside_the_frame_is_no_error(near_detector, scene, box):
    assert near_detector.detect_local(grey(scene()), np.array(box, np.float32), reach=3, levels=3) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 500), (40, 30), (79, 79)])
def test_tiny_pictures_are_no_error(near_detector, shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert near_detector.detect_full(noise) == near_detector.detect_full(noise, 2) == []
    assert near_detector.detect_local(noise, np.array([0, 0, 79, 79], np.float32), reach=3, levels=1) == []


def test_a_coarse_search_finds_large_faces_and_near_makes_their_boxes_exact(detector, near_detector, scene):
    image = cv2.resize(scene(NEAR), None, fx=2.2, fy=2.2, interpolation=cv2.INTER_CUBIC)
    exact = detector(image)[0]
    (coarse,) = near_detector.detect_full(grey(image), 1)
    assert coarse.box[2] - coarse.box[0] >= near_detector.smallest(1) - 1
    assert shared(coarse.box, exact.box) > 0.5
    np.testing.assert_array_equal(near_detector.refined(grey(image), coarse).box, exact.box)
    assert near_detector.detect_full(grey(scene(FAR)), 1) == []


def test_a_detector_of_another_form_is_refused():
    class Other:
        def save(self, path):
            Path(path).write_bytes(b"something else")

    with pytest.raises(UserError, match=r"faces.search to exact"):
        one_level(Other())


def test_a_moving_and_growing_face(detector, near_detector, scene):
    images = [scene((10 + 6 * i, 20 + 2 * (i % 3), 0.9 + 0.008 * i)) for i in range(30)]
    exact, near, searches = both(images, detector, near_detector)
    assert exact.valid.all()
    assert_same_faces(exact, near)
    assert searches == 1


def test_a_fast_face_and_one_that_jumps(detector, near_detector, scene):
    xs = [10, 40, 70, 100, 70, 40, 10, 10, 220, 220, 220]
    exact, near, _ = both([scene((x, 20, 1.0)) for x in xs], detector, near_detector, cut_difference=2.0)
    assert exact.valid[:8].all() and not exact.valid[8:].any()  # too far away to be known as the same person
    np.testing.assert_array_equal(near.landmarks, exact.landmarks)
    assert near.reason.tolist() == exact.reason.tolist() == [0] * 8 + [Reason.OTHER_PERSON] * 3


def test_a_jump_is_chosen_anew_after_the_gap(detector, near_detector, scene):
    images = [scene(NEAR)] * 3 + [scene(FAR)] * 12
    exact, near, _ = both(images, detector, near_detector, cut_difference=2.0, max_gap=0.3)
    assert exact.choice[10] == Choice.AFTER_GAP and (exact.choice[11:] == Choice.CONTINUED).all()
    assert_same_faces(exact, near)


def test_a_cut(detector, near_detector, scene):
    before = scene(NEAR)
    after = scene((20, 30, 0.9), (215, 20, 1.05), background="rocket")
    exact, near, searches = both([before] * 4 + [after] * 4, detector, near_detector)
    assert near.choice[4] == Choice.AFTER_CUT
    assert_same_faces(exact, near)
    assert searches == 2 and (near.faces == exact.faces).all()


def test_an_occlusion_and_the_way_back(detector, near_detector, scene):
    images = [scene(NEAR)] * 4 + [scene()] * 6 + [scene((14, 24, 1.0))] * 4
    exact, near, searches = both(images, detector, near_detector, cut_difference=0.9)
    assert near.reason.tolist() == [0] * 4 + [Reason.NO_FACE] * 6 + [0] * 4
    assert_same_faces(exact, near)
    assert searches <= 2


def test_a_face_leaves_and_comes_back(detector, near_detector, scene):
    xs = [*range(10, -200, -15), *range(-200, 11, 15)]
    exact, near, _ = both([scene((x, 20, 1.0)) for x in xs], detector, near_detector)
    assert exact.valid[0] and exact.valid[-1] and (~exact.valid).sum() > 5
    assert_same_faces(exact, near)


def test_others_are_counted_by_the_latest_search_of_the_whole_frame(near_detector, scene):
    images = [scene(NEAR)] * 3 + [scene(NEAR, FAR)] * 14 + [scene(NEAR)] * 10
    rows = follow_near(clip(images, rate=8), near_detector, cut_difference=0.9, redetect=1.0)
    track = collect(rows)
    assert track.valid.all()  # the second face changes nothing in who is followed
    assert np.ptp(track.box, 0).max() == 0
    # Searches in frames 0, 8, 16 and 24; the second face is there in 3 to 16.
    assert track.faces.tolist() == [1] * 8 + [2] * 8 + [2] * 8 + [1] * 3


def test_a_missed_person_is_not_replaced_by_a_visible_one(detector, near_detector, scene):
    two, other = scene(NEAR, FAR), scene(FAR)
    exact, near, _ = both([two] * 2 + [other] * 5 + [two] * 2, detector, near_detector, cut_difference=0.9)
    assert near.reason.tolist() == [0, 0, 2, 2, 2, 2, 2, 0, 0]
    assert_same_faces(exact, near)
    np.testing.assert_array_equal(near.faces, exact.faces)


@pytest.mark.parametrize("late", range(1, 13))
def test_no_frame_is_lost_where_a_face_appears_between_two_searches(detector, near_detector, scene, late):
    images = [scene()] * late + [scene(NEAR)] * (14 - late)
    exact, near, searches = both(images, detector, near_detector, cut_difference=2.0)
    assert near.choice[late] == Choice.FIRST
    assert_same_faces(exact, near)
    assert searches <= 3


def test_a_face_seen_in_some_frames_before_it_stays(detector, near_detector, scene):
    shown = [0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    images = [scene(NEAR) if face else scene() for face in shown]
    exact, near, _ = both(images, detector, near_detector, cut_difference=2.0)
    assert exact.valid.tolist() == [bool(face) for face in shown]
    assert_same_faces(exact, near)


def test_a_face_at_the_end_of_a_shot_and_of_the_clip(detector, near_detector, scene):
    empty, cut = scene(), scene(background="rocket")
    images = [empty] * 3 + [scene(NEAR)] * 3 + [cut] * 3 + [scene(FAR, background="rocket")] * 3
    exact, near, _ = both(images, detector, near_detector, cut_difference=0.5)
    assert exact.choice.tolist().count(Choice.AFTER_CUT) == 1
    assert_same_faces(exact, near)


def test_nobody_costs_few_searches_and_holds_few_frames(near_detector, scene):
    counted, image, held = Counted(near_detector), scene(), []

    def read():
        for i in range(100):
            held.append(i)
            yield Frame(i / RATE, image)

    for seen, row in enumerate(follow_near(read(), counted)):
        assert row.reason == Reason.NO_FACE and row.faces == 0
        assert len(held) - seen <= 2 * 0.4 * RATE + 2
    assert seen == 99 and counted.searches <= 12


def test_no_frames_and_one_frame(near_detector, scene):
    assert list(follow_near([], near_detector)) == []
    (row,) = follow_near(clip([scene(NEAR)]), near_detector)
    assert row.reason == Reason.FACE and row.choice == Choice.FIRST and row.faces == 1


@pytest.mark.realdata
@pytest.mark.parametrize("upsample", [0, 1])
@pytest.mark.parametrize("name", ["01-01-03_01", "07-01-06_01", "10-04-04_01"])
def test_real_clips(javsed, detector, near_detector, doubling, upsample, name):
    exact_detector, detector_near = doubling if upsample else (detector, near_detector)
    path = javsed / "clips" / f"{name}.mp4"
    exact = collect(follow(frames(path, end=1.5), exact_detector))
    near = collect(follow_near(frames(path, end=1.5), detector_near))
    np.testing.assert_array_equal(near.valid, exact.valid)
    assert exact.valid.sum() >= 20
    assert_same_faces(exact, near)
