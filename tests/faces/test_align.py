from dataclasses import replace

import cv2
import dlib
import numpy as np
import pytest
import skimage.data
from skimage.transform import SimilarityTransform

from deepfusion.faces.align import Crop, five_points, rescaled, similarity, transform, warp

DLIB = Crop("dlib", 150, 0.25)
ARCFACE = Crop("arcface", 112)
BOX = Crop("box", 224, 0.3)
# As published with InsightFace, for 112 px.
FIVE = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
# Corners of the eyes and the base of the nose in dlib's mean face (its 5-point alignment), in the unit square.
DLIB_MEAN = {36: (0.121737, 0.216423), 45: (0.858516, 0.216423), 33: (0.490127, 0.628106)}


def apply(matrix, points):
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def moved(image, points, degrees, scale):
    """The picture turned about its middle and scaled, and the points with it."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += (scale - 1) / 2 * np.array([width - 1, height - 1])
    size = (round(width * scale), round(height * scale))
    turned = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC)
    return turned, apply(matrix, points).astype(np.float32)


def dot(shape, point, radius):
    """A Gaussian spot at a point with a fraction."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * radius**2))
    return np.repeat(spot[..., None], 3, 2).astype(np.uint8)


def centroid(image):
    weight = image[..., 0].astype(float)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.fixture(scope="module")
def face(detector):
    """Portrait, box and landmarks."""
    image = skimage.data.astronaut()
    (found,) = detector(image)
    return image, found.box, found.landmarks


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("degrees", [0, 25, -70])
def test_spots_at_the_five_points_land_on_the_arcface_template(degrees, scale):
    turn = np.deg2rad(degrees)
    place = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (np.array(FIVE) - 56) @ place.T + [210, 190]
    landmarks = np.zeros((68, 2), np.float32)
    around = 4 * scale * np.array([[-1, 0], [-0.5, 0.6], [0.5, 0.6], [1, 0], [0.5, -0.6], [-0.5, -0.6]])
    landmarks[36:42], landmarks[42:48] = points[0] + around, points[1] + around
    landmarks[[30, 48, 54]] = points[2:]
    for point, target in zip(points, FIVE, strict=True):
        spot = dot((400, 420), point, 3 * scale)
        np.testing.assert_allclose(centroid(warp(spot, np.zeros(4), landmarks, ARCFACE)), target, atol=0.15)


@pytest.mark.parametrize("scale", [0.6, 1.0, 3.0])
@pytest.mark.parametrize("degrees", [0, 20, -45])
@pytest.mark.parametrize("crop", [DLIB, Crop("dlib", 96, 0.1)])
def test_dlib_chip_puts_the_mean_face_where_dlib_does(crop, degrees, scale, face):
    image, box, landmarks = face
    landmarks = moved(image, landmarks, degrees, scale)[1]
    matrix = transform(box, landmarks, crop)
    for index, mean in DLIB_MEAN.items():
        target = (np.array(mean) + crop.margin) / (1 + 2 * crop.margin) * crop.size
        # One face differs from the mean face; a wrong turn, scale or padding puts it out by more than 5 %.
        np.testing.assert_allclose(apply(matrix, landmarks[index]), target, atol=0.05 * crop.size)
    spot = dot((round(512 * scale), round(512 * scale)), landmarks[33], 2 / np.sqrt(np.linalg.det(matrix[:, :2])))
    np.testing.assert_allclose(centroid(warp(spot, box, landmarks, crop)), apply(matrix, landmarks[33]), atol=0.15)


@pytest.mark.parametrize(("degrees", "scale", "most"), [(0, 1, 1), (25, 1, 1), (-40, 1.3, 1), (10, 0.5, 1), (15, 3, 3)])
def test_dlib_chip_equals_dlibs_own(degrees, scale, most, face):
    image, box, landmarks = face
    image, landmarks = moved(image, landmarks, degrees, scale)
    landmarks = landmarks.round()
    parts = [dlib.point(int(x), int(y)) for x, y in landmarks]
    theirs = dlib.get_face_chip(image, dlib.full_object_detection(dlib.rectangle(*map(int, box)), parts), 150, 0.25)
    ours = warp(image, box, landmarks, DLIB)
    # dlib shrinks large faces through a pyramid of its own: there the pixels differ a little more.
    assert np.abs(ours.astype(int) - theirs).mean() < most
    assert np.abs(ours.astype(int) - theirs[:, ::-1]).mean() > 20


