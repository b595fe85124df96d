"""Which frames are kept at a lower rate."""

import numpy as np
import pytest

from deepfusion.faces.sampling import sampled, sampled_rows


def kept(time, rate, valid=None):
    time = np.asarray(time, float)
    return np.flatnonzero(sampled_rows(time, np.ones(len(time), bool) if valid is None else np.asarray(valid), rate))


def test_every_frame_without_a_rate_or_with_a_higher_one():
    time = 5 + np.arange(20) / 25
    for rate in (None, 25, 30, 1000):
        assert kept(time, rate).tolist() == list(range(20))


@pytest.mark.parametrize("step", [2, 3, 5, 10])
def test_every_nth_frame_of_an_even_clip(step):
    time = 0.123 + np.arange(101) / 30
    assert kept(time, 30 / step).tolist() == list(range(0, 101, step))


def test_one_frame_per_period_and_none_far_from_its_instant():
    rng = np.random.default_rng(0)
    for _ in range(50):
        time, rate = np.cumsum(rng.exponential(0.05, 200)), rng.uniform(1, 12)
        valid = rng.random(200) < 0.5
        places = (time[kept(time, rate, valid)] - time[0]) * rate
        instants = np.floor(places + 0.5)
        assert (np.diff(instants) > 0).all()  # no frame twice, no two of an instant
        assert set(instants) == set(np.floor((time - time[0]) * rate + 0.5))  # none left out that has a frame


def test_a_face_in_the_period_is_preferred_to_a_nearer_frame_without_one():
    time = np.arange(10) / 10  # periods of 4 frames about 0, 4, 8
    valid = np.ones(10, bool)
    valid[[4, 8]] = False
    assert kept(time, 2.5, valid).tolist() == [0, 3, 7]
    valid[6:10] = False  # none in the third period: its nearest frame, with its reason
    assert kept(time, 2.5, valid).tolist() == [0, 3, 8]


def test_streams_hold_one_frame_and_agree_with_rows():
    time, valid = np.arange(50) / 25, np.arange(50) % 7 > 2
    alive = set()

    class Frame:
        def __init__(self, i):
            self.i = i
            alive.add(i)

        def __del__(self):
            alive.discard(self.i)

    most, found = 0, []
    for frame in sampled(map(Frame, range(50)), 5, seen=lambda f: (time[f.i], valid[f.i])):
        found.append(frame.i)
        most = max(most, len(alive))
    assert found == kept(time, 5, valid).tolist()
    assert most <= 5


def test_no_frames():
    assert kept([], 5).tolist() == []
