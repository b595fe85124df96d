"""Shape and movement of a face from landmarks that are made to move."""

import numpy as np
import pytest

from deepfusion.faces.face_track import Choice
from deepfusion.fusion.landmark_features import (
    COURSE,
    HEAD,
    LEAST,
    MOVEMENT,
    SHAPE,
    functionals,
    longest_shot,
    movement,
    shapes,
    whole,
)

RNG = np.random.default_rng(0)
FACE = RNG.normal(size=(68, 2))
FACE[36:42] -= [4, 0]
FACE[42:48] += [4, 0]
TIME = np.arange(50) / 25


def moved(face, *, size=1.0, roll=0.0, place=(0.0, 0.0)):
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return size * face @ turn + place


def test_a_shape_does_not_depend_on_where_how_large_and_how_tilted_a_face_is():
    seen = [FACE, moved(FACE, size=30, roll=0.4, place=(200, 80)), moved(FACE, size=0.5, roll=-1.2)]
    found = shapes(np.stack(seen))
    assert found.shape == (3, SHAPE)
    np.testing.assert_allclose(found[1:], found[[0, 0]], atol=1e-5)
    x, y = found[0].reshape(2, 68)
    for points, side in ((slice(36, 42), -0.5), (slice(42, 48), 0.5)):  # the eyes lie level, one apart
        assert (x[points].mean(), y[points].mean()) == pytest.approx((side, 0), abs=1e-6)


def test_a_smile_changes_the_shape_where_it_is():
    smile = FACE.copy()
    smile[48] += [-1, -1]
    before, after = shapes(np.stack([FACE, smile]))
    assert set(np.flatnonzero(np.abs(after - before) > 1e-6)) == {48, 68 + 48}


def test_course_holds_mean_deviation_and_percentiles():
    rows = shapes(np.stack([FACE + RNG.normal(0, 0.1, FACE.shape) for _ in range(11)]))
    found = functionals(rows).reshape(4, SHAPE)
    ordered = np.sort(rows.astype(np.float64), axis=0)
    expected = [rows.mean(0), rows.std(0), ordered[1], ordered[9]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert functionals(rows[:1]).shape == (COURSE,)


@pytest.mark.parametrize("name", HEAD)
def test_a_movement_is_found_in_its_own_column_at_its_speed(name):
    there = 0.2 * TIME  # a steady 0.2 a second
    distance = np.linalg.norm(FACE[36:42].mean(0) - FACE[42:48].mean(0))
    middle = (FACE[36:42].mean(0) + FACE[42:48].mean(0)) / 2
    ways = {
        "x": lambda s: moved(FACE, place=(s * distance, 0)),
        "y": lambda s: moved(FACE, place=(0, s * distance)),
        "size": lambda s: moved(FACE - middle, size=np.exp(s)),
        "roll": lambda s: moved(FACE - middle, roll=s),
    }
    found = movement(np.stack([ways[name](s) for s in there]), TIME).reshape(4, len(HEAD))
    expected = np.array([np.log(there.std() + LEAST), np.ptp(there), np.log(0.2 + LEAST), np.log(0.2 + LEAST)])
    np.testing.assert_allclose(found[:, HEAD.index(name)], expected, atol=1e-3)
    others = np.delete(found, HEAD.index(name), axis=1)
    np.testing.assert_allclose(others[[0, 2, 3]], np.log(LEAST), atol=0.01)
    np.testing.assert_allclose(others[1], 0, atol=1e-6)


def test_movement_does_not_depend_on_the_size_of_the_picture_or_on_the_frame_rate():
    def at(time, size):
        return movement(np.stack([moved(FACE, place=(np.sin(3 * t), 0.5 * t)) * size for t in time]), time)

    np.testing.assert_allclose(at(TIME, 1), at(TIME, 20), atol=1e-6)
    np.testing.assert_allclose(at(np.arange(100) / 50, 1), at(TIME, 1), atol=0.05)


def test_nothing_is_said_of_the_movement_while_no_face_was_seen():
    """Somebody sits still, is not seen for a second, and sits still elsewhere: no speed, but a range."""
    face = np.stack([moved(FACE, place=(0 if t < 0.5 else 5, 0)) for t in TIME])
    seen = (TIME < 0.5) | (TIME >= 1.5)
    found = movement(face[seen], TIME[seen]).reshape(4, len(HEAD))
    np.testing.assert_allclose(found[2:], np.log(LEAST), atol=1e-6)
    assert found[1, 0] > 0.5


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([Choice.FIRST], (0, 1)),
        ([Choice.FIRST, *[Choice.CONTINUED] * 4], (0, 5)),
        ([Choice.FIRST, Choice.CONTINUED, Choice.AFTER_CUT, *[Choice.CONTINUED] * 2, Choice.AFTER_GAP], (2, 5)),
        ([Choice.FIRST, *[Choice.CONTINUED] * 3, Choice.AFTER_GAP, Choice.CONTINUED], (0, 4)),
        ([Choice.CONTINUED, Choice.CONTINUED, Choice.AFTER_CUT], (0, 2)),
    ],
)
def test_the_longest_shot_ends_where_the_picture_or_the_person_changes(choices, expected):
    found = longest_shot(np.array(choices, np.uint8))
    assert (found.start, found.stop) == expected


def test_a_cut_is_no_movement():
    """Somebody sits still on the left, then, after a cut, on the right."""
    face = np.stack([moved(FACE, place=(0 if t < 0.8 else 50, 0)) for t in TIME])
    choice = np.full(len(TIME), Choice.CONTINUED)
    choice[0], choice[np.argmax(TIME >= 0.8)] = Choice.FIRST, Choice.AFTER_CUT
    shot = longest_shot(choice)
    found = movement(face[shot], TIME[shot]).reshape(4, len(HEAD))
    np.testing.assert_allclose(found[1], 0, atol=1e-6)
    np.testing.assert_allclose(found[[0, 2, 3]], np.log(LEAST), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_few_frames_give_finite_values(count):
    found = movement(np.stack([FACE] * count), TIME[:count])
    assert found.shape == (MOVEMENT,)
    assert np.isfinite(found).all()
    assert np.isfinite(shapes(np.ones((1, 68, 2)))).all()  # all points in one place: no face, but no NaN either


def test_a_whole_clip_is_the_course_of_all_frames_and_the_movement_of_the_longest_shot():
    face = np.stack([moved(FACE, place=(0.3 * t if t < 0.8 else 50, 0)) for t in TIME])
    choice = np.full(len(TIME), Choice.CONTINUED)
    choice[0], choice[20] = Choice.FIRST, Choice.AFTER_CUT
    seen = shapes(face)
    found = whole(seen, face, TIME, choice)
    assert found.shape == (1, COURSE + MOVEMENT) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :COURSE], functionals(seen), atol=1e-6)
    np.testing.assert_allclose(found[0, COURSE:], movement(face[20:], TIME[20:]), atol=1e-5)
    nothing = whole(seen[:0], face[:0], TIME[:0], choice[:0])
    assert nothing.shape == (0, COURSE + MOVEMENT) and nothing.dtype == np.float32