@pytest.mark.parametrize("crop", [DLIB, ARCFACE])
def test_aligned_crops_do_not_depend_on_rotation_and_scale(crop, face):
    image, box, landmarks = face
    plain = warp(image, box, landmarks, crop).astype(float)
    image, landmarks = moved(image, landmarks, 30, 2.0)
    turned = warp(image, box, landmarks, crop).astype(float)
    assert np.abs(plain - turned).mean() < 5
    assert np.abs(plain - plain[:, ::-1]).mean() > 20


def test_box_is_squared_enlarged_and_upright(face):
    image = np.zeros((300, 400, 3), np.uint8)
    image[100:180, 150:210] = 255  # 60 wide, 80 high
    crop = warp(image, np.array([150, 100, 209, 179], np.float32), face[2], BOX)
    white = crop[..., 0] > 127
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    side = 224 / 1.3
    assert len(rows) == pytest.approx(side, abs=1) and len(columns) == pytest.approx(side * 60 / 80, abs=1)
    assert rows.mean() == pytest.approx(111.5, abs=0.5) and columns.mean() == pytest.approx(111.5, abs=0.5)
    assert white.sum() == pytest.approx(len(rows) * len(columns), abs=4)  # upright: only the corners are soft


def test_outside_the_frame_is_black(face):
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = warp(image, np.array([-50, -50, 49, 49], np.float32), face[2], Crop("box", 130, 0.3))
    assert (crop[:64, :] == 0).all() and (crop[:, :64] == 0).all()
    assert (crop[66:, 66:] == 200).all()


@pytest.mark.parametrize("crop", [DLIB, ARCFACE, BOX, Crop("arcface", 224), Crop("box", 64, 0.0)])
def test_shape_and_type(crop, face):
    image, box, landmarks = face
    crop_image = warp(image, box, landmarks, crop)
    assert crop_image.shape == (crop.size, crop.size, 3) and crop_image.dtype == np.uint8
    assert crop_image.std() > 20


def test_template_grows_with_the_crop(face):
    _, box, landmarks = face
    small, large = (transform(box, landmarks, Crop("arcface", size)) for size in (112, 224))
    np.testing.assert_allclose(large, 2 * small)


def test_a_large_face_is_reduced_without_aliasing(face):
    noise = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), dtype=np.uint8)
    crop = warp(noise, np.array([150, 150, 1149, 1149], np.float32), face[2], BOX)
    ideal = cv2.resize(noise, (224, 224), interpolation=cv2.INTER_AREA)
    assert crop.std() == pytest.approx(ideal.std(), rel=0.1)  # plain bilinear sampling leaves four times as much
    assert np.abs(crop.astype(int) - ideal).mean() < 8


DETAILED = [Crop("dlib", 150, 0.25, detail=50), Crop("arcface", 112, detail=56), Crop("box", 160, 0.25, detail=52)]


@pytest.mark.parametrize("crop", DETAILED, ids=str)
def test_less_detail_leaves_a_smooth_picture_as_it_is(crop, face):
    _, box, landmarks = face
    y, x = np.mgrid[:512, :512]
    smooth = np.stack([60 + x / 4, 220 - y / 3, 128 + 100 * np.sin(x / 90) * np.cos(y / 70)], axis=-1).astype(np.uint8)
    full = replace(crop, detail=0)
    ours, whole = (warp(smooth, box, landmarks, c).astype(int) for c in (crop, full))
    assert np.ptp(whole[..., 0]) > 20 and np.ptp(whole[..., 1]) > 20  # a shift of a pixel of the detail would count
    inner = np.s_[4:-4, 4:-4]  # enlarging repeats the outermost pixel
    assert np.abs(ours - whole)[inner].max() <= 2 and np.abs((ours - whole)[inner].mean()) < 0.2


def test_less_detail_is_the_small_crop_enlarged(face):
    """Of the box: the other templates' crops of another size lie a part of a pixel beside."""
    image, box, landmarks = face
    small = warp(image, box, landmarks, Crop("box", 52, 0.25))
    large = cv2.resize(small, (160, 160), interpolation=cv2.INTER_LINEAR)
    ours = warp(image, box, landmarks, Crop("box", 160, 0.25, detail=52)).astype(int)
    assert np.abs(ours - large).max() <= 1
    assert np.abs(ours - warp(image, box, landmarks, Crop("box", 160, 0.25))).mean() > 3


