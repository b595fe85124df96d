"""The demo corpus: its plan, its pictures, its sounds and its files."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from deepfusion.corpora.demo import LABELS, face, plan, render, voice
from deepfusion.errors import MachineError, UserError
from deepfusion.faces.detect import Detector
from deepfusion.media import frames, probe, sound


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
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
    assert render.SHORTEST <= len(shown) <= render.LONGEST
    assert len(shown) == len(visible)
    np.testing.assert_allclose([f.time for f in shown], np.arange(len(shown)) / face.FRAME_RATE, atol=1e-3)
    heard = sound(path, rate=voice.RATE)
    # The last AAC packet, 64 ms, may hold silence beyond the end.
    assert 0 <= len(heard.samples) / voice.RATE - len(shown) / face.FRAME_RATE <= 0.064
    assert heard.start == pytest.approx(0, abs=1e-3)


def test_sound_in_the_file_is_the_one_made_and_in_its_place(clip):
    path, visible = clip
    made = voice.speech(2, 3, len(visible) / face.FRAME_RATE, seed=5, clip=(2, 1, 3, 0))
    heard = sound(path, rate=voice.RATE).samples[: len(made)]
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


def test_generate_writes_one_speaker(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "SHORTEST", 5)
    monkeypatch.setattr(render, "LONGEST", 5)
    seen = []
    paths = render.generate(tmp_path, speakers=2, takes=1, seed=0, speaker="s02", progress=seen.append)
    wanted = plan(speakers=2, takes=1).query("speaker == 's02'")
    assert seen == wanted["id"].tolist()
    assert paths == [tmp_path / path for path in wanted["path"]]
    assert sorted((tmp_path / "clips").iterdir()) == sorted(paths)


def test_unknown_speaker_and_clip_are_refused(tmp_path):
    with pytest.raises(UserError, match="s01 to s02"):
        render.generate(tmp_path, speakers=2, takes=1, seed=0, speaker="s03")
    with pytest.raises(UserError, match="s01-f0-v0-t0"):
        render.render("s01-f4-v0-t0", tmp_path / "x.mp4", seed=0)


def test_dlib_finds_the_face_unless_it_is_covered():
    detect = Detector()
    found, visible = [], []
    for speaker in range(1, 9):
        for expression in range(4):
            film = face.film(speaker, expression, 12, seed=0, clip=(speaker, expression, 0, 9))
            for image, seen in list(zip(film.frames, film.visible, strict=True))[1::5]:
                found.append(len(detect(image)))
                visible.append(seen)
    found, visible = np.array(found), np.array(visible)
    assert (found[visible] == 1).mean() >= 0.98


def test_covered_faces_are_not_found():
    detect = Detector()
    films = (face.film(1, 0, 12, seed=0, clip=(1, 0, 0, take)) for take in range(60))
    film = next(film for film in films if not film.visible.all())
    assert 2 <= (~film.visible).sum() <= 3
    assert not any(detect(image) for image in film.frames[~film.visible])


def test_expression_moves_the_landmarks_where_it_should_and_rests_at_both_ends():
    detect = Detector()
    opening, width = [], []
    for expression in range(4):
        film = face.film(2, expression, 20, seed=0, clip=(2, expression, 1, 1))
        assert film.visible.all()
        rest, apex = (detect(film.frames[i])[0].landmarks for i in (0, 10))
        eyes = np.linalg.norm(apex[36:42].mean(0) - apex[42:48].mean(0))
        opening.append((apex[66, 1] - apex[62, 1]) / eyes)
        width.append((apex[54, 0] - apex[48, 0]) / eyes)
        assert np.linalg.norm((apex - apex.mean(0)) - (rest - rest.mean(0)), axis=1).max() > 0.1 * eyes
    astonished, laughing, scowling, puckered = opening
    assert min(astonished, laughing) > 0.2 > max(scowling, puckered)
    assert width.index(max(width)) == 1 and width.index(min(width)) == 3


def test_amplitude_holds_the_apex_half_the_time():
    for seed in range(20):
        how_far = face.amplitude(16, np.random.default_rng(seed))
        assert how_far[0] < 0.5 * how_far.max() <= 0.55
        assert (how_far >= 0.99 * how_far.max()).mean() >= 0.45
        assert 0.85 <= how_far.max() <= 1.1


def test_sound_is_neither_clipped_nor_silent():
    for speaker in range(1, 9, 2):
        for manner in range(4):
            samples = voice.speech(speaker, manner, 1.2, seed=0, clip=(speaker, 0, manner, 0))
            assert samples.shape == (19200,)
            assert np.abs(samples).max() <= 0.9
            level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
            assert -40 < level < -15
            assert samples.std(where=np.arange(19200) < 1200) < 0.2 * samples.std()  # it begins with silence


def test_manners_differ_as_they_are_meant_to():
    def heard(speaker, manner):
        """Syllables a second, median pitch in Hz and median periodicity of the loud 40 ms windows."""
        samples = voice.speech(speaker, manner, 2.0, seed=0, clip=(speaker, 0, manner, 0))
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
