import sys

import cv2
import dlib
import numpy as np
import pytest

from deepfusion.errors import UserError
from deepfusion.faces.detect import PREDICTOR, Detector


@pytest.fixture(scope="module")
def doubling_detector():
    return Detector(upsample=1)


def test_one_face_with_landmarks_on_it(detector, scene):
    (face,) = detector(scene((10, 20, 1.0)))
    left, top, right, bottom = face.box
    assert face.box.shape == (4,) and face.box.dtype == np.float32
    assert face.landmarks.shape == (68, 2) and face.landmarks.dtype == np.float32
    assert 80 < right - left < 120 and face.score > 0.5
    x, y = face.landmarks.T
    assert left - 10 < x.min() and x.max() < right + 10 and top - 25 < y.min() and y.max() < bottom + 10
    eyes, mouth = face.landmarks[36:48], face.landmarks[48:]
    assert eyes[:6, 0].max() < eyes[6:, 0].min() and eyes[:, 1].max() < mouth[:, 1].min()


def test_landmarks_follow_the_picture(detector, scene):
    here, there = (detector(scene((x, 20, 1.0)))[0] for x in (8, 72))
    shift = (there.landmarks - here.landmarks).mean(0)
    np.testing.assert_allclose(shift, [64, 0], atol=1.5)


def test_all_faces_highest_score_first(detector, scene):
    faces = detector(scene((10, 20, 1.0), (230, 30, 0.9)))
    assert len(faces) == 2
    assert faces[0].score >= faces[1].score
    assert {face.box[0] > 200 for face in faces} == {True, False}


def test_grey_picture_in_three_equal_channels(detector, scene):
    grey = cv2.cvtColor(scene((10, 20, 1.0)), cv2.COLOR_RGB2GRAY)
    (face,) = detector(np.dstack([grey, grey, grey]))
    (box,) = dlib.get_frontal_face_detector()(grey)
    np.testing.assert_array_equal(face.box, [box.left(), box.top(), box.right(), box.bottom()])


def test_not_contiguous_picture(detector, scene):
    image = scene((10, 20, 1.0))
    (face,) = detector(np.dstack([image, image])[..., :3])
    np.testing.assert_array_equal(face.landmarks, detector(image)[0].landmarks)


def test_none_without_a_face_or_with_one_on_its_side(detector, scene, head):
    assert detector(scene()) == []
    assert detector(np.rot90(head)) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 500), (40, 30), (79, 79)])
def test_tiny_pictures_are_no_error(detector, doubling_detector, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector(noise) == doubling_detector(noise) == []


def test_upsample_finds_a_small_face_in_the_pictures_own_coordinates(detector, doubling_detector, scene):
    small = scene((20, 40, 0.5))
    assert detector(small) == []
    (face,) = doubling_detector(small)
    (large,) = detector(scene((20, 40, 1.0)))
    middle = (face.box[:2] + face.box[2:]) / 2
    expected = [20, 40] + ((large.box[:2] + large.box[2:]) / 2 - [20, 40]) / 2
    np.testing.assert_allclose(middle, expected, atol=5)
    np.testing.assert_allclose(np.ptp(face.landmarks, 0), np.ptp(large.landmarks, 0) / 2, rtol=0.1)


def test_threshold(detector, scene):
    image = scene((10, 20, 1.0))
    (face,) = detector(image)
    assert Detector(threshold=face.score + 0.1)(image) == []
    assert len(Detector(threshold=face.score - 0.1)(image)) == 1


def test_absent_package_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)  # as if not installed
    with pytest.raises(UserError, match="pip install face-recognition-models") as error:
        Detector()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"something else"])
def test_absent_or_other_weights_are_refused_without_importing_the_package(monkeypatch, tmp_path, content):
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    if content is not None:
        (package / "models" / PREDICTOR).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="is missing" if content is None else "is not the expected file"):
        Detector()


@pytest.mark.realdata
def test_against_dlib_itself_on_a_real_clip(detector, real_frames):
    find = dlib.get_frontal_face_detector()
    for image in real_frames:
        (face,) = detector(image)
        boxes, scores, _ = find.run(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0, 0.0)
        assert face.score == scores[0]
        np.testing.assert_array_equal(face.box[:2], [boxes[0].left(), boxes[0].top()])
