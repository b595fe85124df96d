"""Generated hard clips: the truth about a rendered head, and what counts as found."""

import hard_clips
import hard_faces
import numpy as np
import pytest
import rendered_head
from front_end_clips import write_video

from deepfusion.faces.detect import Detector
from deepfusion.media import frames

LIGHT = np.array([0.0, 0.0, 1.0])


def drawn(*pose, place=(160, 130), scale=1.0):
    image = np.full((300, 320, 3), 90, np.float32)
    turn = rendered_head.rotation(*pose)
    points, opacity = rendered_head.draw(image, rendered_head.head(1), turn, np.array(place, float), scale, LIGHT)
    return np.clip(image, 0, 255).astype(np.uint8), points, opacity


def test_dlib_finds_the_landmarks_where_the_rendered_head_has_them():
    image, points, _ = drawn(0, 0, 0)
    face = Detector()(image)[0]
    eyes = np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0))
    assert np.linalg.norm(face.landmarks - points, axis=1).mean() < 0.12 * eyes
    assert hard_faces.is_face(face.box, np.array([*points.min(0), *points.max(0)]))


def test_the_signs_of_the_pose():
    _, still, _ = drawn(0, 0, 0)
    nose = 30
    assert drawn(30, 0, 0)[1][nose, 0] > still[nose, 0] + 10  # to the picture's right
    assert drawn(0, 20, 0)[1][nose, 1] < still[nose, 1] - 10  # up
    eyes = drawn(0, 0, 20)[1][[36, 45]]
    assert eyes[1, 1] > eyes[0, 1] + 10  # clockwise
    np.testing.assert_allclose(
        rendered_head.rotation(50, 20, 10) @ rendered_head.rotation(50, 20, 10).T, np.eye(3), atol=1e-9
    )


def test_a_turned_head_hides_its_far_side():
    narrow, wide = (np.ptp(drawn(yaw, 0, 0)[1][36:48, 0]) for yaw in (60, 0))
    assert narrow < 0.65 * wide
    image, _, opacity = drawn(0, 0, 0, place=(-400, 0))  # outside
    assert not opacity.any() and (image == 90).all()


def test_what_counts_as_found():
    true = np.array([100.0, 100, 200, 200])
    assert hard_faces.is_face(true + 20, true)
    assert hard_faces.is_face(np.array([95.0, 60, 205, 200]), true)  # with the forehead
    assert not hard_faces.is_face(true + 70, true)
    assert not hard_faces.is_face(true, np.full(4, np.nan))  # nobody is there


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(hard_clips, "COUNT", 8)


@pytest.mark.parametrize(
    "name", ["rendered: hand at the cheek: 0", "rendered: enters and leaves: 1", "nobody: brick: 0"]
)
def test_clips_are_functions_of_their_names(short, name, tmp_path):
    (clip,), (again,) = (list(hard_clips.clips([name])) for _ in range(2))
    np.testing.assert_array_equal(clip.frames, again.frames)
    assert clip.frames.shape == (8, 480, 640, 3) and clip.box.shape == (8, 4) and clip.pose.shape == (8, 3)
    if name.startswith("nobody"):
        assert np.isnan(clip.box).all() and not clip.visible.any()
    else:
        assert 0 <= clip.visible.min() < 0.9 < clip.visible.max() < 1.1
    write_video(tmp_path / "clip.mp4", clip.frames, hard_clips.RATE)
    assert len(list(frames(tmp_path / "clip.mp4"))) == 8
