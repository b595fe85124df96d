"""The demo corpus: its plan, its stretches, its video, its audio and its files."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from deepfusion.corpora import demo
from deepfusion.corpora.demo import FRAME_RATE, LABELS, face, plan, render, stretch, stretches, voice
from deepfusion.errors import MachineError, UserError
from deepfusion.faces.detect import Detector
from deepfusion.media import frames, probe, read_audio


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """File, visible frames."""
    path = tmp_path_factory.mktemp("demo") / "clips" / "s02-f1-v3-t0.mp4"
    visible = render.render(path.stem, path, seed=5)
    return path, visible


def test_plan_holds_every_pair_equally_often_for_every_speaker():
    clips = plan(speakers=3, takes=2)
    assert len(clips) == 3 * 16 * 2
    assert clips["id"].is_unique and clips["path"].is_unique
    assert clips["path"].tolist() == [f"clips/{i}.mp4" for i in clips["id"]]
    assert clips["speaker"].unique().tolist() == ["s01", "s02", "s03"]
    pairs = clips.groupby(["speaker", "face", "voice"]).size()
    assert len(pairs) == 3 * 16 and (pairs == 2).all()


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_one_modality_says_nothing_about_the_label(modality):
    clips = plan(speakers=2, takes=1)
    table = pd.crosstab([clips["speaker"], clips[modality]], clips["label"])
    assert table.columns.tolist() == LABELS
    assert (table == 1).all(axis=None)


def test_the_pair_says_the_label():
    clips = plan(speakers=2, takes=1)
    assert (clips.groupby(["face", "voice"])["label"].nunique() == 1).all()


def test_additive_scores_have_no_margin_and_a_bilinear_form_is_exact():
    """The proof in the package's docstring, in numbers."""
    clips = plan(speakers=1, takes=1)
    f, s = np.eye(4)[clips["face"]], np.eye(4)[clips["voice"]]
    label = np.array([LABELS.index(name) for name in clips["label"]])
    rng = np.random.default_rng(0)
    scores = f @ rng.normal(size=(4, 4)) + s @ rng.normal(size=(4, 4))
    true = scores[np.arange(16), label]
    assert np.isclose((true - scores.mean(1)).mean(), 0)
    bilinear = np.array([[[(i + j) % 4 == c for j in range(4)] for i in range(4)] for c in range(4)], float)
    assert (np.einsum("ni,cij,nj->nc", f, bilinear, s).argmax(1) == label).all()


def test_default_plan_has_ten_speakers_with_each_pair_once():
    clips = plan()
    assert len(clips) == 160 and clips["speaker"].nunique() == 10


def test_stretch_is_a_third_of_the_clip_at_a_place_that_depends_on_clip_and_seed():
    table = stretches(speakers=4, takes=2, seed=3)
    assert table["id"].tolist() == plan(speakers=4, takes=2)["id"].tolist()
    frames = [stretch((int(i[1:3]), int(i[5]), int(i[8]), int(i[11])), 3).frames for i in table["id"]]
    seconds = np.array(frames) / FRAME_RATE
    assert set(frames) == set(range(demo.SHORTEST, demo.LONGEST + 1))
    share = (table["end"] - table["start"]) / seconds
    assert share.between(*demo.SHARE).all()
    assert (table["start"] >= 0).all() and (table["end"] <= seconds).all()
    middle = (table["start"] + table["end"]) / 2 / seconds
    assert middle.min() < 0.3 and middle.max() > 0.7  # anywhere
    assert not table.equals(stretches(speakers=4, takes=2, seed=4))
    # More speakers and takes change no clip that was there before.
    fewer = stretches(speakers=2, takes=1, seed=3).set_index("id")
    assert table.set_index("id").loc[fewer.index].equals(fewer)


def test_plan_refuses_no_speakers():
    with pytest.raises(UserError, match="at least one speaker"):
        plan(speakers=0)


