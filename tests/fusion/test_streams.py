"""Streams of a clip: what they hold, when it was, and which combinations are refused."""

import numpy as np
import pytest
from small_store import INCOMPLETE

from deepfusion.errors import UserError
from deepfusion.fusion import landmark_features, speech_features
from deepfusion.fusion.streams import Spectrogram, check, clip_streams, is_per_clip, is_video, keys
from deepfusion.store import FeatureStore

ALL = ["speech-clip", "AF", "AF-clip", "EF-A", "EF-B", "landmarks", "landmarks-clip"]
COMPLETE = "s0-0"


@pytest.fixture(scope="module")
def opened(store):
    with FeatureStore(store) as made:
        yield made


@pytest.fixture(scope="module")
def settings(opened):
    return Spectrogram.of(opened.attributes("spectrogram"), opened.attributes("AF"))


def test_settings_are_those_of_the_store(settings, opened):
    assert (settings.spacing, settings.shift) == (20.0, 0.01)
    assert settings.encoder_frequency == pytest.approx(opened.attributes("AF")["frequency"])


def test_video_streams_are_the_frames_with_a_face(opened, settings, clips):
    clip = opened[COMPLETE]
    made = clip_streams(clip, ALL, settings)
    valid = clips[0].valid
    np.testing.assert_array_equal(made.rows["EF-A"], clips[0].faces[valid, :4])
    np.testing.assert_array_equal(made.rows["EF-B"], clips[0].faces[valid, 4:])
    for name in ("EF-A", "EF-B", "landmarks"):
        np.testing.assert_array_equal(made.time[name], np.flatnonzero(valid) / 25)
    points = clip["landmarks"][valid]
    np.testing.assert_array_equal(made.rows["landmarks"], landmark_features.shapes(points))
    course = made.rows["landmarks-clip"][0, : landmark_features.COURSE]
    np.testing.assert_allclose(course, landmark_features.functionals(made.rows["landmarks"]), rtol=1e-5)


def test_encoder_positions_are_flattened_with_their_time_and_frequency(opened, settings):
    clip = opened[COMPLETE]
    positions, time = clip["AF"], clip["AF_time"]
    made = clip_streams(clip, ALL, settings)
    steps, bands, channels = positions.shape
    assert made.rows["AF"].shape == (steps * bands, channels)
    for t in range(steps):
        for f in range(bands):
            i = t * bands + f
            np.testing.assert_array_equal(made.rows["AF"][i], positions[t, f])
            assert made.time["AF"][i] == time[t]
            assert made.frequency["AF"][i] == settings.encoder_frequency[f]
    per_band = [positions[:, f] for f in range(bands)]
    wanted = np.concatenate([*(x.mean(0) for x in per_band), *(x.std(0) for x in per_band)])
    np.testing.assert_allclose(made.rows["AF-clip"][0], wanted, rtol=1e-4, atol=1e-5)


def test_speech_windows_have_their_time_on_the_clock_of_the_clip(opened, settings):
    clip = opened[COMPLETE]
    made = clip_streams(clip, ["speech", "speech-clip"], settings)
    described = speech_features.descriptors(clip["spectrogram"], spacing=20.0)
    windows, middle = speech_features.windows(described, length=100)
    np.testing.assert_allclose(made.rows["speech"], windows, rtol=1e-6)
    np.testing.assert_allclose(made.rows["speech-clip"][0], speech_features.clip_vector(described), rtol=1e-6)
    np.testing.assert_allclose(made.time["speech"], clip["audio_time"][0] + 0.01 * middle)
    assert made.frequency == {}


def test_streams_of_several_networks_keep_their_own_times(opened, settings):
    together = clip_streams(opened[COMPLETE], ["speech", *ALL], settings)
    for names in (["speech"], ["AF"], ["EF-A", "landmarks"]):
        alone = clip_streams(opened[COMPLETE], names, settings)
        for name in names:
            np.testing.assert_array_equal(together.time[name], alone.time[name])
            np.testing.assert_array_equal(together.rows[name], alone.rows[name])