@pytest.mark.parametrize("crop", DETAILED, ids=str)
def test_less_detail_puts_a_spot_at_the_same_place(crop, face):
    _, box, landmarks = face
    matrix = transform(box, landmarks, crop)
    radius = 2 * crop.size / crop.detail / np.sqrt(np.linalg.det(matrix[:, :2]))
    spot = dot((512, 512), landmarks[30], radius)
    np.testing.assert_allclose(centroid(warp(spot, box, landmarks, crop)), apply(matrix, landmarks[30]), atol=0.2)


def test_less_detail_removes_fine_texture(face):
    _, box, landmarks = face
    noise = np.random.default_rng(0).integers(0, 256, (1536, 1536, 3), dtype=np.uint8)
    for crop in DETAILED:
        ours, whole = (warp(noise, 3 * box, 3 * landmarks, c) for c in (crop, replace(crop, detail=0)))
        step = [np.abs(np.diff(chip.astype(float), axis=1)).mean() for chip in (ours, whole)]
        assert step[0] < 0.5 * step[1]
    same = replace(crop, detail=crop.size)
    np.testing.assert_array_equal(
        warp(noise, box, landmarks, same), warp(noise, box, landmarks, replace(crop, detail=0))
    )


@pytest.mark.parametrize("factor", [3, 1, 0.25])
def test_rescaled_keeps_the_picture_in_its_edges(factor):
    """The corners of the crop, half a pixel outside of its corner pixels' centres, stay corners."""
    matrix = np.array([[0.9, -0.4, 7.0], [0.4, 0.9, -3.0]])
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    corners = np.array([[-0.5, -0.5], [39.5, -0.5], [39.5, 39.5]])  # of 40 px
    wanted = (corners + 0.5) * factor - 0.5
    np.testing.assert_allclose(apply(rescaled(matrix, factor), apply(back, corners)), wanted, atol=1e-12)
    np.testing.assert_array_equal(matrix, [[0.9, -0.4, 7.0], [0.4, 0.9, -3.0]])


def test_similarity_against_scikit_image():
    rng = np.random.default_rng(1)
    for _ in range(10):
        source, target = rng.normal(size=(2, 7, 2)) * 50 + 100
        target = source @ np.array([[0.3, 1.1], [-1.1, 0.3]]) + target / 10
        expected = SimilarityTransform.from_estimate(source, target).params[:2]
        np.testing.assert_allclose(similarity(source, target), expected, atol=1e-9)


def test_similarity_never_reflects():
    source = np.random.default_rng(2).normal(size=(10, 2))
    matrix = similarity(source, source * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) >= 0


def test_five_points_of_a_face(face):
    left_eye, right_eye, nose, left_mouth, right_mouth = five_points(face[2])
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


def test_a_frame_without_a_face_is_an_error(face):
    image, box, landmarks = face
    for crop in (DLIB, ARCFACE, BOX):
        with pytest.raises(ValueError, match="no face"):
            warp(image, np.full(4, np.nan), landmarks, crop)
        with pytest.raises(ValueError, match="no face"):
            warp(image, box, np.full((68, 2), np.nan), crop)
    with pytest.raises(ValueError, match="unknown template"):
        warp(image, box, landmarks, Crop("oval", 100))


@pytest.mark.realdata
def test_on_real_faces(detector, real_frames):
    for image in real_frames:
        (found,) = detector(image)
        parts = [dlib.point(int(x), int(y)) for x, y in found.landmarks]
        theirs = dlib.get_face_chip(
            np.ascontiguousarray(image), dlib.full_object_detection(dlib.rectangle(), parts), 150, 0.25
        )
        ours = warp(image, found.box, found.landmarks, DLIB)
        assert np.abs(ours.astype(int) - theirs).max() <= 3
        placed = apply(transform(found.box, found.landmarks, ARCFACE), five_points(found.landmarks))
        np.testing.assert_allclose(placed, FIVE, atol=6)
        # Found again in the enlarged box, in its middle.
        (again,) = detector(warp(image, found.box, found.landmarks, BOX))
        np.testing.assert_allclose((again.box[:2] + again.box[2:]) / 2, [111.5, 111.5], atol=25)