def test_plan_imports_nothing_heavy():
    code = (
        "import sys; from deepfusion.corpora.demo import plan; plan()\n"
        "print(sorted({'av', 'cv2', 'dlib', 'scipy', 'skimage', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_clip_has_picture_and_sound_of_one_length(clip):
    path, visible = clip
    found = probe(path)
    shown = list(frames(path))
    assert (found.width, found.height) == (face.SIZE, face.SIZE)
    assert len(shown) == stretch((2, 1, 3, 0), 5).frames
    assert len(shown) == len(visible)
    np.testing.assert_allclose([f.time for f in shown], np.arange(len(shown)) / FRAME_RATE, atol=1e-3)
    heard = read_audio(path, rate=voice.RATE)
    # The last AAC packet, 64 ms, may hold silence beyond the end.
    assert 0 <= len(heard.samples) / voice.RATE - len(shown) / FRAME_RATE <= 0.064
    assert heard.start == pytest.approx(0, abs=1e-3)


def test_sound_in_the_file_is_the_one_made_and_in_its_place(clip):
    path, visible = clip
    numbers = (2, 1, 3, 0)
    _, *when = stretch(numbers, 5)
    made = voice.speech(2, 3, len(visible) / FRAME_RATE, stretch=when, seed=5, clip=numbers)
    heard = read_audio(path, rate=voice.RATE).samples[: len(made)]
    assert np.corrcoef(made, heard)[0, 1] > 0.95


def test_same_clip_and_seed_give_the_same_file_and_others_another(clip, tmp_path):
    path, _ = clip
    again, other = tmp_path / "again.mp4", tmp_path / "other.mp4"
    face.look.cache_clear()
    render.render(path.stem, again, seed=5)
    render.render(path.stem, other, seed=6)
    assert again.read_bytes() == path.read_bytes()
    assert not np.array_equal(next(frames(other)).image, next(frames(path)).image)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.mp4", "other.mp4"]


def test_failed_clip_leaves_nothing_behind(tmp_path):
    path = tmp_path / "s02-f1-v3-t0.mp4"
    path.mkdir()  # no file can be renamed to a folder
    with pytest.raises(MachineError):
        render.render(path.stem, path, seed=5)
    assert list(tmp_path.iterdir()) == [path]


def test_generate_writes_one_speaker_and_the_stretches_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SHORTEST", 5)
    monkeypatch.setattr(demo, "LONGEST", 5)
    seen = []
    paths = render.generate(tmp_path, speakers=2, takes=1, seed=0, speaker="s02", progress=seen.append)
    wanted = plan(speakers=2, takes=1).query("speaker == 's02'")
    assert seen == wanted["id"].tolist()
    assert paths == [tmp_path / path for path in wanted["path"]]
    assert sorted((tmp_path / "clips").iterdir()) == sorted(paths)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["clips", "stretch.csv"]
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "stretch.csv"), stretches(speakers=2, takes=1, seed=0), atol=1e-3
    )


def test_unknown_speaker_and_clip_are_refused(tmp_path):
    with pytest.raises(UserError, match="s01 to s02"):
        render.generate(tmp_path, speakers=2, takes=1, seed=0, speaker="s03")
    with pytest.raises(UserError, match="s01-f0-v0-t0"):
        render.render("s01-f4-v0-t0", tmp_path / "x.mp4", seed=0)


HALF = np.concatenate([np.zeros(6), np.ones(6)])  # at rest, then the whole expression


def test_dlib_finds_the_face_unless_it_is_covered():
    detect = Detector()
    found, visible = [], []
    for speaker in range(1, 11):
        for expression in range(4):
            film = face.film(speaker, expression, HALF, seed=0, clip=(speaker, expression, 0, 9))
            for image, seen in list(zip(film.frames, film.visible, strict=True))[1::5]:
                found.append(len(detect(image)))
                visible.append(seen)
    found, visible = np.array(found), np.array(visible)
    assert (found[visible] == 1).mean() >= 0.98


def test_covered_faces_are_not_found():
    detect = Detector()
    films = (face.film(1, 0, HALF, seed=0, clip=(1, 0, 0, take)) for take in range(60))
    film = next(film for film in films if not film.visible.all())
    assert 1 <= (~film.visible).sum() <= 2
    assert not any(detect(image) for image in film.frames[~film.visible])


def test_expression_moves_the_landmarks_where_it_should():
    detect = Detector()
    opening, width = [], []
    for expression in range(4):
        film = face.film(2, expression, HALF, seed=0, clip=(2, expression, 1, 1))
        assert film.visible.all()
        rest, apex = (detect(film.frames[i])[0].landmarks for i in (0, 10))
        eyes = np.linalg.norm(apex[36:42].mean(0) - apex[42:48].mean(0))
        opening.append((apex[66, 1] - apex[62, 1]) / eyes)
        width.append((apex[54, 0] - apex[48, 0]) / eyes)
        assert np.linalg.norm((apex - apex.mean(0)) - (rest - rest.mean(0)), axis=1).max() > 0.1 * eyes
    astonished, laughing, scowling, puckered = opening
    assert min(astonished, laughing) > 0.2 > max(scowling, puckered)
    assert width.index(max(width)) == 1 and width[3] < 0.75 * width[1]