@pytest.mark.parametrize("audio", [["speech", "speech-clip"], ["AF", "AF-clip", "speech-clip"]])
@pytest.mark.parametrize(("position", "lacks"), INCOMPLETE.items())
def test_a_clip_without_a_modality_has_streams_of_no_rows_and_the_usual_width(opened, settings, position, lacks, audio):
    names = [*audio, *(name for name in ALL if is_video(name))]
    clip_id = opened.clips.index[position]
    made, complete = (clip_streams(opened[name], names, settings) for name in (clip_id, COMPLETE))
    for name in names:
        absent = ("face" if is_video(name) else "audio") in lacks
        assert made.rows[name].shape[1] == complete.rows[name].shape[1], name
        assert made.rows[name].dtype == complete.rows[name].dtype == np.float32, name
        assert (len(made.rows[name]) == 0) == absent, name
        if is_per_clip(name):
            assert len(made.rows[name]) == (not absent), name
        else:
            assert len(made.rows[name]) == len(made.time[name]), name


def test_emotion_is_the_logarithm_of_the_frames_with_a_face(opened, settings):
    clip = opened[COMPLETE]
    p = np.random.default_rng(0).dirichlet(np.ones(7), len(clip["time"])).astype(np.float32)
    p[~clip["valid"]] = np.nan
    p[np.flatnonzero(clip["valid"])[0], 3] = 0
    made = clip_streams({**{key: clip[key] for key in ("time", "valid")}, "emotion": p}, ["emotion"], settings)
    rows = made.rows["emotion"]
    assert rows.dtype == np.float32 and np.isfinite(rows).all() and len(rows) == clip["valid"].sum()
    np.testing.assert_allclose(np.exp(rows[1]), p[clip["valid"]][1], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(made.time["emotion"], clip["time"][clip["valid"]])


def test_every_stream_is_finite(opened, settings):
    for clip in opened:
        for audio in (["speech", "speech-clip"], ALL):
            for name, rows in clip_streams(clip, audio, settings).rows.items():
                assert np.isfinite(rows).all(), (clip.id, name)


def test_keys_are_what_of_the_store_is_needed():
    assert keys(["emotion"]) == ["emotion"]
    assert keys(["speech", "speech-clip", "AF-clip", "EF-A", "landmarks-clip"]) == [
        "spectrogram",
        "AF",
        "EF-A",
        "landmarks",
    ]


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ({"audio": ["EF-A"]}, r"fusion\.audio: no stream 'EF-A'; there are speech, speech-clip, AF, AF-clip"),
        ({"audio": ["speach"]}, r"fusion\.audio: no stream 'speach'"),
        ({"video": ["speech"]}, r"fusion\.video: no stream 'speech'; there are EF-\.\.\., landmarks, landmarks-clip"),
        ({"video": ["EF-C"]}, r"fusion\.video: the stream EF-C needs EF-C, which the store does not hold"),
        ({"audio": ["speech", "AF-clip"]}, r"fusion\.audio: the stream AF-clip needs AF, which the store"),
        ({"audio": ["speech-clip"]}, r"fusion\.audio: speech-clip has no rows for attention"),
        ({"audio": ["speech", "AF"]}, r"fusion\.audio: the stream AF needs AF"),
    ],
)
def test_streams_that_cannot_be_had_are_refused_in_a_line(streams, message):
    with pytest.raises(UserError, match=message) as caught:
        check(streams, ["spectrogram", "EF-A", "landmarks"])
    assert "\n" not in str(caught.value)


def test_rows_of_different_times_do_not_go_into_one_network():
    with pytest.raises(UserError, match="speech and AF have different times"):
        check({"audio": ["speech", "AF"]}, ["spectrogram", "AF"])
    check({"audio": ["AF", "speech-clip", "AF-clip"], "video": ["EF-A", "landmarks-clip"]}, [*ALL, "spectrogram"])