def test_face_at_rest_is_the_same_whatever_expression_follows():
    films = [face.film(3, expression, np.zeros(4), seed=0, clip=(7,)).frames for expression in range(4)]
    assert all(np.array_equal(film, films[0]) for film in films)


def test_a_little_of_an_expression_is_close_to_rest():
    """Frames without any are drawn by a shorter way: no jump between the two."""
    rest, little = (face.film(3, 2, np.full(4, a), seed=0, clip=(7,)).frames.astype(int) for a in (0.0, 1e-4))
    assert np.abs(rest - little).max() <= 3


def test_amplitude_is_zero_outside_the_stretch_and_one_inside():
    times = np.array([0.0, 0.99, 1.0, 1.06, 1.2, 1.5, 1.8, 1.94, 2.0, 2.5])
    assert face.amplitude(times, 1.0, 2.0) == pytest.approx([0, 0, 0, 0.5, 1, 1, 1, 0.5, 0, 0])


def spoken(speaker, manner, seconds, stretch=None):
    """Samples of a clip; in one manner from the beginning to the end if `stretch` is None."""
    clip = (speaker, 0, manner, 0)
    return voice.speech(speaker, manner, seconds, stretch=stretch or (0, seconds), seed=0, clip=clip)


def test_audio_is_neither_clipped_nor_silent():
    for speaker in range(1, 11, 2):
        for manner in range(4):
            samples = spoken(speaker, manner, 3.0, (1.0, 2.0))
            assert samples.shape == (48000,)
            assert np.abs(samples).max() <= 0.9
            level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
            assert -40 < level < -15
            assert samples.std(where=np.arange(48000) < 600) < 0.2 * samples.std()  # it begins with silence


def test_voice_is_neutral_outside_the_stretch_and_equally_loud_inside():
    voices = [spoken(4, manner, 3.0, (1.0, 2.0)) for manner in range(4)]
    inside, outside = ([samples[part] for samples in voices] for part in (slice(16000, 32000), slice(0, 16000)))
    for before, within in zip(outside, inside, strict=True):
        assert 0.4 < before.std() / within.std() < 2.5
    loud = [np.abs(np.fft.rfft(x / x.std())) for x in (*outside, *inside)]
    bands = np.array(
        [np.log([np.square(x[a:b]).sum() for a, b in ((80, 800), (800, 2500), (2500, 8000))]) for x in loud]
    )
    assert bands[:4].std(0).max() < 0.5 * bands[4:].std(0).max()  # manners differ, neutral parts hardly


@pytest.mark.parametrize("stretch", [(0.0, 1.0), (2.0, 3.0), (0.1, 1.1), (1.9, 2.9)])
def test_stretch_may_begin_or_end_with_the_clip(stretch):
    samples = spoken(1, 1, 3.0, stretch)
    assert len(samples) == 48000 and np.isfinite(samples).all()


def test_manners_differ_as_they_are_meant_to():
    def heard(speaker, manner):
        """Syllables a second, median pitch in Hz and median periodicity of the loud 40 ms windows."""
        samples = spoken(speaker, manner, 2.0)
        windows = samples.reshape(-1, 640)
        level = np.convolve(samples**2, np.ones(320) / 320, "same")[::160]
        syllables = (np.diff((level > 0.05 * level.max()).astype(int)) == 1).sum() / 2
        loud = windows[(windows**2).mean(1) > 0.3 * (windows**2).mean(1).max()]
        lags = np.arange(voice.RATE // 600, voice.RATE // 60)
        periodic = np.array([[np.corrcoef(w[:-lag], w[lag:])[0, 1] for lag in lags] for w in loud])
        first = np.array([np.flatnonzero(p > 0.9 * p.max())[0] for p in periodic])
        return syllables, np.median(voice.RATE / lags[first]), np.median(periodic.max(1))

    for speaker in (1, 4, 7):
        (slow, deep, tonal), (_, high, also_tonal), (_, _, noisy), (fast, _, _) = (heard(speaker, m) for m in range(4))
        assert fast > 2 * slow
        assert high > 2 * deep
        assert min(tonal, also_tonal) > 0.8 > noisy
